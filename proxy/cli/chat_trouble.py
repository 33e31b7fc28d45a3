"""What went wrong in `streamlane chat`, and the next step, in a terminal's words."""

from collections.abc import Sequence
from difflib import get_close_matches
from urllib.parse import urlsplit

from proxy.cli.chat_view import printable
from streamlane_client import Client, StreamlaneError

LOCAL = ("127.0.0.1", "localhost", "::1")
SHOWN = 10  # models that one line may name


def trouble(error: StreamlaneError, client: Client, model: str = "", choose: str = "") -> str:
    """What happened and what to do. `choose` is how another model than `model` is chosen."""
    if error.code == "connection_failed" and urlsplit(client.base_url).hostname in LOCAL:
        return (
            f"No gateway answers at {client.base_url}. Start one: streamlane serve\n"
            "Is it elsewhere? Give --base-url, or set $STREAMLANE_BASE_URL."
        )
    if error.code == "connection_failed":
        return printable(f"{error.message} Is the address right? Give --base-url, or set $STREAMLANE_BASE_URL.")
    if error.code == "invalid_api_key":
        return "The gateway wants an API key that it knows. Set $STREAMLANE_API_KEY, or give --api-key."
    if error.code == "model_not_found" and choose:
        try:
            return no_such_model(model, [listed["id"] for listed in client.models()], choose)
        except StreamlaneError:
            return printable(error.message)  # the gateway's own words will do
    again = f" Try again in {error.retry_after:.0f} s." if error.retry_after else ""
    return printable(f"{error.message}{again}")


def no_such_model(name: str, names: Sequence[str], choose: str) -> str:
    """Which models there are, the likeliest first when they are many."""
    near = get_close_matches(name, names, 3)
    ordered = [*near, *(each for each in names if each not in near)]
    more = f" and {len(ordered) - SHOWN} more" if len(ordered) > SHOWN else ""
    return printable(f"There is no model {name}. Choose with {choose}: {', '.join(ordered[:SHOWN])}{more}")
