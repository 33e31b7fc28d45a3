"""Checks our events, responses and items against the types of the installed openai package, strictly."""

from typing import Any, get_args

from openai.types.responses import (
    Response,
    ResponseInputMessageItem,
    ResponseItem,
    ResponseOutputItem,
    ResponseOutputMessage,
    ResponseStreamEvent,
)
from pydantic import BaseModel


def by_type(union: Any) -> dict[str, type[BaseModel]]:
    members = get_args(get_args(union)[0])
    return {get_args(member.model_fields["type"].annotation)[0]: member for member in members}


EVENTS = by_type(ResponseStreamEvent)
OUTPUT_ITEMS = by_type(ResponseOutputItem)
INPUT_ITEMS = {**by_type(ResponseItem), "message": ResponseOutputMessage}
INPUT_MESSAGE = ResponseInputMessageItem  # of the same type, said by anybody but the model


def check_event(event: dict[str, Any]) -> None:
    """Every member that the type requires, each of its type. An unknown event is a KeyError."""
    if "response" in event:
        event = {**event, "response": check_response(event["response"])}
    if "item" in event:
        OUTPUT_ITEMS[event["item"]["type"]].model_validate(event["item"], strict=True)
    EVENTS[event["type"]].model_validate(event, strict=True)


def check_response(response: dict[str, Any]) -> dict[str, Any]:
    """The same of a response. Two words are ours, and OpenAI's lists do not have them: codes and "cancelled"."""
    if response["error"] is not None:
        response = {**response, "error": {**response["error"], "code": "server_error"}}
    if response["incomplete_details"] == {"reason": "cancelled"}:
        response = {**response, "incomplete_details": None}
    Response.model_validate(response, strict=True)
    for item in response["output"]:
        OUTPUT_ITEMS[item["type"]].model_validate(item, strict=True)
    return response
