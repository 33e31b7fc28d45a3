"""Feedback on an answer: from JSON, and back. Pure."""

from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

from proxy.errors import BadParameter
from proxy.wire.convert import convert
from proxy.wire.fields import check_known

PREFIXES = ("chatcmpl-", "cmpl-", "msg_")  # of the same id, where another API shows it
ResponseId = Annotated[
    str, Meta(min_length=1, max_length=256, description="The `id` of the answer, as its API shows it.")
]


class Body(Struct, frozen=True, kw_only=True):
    """What somebody thinks of one answer. `preferred_model` is who should have given it, or gave a better one."""

    response_id: ResponseId
    rating: Literal["up", "down"]
    preferred_model: Annotated[str, Meta(min_length=1, max_length=512)] | None = None


def parse_feedback(body: object) -> Body:
    """Raises BadParameter."""
    fields = convert(check_known(body, Body.__struct_fields__), Body, "")
    if fields.preferred_model is not None and fields.rating == "up":
        raise BadParameter(
            "'preferred_model' only goes with the rating 'down': it names who would have been better.",
            "preferred_model",
        )
    return fields


def response_id(shown: str) -> str:
    """The id of the response that an answer of any API is."""
    for prefix in PREFIXES:
        if shown.startswith(prefix):
            return f"resp_{shown.removeprefix(prefix)}"
    return shown


def feedback_object(fields: Body) -> dict[str, Any]:
    """As it is answered."""
    return {
        "object": "feedback",
        "response_id": fields.response_id,
        "rating": fields.rating,
        "preferred_model": fields.preferred_model,
    }


def taken_back(response_id: str) -> dict[str, Any]:
    """The answer when it is taken back."""
    return {"object": "feedback", "response_id": response_id, "deleted": True}
