"""A generation as a message of Anthropic's: events while it runs, or the whole at its end. Pure.

https://docs.anthropic.com/en/docs/build-with-claude/streaming:

    message_start → (content_block_start → content_block_delta* → content_block_stop)* → message_delta → message_stop
"""

from collections.abc import Mapping, Sequence
from typing import Any

from backends.json import JsonError, dumps, loads
from proxy.response_log import Entry, Mark, ResponseLog
from proxy.wire.citations import block_citation
from proxy.wire.failure import failure
from proxy.wire.messages_blocks import Blocks
from proxy.wire.usage import COST
from proxy.wire_errors import error_body

Json = dict[str, Any]
TEXTS = {  # a part's event → the type of its block, its delta, and the member that grows
    "response.output_text.delta": ("text", "text_delta", "text"),
    "response.refusal.delta": ("text", "text_delta", "text"),
    "response.reasoning_text.delta": ("thinking", "thinking_delta", "thinking"),
}
BLOCKS: dict[str, Json] = {
    "text": {"type": "text", "text": ""},
    "thinking": {"type": "thinking", "thinking": "", "signature": ""},  # nobody signs what a local model thought
    "redacted_thinking": {"type": "redacted_thinking", "data": ""},
}
ARGUMENTS = "response.function_call_arguments.delta"
STOPS = {"max_output_tokens": "max_tokens", "content_filter": "refusal"}
ERRORS = {  # OpenAI's word for a kind of error → Anthropic's
    "invalid_request_error": "invalid_request_error",
    "authentication_error": "authentication_error",
    "permission_error": "permission_error",
    "rate_limit_error": "rate_limit_error",
    "insufficient_quota": "rate_limit_error",
    "server_error": "api_error",
}
CODES = {  # where Anthropic is more precise
    "model_not_found": "not_found_error",
    "not_found": "not_found_error",
    "request_too_large": "request_too_large",
    "backend_overloaded": "overloaded_error",
    "deadline_exceeded": "timeout_error",
}


def error_object(error: Mapping[str, Any], request_id: str | None = None) -> Json:
    """An error in Anthropic's shape, from its members in OpenAI's."""
    kind = CODES.get(error["code"]) or ERRORS.get(error["type"], "api_error")
    return {"type": "error", "error": {"type": kind, "message": error["message"]}, "request_id": request_id}


def head_of(response: Json) -> Json:
    """A message of which nothing was said yet."""
    return {
        "id": f"msg_{response['id'].removeprefix('resp_')}",
        "type": "message",
        "role": "assistant",
        "model": response["model"],
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": usage_of(None),
    }


def message(response: Json, *, extended: bool = False) -> Json:
    """The whole, of a response that ended well."""
    content: list[Json] = []
    for item in response["output"]:
        if item["type"] == "function_call":
            content.append(tool_use(item, loaded(item["arguments"])))
        elif item["type"] == "reasoning":
            content += thought(item)
        else:
            content += [block for part in item["content"] for block in said(part)]
    stopped = {"stop_reason": stop_reason(response), "usage": usage_of(response["usage"], extended=extended)}
    return {**head_of(response), "content": content, **stopped}


def thought(item: Json) -> list[Json]:
    """Reasoning, with what its provider wants back; sealed where there is no text."""
    sealed = item.get("encrypted_content", "")
    texts = [part["text"] for part in item["content"]]
    if sealed and not texts:
        return [{**BLOCKS["redacted_thinking"], "data": sealed}]
    return [{**BLOCKS["thinking"], "thinking": text, "signature": sealed} for text in texts]


def said(part: Json) -> list[Json]:
    """A part of a message; this API knows no empty text."""
    if not (text := part["refusal" if part["type"] == "refusal" else "text"]):
        return []
    block = {**BLOCKS["text"], "text": text}
    if cited := part.get("annotations"):
        block["citations"] = [block_citation(each) for each in cited]
    return [block]


def tool_use(item: Json, arguments: Any) -> Json:
    """A call of a tool."""
    return {"type": "tool_use", "id": item["call_id"], "name": item["name"], "input": arguments}


def loaded(arguments: str) -> Any:
    """Arguments as the object that they should be; a model may also write none, or no JSON."""
    try:
        value = loads(arguments)
    except JsonError:
        return {}
    return value if isinstance(value, dict) else {}


