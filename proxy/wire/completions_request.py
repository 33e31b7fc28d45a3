"""A completions request (the older API of raw text): from JSON to what the dispatcher runs. Pure.

https://platform.openai.com/docs/api-reference/completions/create. REFUSED and IGNORED are as for chat completions.
"""

from typing import Annotated, Any

from msgspec import Meta

from backends.request import Prompt, Request
from proxy.errors import BadParameter, Unsupported
from proxy.wire.chat_request import Choices, Knobs, choices
from proxy.wire.convert import convert
from proxy.wire.extras import extras_of
from proxy.wire.fields import check_names, refuse, stop_strings

IGNORED = frozenset({"logit_bias", "user"})
REFUSED = {"echo": "Repeating the prompt"}


class Body(Knobs, frozen=True, kw_only=True):
    """The members that have an effect, with their bounds."""

    prompt: str | list[Any]
    suffix: str | None = None
    logprobs: Annotated[int, Meta(ge=0, le=20)] | None = None
    best_of: Annotated[int, Meta(ge=1, le=20)] | None = None


KNOWN = IGNORED | set(REFUSED) | set(Body.__struct_fields__)


def parse_completion(body: object) -> Choices:
    """Check and translate one request. Raises BadParameter or Unsupported."""
    members = check_names(body, KNOWN)
    refuse(members, REFUSED)
    fields = convert(members, Body, "")
    if fields.best_of is not None and fields.best_of != (fields.n or 1):
        raise Unsupported("Choosing the best of more answers", "best_of")
    requests = tuple(
        Request(
            model=fields.model,
            prompt=Prompt(prompt, fields.suffix or None),
            max_output_tokens=fields.max_tokens or 0,
            stop=stop_strings(fields.stop, "stop"),
            sampling=fields.sampling,
            top_logprobs=fields.logprobs,
            extras=extras_of(fields),
        )
        for prompt in prompts(fields.prompt)
    )
    return choices(requests, fields)


def prompts(given: str | list[Any]) -> list[str]:
    """One prompt or several. Raises Unsupported for token ids: each model counts its own."""
    if isinstance(given, str):
        return [given]
    if not given:
        raise BadParameter("'prompt' must hold at least one prompt.", "prompt")
    for index, each in enumerate(given):
        if not isinstance(each, str):
            raise Unsupported("A prompt of token ids", f"prompt[{index}]", "Send the prompt as text.")
    return given
