"""What one generation says, as the deltas of one choice of a chat completion. Pure."""

from typing import Any

from backends.json import dumps
from proxy.response_log import Entry, Mark, ResponseLog
from proxy.wire.chat_reasoning import detail, details
from proxy.wire.citations import chat_annotation
from proxy.wire.usage import COST, total_cost

TEXTS = {  # a part's event → the member of the delta that it adds to
    "response.output_text.delta": "content",
    "response.refusal.delta": "refusal",
    "response.reasoning_text.delta": "reasoning_content",
}
CALLS = {  # an item's type, or its delta → the type of the call, and the member that grows
    "function_call": ("function", "arguments"),
    "response.function_call_arguments.delta": ("function", "arguments"),
    "custom_tool_call": ("custom", "input"),
    "response.custom_tool_call_input.delta": ("custom", "input"),
}
FINISH = {"max_output_tokens": "length", "content_filter": "content_filter"}
Json = dict[str, Any]


class Choice:
    """Reads one log. `response` is the response object once the terminal event was read."""

    def __init__(self, log: ResponseLog) -> None:
        self._log = log
        self._calls: dict[int, int] = {}  # output_index → the number of the call in this choice
        self._sealed: Json | None = None  # reasoning that is not told yet, because what follows it is not known
        self._details = 0
        self._text_before = 0  # characters in the parts before the one that is open
        self._begun = False
        self.response: Json | None = None

    def feed(self, entry: Entry) -> list[Json]:
        """The members of the choice that `entry` changes: `delta`, `logprobs`, `finish_reason`, one chunk for each.

        A response that did not end well has no finish reason: `failure` says why.
        """
        _, part, event = entry
        if not isinstance(event, Mark):
            place = self._log.parts[part - 1]
            return self._more(place.type, place.fields, event)
        if event.terminal:
            response: Json = event.fields["response"]  # type: ignore[assignment]  # a Mark's members are JSON
            self.response = response
            reason = finish_reason(response)
            return self._begin({"content": ""}) + self._detail(None) + ([said({}, reason)] if reason else [])
        fields: Json = event.fields
        match event.type:
            case "response.output_item.added":
                return self._detail(fields["item"]) + self._item(fields)
            case "response.output_item.done" if "encrypted_content" in fields["item"]:
                self._sealed = fields["item"]
            case "response.content_part.done":
                self._text_before += len(fields["part"].get("text", ""))
            case "response.output_text.annotation.added":
                shown = chat_annotation(fields["annotation"], self._text_before)
                return [said({"annotations": [shown]})]
        if event.type in TEXTS:  # a delta with log probabilities
            chunks = self._more(event.type, event.fields, str(event.fields["delta"]))
            chunks[-1]["logprobs"] = {"content": event.fields["logprobs"], "refusal": None}
            return chunks
        return []

    def _more(self, kind: str, place: Json, text: str) -> list[Json]:
        if (member := TEXTS.get(kind)) is not None:
            return [*self._begin({member: ""}), said({member: text})]
        if kind in CALLS:
            call, member = CALLS[kind]
            return [said({"tool_calls": [{"index": self._calls[place["output_index"]], call: {member: text}}]})]
        return []

    def _detail(self, following: Json | None) -> list[Json]:
        """What the provider wants back of the reasoning before the item that begins."""
        if self._sealed is None:
            return []
        told = detail(self._sealed, following, self._details)
        self._sealed = None
        self._details += 1
        return [*self._begin({"content": ""}), said({"reasoning_details": [told]})]

    def _item(self, fields: Json) -> list[Json]:
        """A tool call begins with its id and name."""
        item = fields["item"]
        if item["type"] not in CALLS:
            return []
        call, member = CALLS[item["type"]]
        number = self._calls[fields["output_index"]] = len(self._calls)
        begun = {"index": number, "id": item["call_id"], "type": call, call: {"name": item["name"], member: ""}}
        return [*self._begin({}), said({"tool_calls": [begun]})]

    def _begin(self, first: Json) -> list[Json]:
        """The role comes first, and once."""
        if self._begun:
            return []
        self._begun = True
        return [said({"role": "assistant", "content": first.get("content")})]


def said(delta: Json, finish: str | None = None) -> Json:
    """What one chunk says of a choice."""
    return {"delta": delta, "logprobs": None, "finish_reason": finish}


def finish_reason(response: Json) -> str | None:
    """How a response ended, in the words of chat completions; None when it did not end well."""
    if response["status"] == "completed":
        called = any(item["type"] in CALLS for item in response["output"])
        return "tool_calls" if called else "stop"
    if response["status"] == "incomplete":
        return FINISH.get(response["incomplete_details"]["reason"], "stop")
    return None


def message_of(response: Json) -> Json:
    """The whole answer as a message."""
    texts: dict[str, list[str]] = {"output_text": [], "refusal": [], "reasoning_text": []}
    calls, annotations = [], []
    for item in response["output"]:
        if item["type"] in CALLS:
            call, member = CALLS[item["type"]]
            calls.append({"id": item["call_id"], "type": call, call: {"name": item["name"], member: item[member]}})
        for part in item.get("content") or ():
            if part["type"] in texts:
                before = sum(map(len, texts["output_text"]))
                annotations += [chat_annotation(each, before) for each in part.get("annotations") or ()]
                texts[part["type"]].append(part["refusal" if part["type"] == "refusal" else "text"])
    content, refusal, reasoning = ("".join(each) if each else None for each in texts.values())
    message: Json = {"role": "assistant", "content": content, "refusal": refusal}
    if reasoning is not None:
        message["reasoning_content"] = reasoning
    if sealed := details(response["output"]):
        message["reasoning_details"] = sealed
    if annotations:
        message["annotations"] = annotations
    if calls:
        message["tool_calls"] = calls
    return message


def all_logprobs(response: Json) -> Json | None:
    """Those of the whole answer; None when none were asked for."""
    found = [
        each for item in response["output"] for part in item.get("content") or () for each in part.get("logprobs") or ()
    ]
    return {"content": found, "refusal": None} if found else None


def usage_of(responses: list[Json], *, extended: bool = False) -> Json | None:
    """The tokens of all choices: each was a generation of its own that read the prompt. None when none is known.

    With what they cost for a client that asked for our extensions.
    """
    counted: list[Json] = [response["usage"] for response in responses if response.get("usage")]
    if not counted:
        return None
    read = sum(each["input_tokens"] for each in counted)
    written = sum(each["output_tokens"] for each in counted)
    usage: Json = {
        "prompt_tokens": read,
        "completion_tokens": written,
        "total_tokens": read + written,
        "prompt_tokens_details": {
            "cached_tokens": sum(each["input_tokens_details"]["cached_tokens"] for each in counted),
        },
        "completion_tokens_details": {
            "reasoning_tokens": sum(each["output_tokens_details"]["reasoning_tokens"] for each in counted),
        },
    }
    if any(each.get("sl_estimated") for each in counted):
        usage["sl_estimated"] = True
    if extended:
        usage[COST] = total_cost(counted)
    return usage


def data(value: object) -> bytes:
    """A server-sent message of a chat API."""
    return b"data: %b\n\n" % dumps(value)
