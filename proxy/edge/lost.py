"""What to say to who asked for a path that the public listener does not have. Pure."""

from collections.abc import Collection

API = "The API is under /v1, and described at /docs."


def where_instead(path: str, known: Collection[str]) -> str:
    """The likely mistake, else where the API is. `known` is what may follow /v1/."""
    first = path.split("/")[1] if path.startswith("/") else ""
    if path.startswith("/v1/v1/"):
        return "Leave /v1 out of the base URL: the client adds it by itself."
    if first in known:
        return "Append /v1 to the base URL."
    if first == "metrics":
        return "Metrics are on the ops listener ([ops] port, 8766 unless it was changed)."
    return API