def stop_reason(response: Json) -> str:
    """Why it ended. Servers do not say which stop sequence it was, so that is an end like any other."""
    if response["status"] == "incomplete":
        return STOPS.get(response["incomplete_details"]["reason"], "end_turn")
    if any(item["type"] == "function_call" for item in response["output"]):
        return "tool_use"
    refused = any(part["type"] == "refusal" for item in response["output"] for part in item.get("content") or ())
    return "refusal" if refused else "end_turn"


def usage_of(usage: Json | None, *, extended: bool = False) -> Json:
    """Tokens as this API counts them: the input without what came from a cache, or went to one.

    With what they cost for a client that asked for our extensions.
    """
    if usage is None:
        usage = {"input_tokens": 0, "output_tokens": 0, "input_tokens_details": {"cached_tokens": 0}}
    cached = usage["input_tokens_details"]["cached_tokens"]
    written = usage["input_tokens_details"].get("cache_write_tokens", 0)
    counted: Json = {
        "input_tokens": max(0, usage["input_tokens"] - cached - written),
        "cache_creation_input_tokens": written,
        "cache_read_input_tokens": cached,
        "output_tokens": usage["output_tokens"],
    }
    if usage.get("sl_estimated"):
        counted["sl_estimated"] = True
    if extended and COST in usage:
        counted[COST] = usage[COST]
    return counted


def event(value: Json) -> bytes:
    """A server-sent message of this API."""
    return b"event: %b\ndata: %b\n\n" % (value["type"].encode(), dumps(value))


class MessageStream:
    """Encodes one log for one stream. `response` is its response object as it began."""

    def __init__(self, response: Json, log: ResponseLog, request_id: str, *, extended: bool = False) -> None:
        self._extended = extended
        self._message = head_of(response)
        self._log = log
        self._request_id = request_id
        self._blocks = Blocks()

    def frames(self, index: int, entries: Sequence[Entry]) -> bytes:
        """What is said by `entries`."""
        return b"".join([event(each) for entry in entries for each in self.events(entry)])

    def end(self) -> bytes:
        """Nothing: message_stop, or the error, was the end."""
        return b""

    def failed(self, error: Exception) -> bytes:
        """An error of ours."""
        return event(error_object(error_body(error), self._request_id))

    def events(self, entry: Entry) -> list[Json]:
        """The events that one entry is."""
        _, part, said = entry
        if not isinstance(said, Mark):
            piece = self._log.parts[part - 1]
            return self._more(piece.type, piece.fields, said)
        fields: Json = said.fields
        if said.terminal:
            return self._end(fields["response"])
        match said.type:
            case "response.created":
                return [{"type": "message_start", "message": self._message}]
            case "response.output_item.added" if fields["item"]["type"] == "function_call":
                return self._blocks.begin((fields["output_index"], None), tool_use(fields["item"], {}))
            case "response.output_item.done":
                return self._sealed(fields) + self._blocks.complete(fields["output_index"])
            case "response.output_text.annotation.added":
                place = (fields["output_index"], fields["content_index"])
                return self._blocks.add(place, "citations_delta", "citation", block_citation(fields["annotation"]))
            case kind if kind in TEXTS:  # with log probabilities, which have no place here
                return self._more(kind, fields, fields["delta"])
        return []

    def _more(self, kind: str, fields: Json, text: str) -> list[Json]:
        """A delta. A block of text begins with its first one: this API knows no empty text."""
        if kind == ARGUMENTS:
            return self._blocks.add((fields["output_index"], None), "input_json_delta", "partial_json", text)
        if kind not in TEXTS:
            return []
        block, delta, member = TEXTS[kind]
        place = (fields["output_index"], fields["content_index"])
        begun = [] if place in self._blocks else self._blocks.begin(place, BLOCKS[block])
        return [*begun, *self._blocks.add(place, delta, member, text)]

    def _sealed(self, fields: Json) -> list[Json]:
        """What the provider wants back of reasoning that is done."""
        if (sealed := fields["item"].get("encrypted_content")) is None:
            return []
        if fields["item"]["content"]:
            return self._blocks.add((fields["output_index"], 0), "signature_delta", "signature", sealed)
        return self._blocks.begin((fields["output_index"], 0), {**BLOCKS["redacted_thinking"], "data": sealed})

    def _end(self, response: Json) -> list[Json]:
        if (error := failure(response)) is not None:
            return [error_object(error, self._request_id)]
        delta = {"stop_reason": stop_reason(response), "stop_sequence": None}
        usage = usage_of(response["usage"], extended=self._extended)
        return [{"type": "message_delta", "delta": delta, "usage": usage}, {"type": "message_stop"}]
