"""A backend's events become the events of one response, in the order that the Responses API defines. Pure.

Writes into a ResponseLog; knows no socket and no JSON. The order of one response (every type begins with `response.`):

    created → in_progress → (output_item.added → (content_part.added → deltas → done → content_part.done)* →
    output_item.done)* → completed | incomplete | failed

https://platform.openai.com/docs/api-reference/responses-streaming
"""

from collections.abc import Callable, Sequence
from typing import Any

from backends.events import Event, Finished, ReasoningDelta, RefusalDelta, TextDelta, Usage
from proxy.response_log import Mark, Part, ResponseLog

# Kind of text → its item, its part, the word in its event types, and the member that holds the whole text.
KINDS: dict[type[Event], tuple[str, str, str]] = {
    TextDelta: ("message", "output_text", "text"),
    RefusalDelta: ("message", "refusal", "refusal"),
    ReasoningDelta: ("reasoning", "reasoning_text", "text"),
}
INCOMPLETE = {"length": "max_output_tokens", "content_filter": "content_filter"}


class Composer:
    """Composes one response. `response` holds the members that do not change: id, model, what the client asked."""

    def __init__(self, log: ResponseLog, response: dict[str, Any], new_id: Callable[[str], str]) -> None:
        self._log = log
        self._response = response
        self._new_id = new_id
        self._output: list[dict[str, Any]] = []
        self._kind: type[Event] | None = None  # of the open part
        self._part = 0
        self._part_start = 0
        self._item: dict[str, Any] | None = None
        self.usage: Usage | None = None

    def start(self) -> None:
        """The response exists: said on admission, before a backend is chosen."""
        for name in ("created", "in_progress"):
            self._log.mark(Mark(f"response.{name}", {"response": self._snapshot("in_progress")}))

    def feed(self, batch: Sequence[Event]) -> None:
        """Write one batch. Raises LogFull."""
        for event in batch:
            if isinstance(event, Finished):
                self.usage = event.usage
                self._finish(event)
            elif isinstance(event, TextDelta | ReasoningDelta | RefusalDelta):
                if type(event) is not self._kind:
                    self._open(type(event))
                self._log.add(self._part, event.text)

    def stop(self, reason: str, status: str = "incomplete") -> None:
        """End before the backend did: cancelled, or at a bound of ours. What was said so far stays."""
        self._close_item("incomplete")
        self._end("response.incomplete", status, incomplete_details={"reason": reason})

    def fail(self, code: str, message: str) -> None:
        """End with an error."""
        self._close_item("incomplete")
        self._end("response.failed", "failed", error={"code": code, "message": message})

    def _finish(self, event: Finished) -> None:
        reason = INCOMPLETE.get(event.reason)
        if self._item is None and not self._output and reason is None:
            self._open(TextDelta)  # an empty answer is an answer: clients expect a message
        self._close_item("completed" if reason is None else "incomplete")
        if reason is None:
            self._end("response.completed", "completed")
        else:
            self._end("response.incomplete", "incomplete", incomplete_details={"reason": reason})

    def _open(self, kind: type[Event]) -> None:
        """Open the part that text of `kind` goes to; what stood open is closed."""
        item_type, part_type, word = KINDS[kind]
        self._close_part()
        if self._item is None or self._item["type"] != item_type:
            self._close_item("completed")
            self._open_item(item_type)
        item = self._item
        assert item is not None
        place = {"item_id": item["id"], "output_index": len(self._output), "content_index": len(item["content"])}
        if item_type == "message":  # raw reasoning has no part events of its own
            self._log.mark(Mark("response.content_part.added", {**place, "part": part_of(part_type, word, "")}))
        # OpenAI's text deltas carry their log probabilities; the list is there, and empty, when none were asked for.
        self._part = self._log.open(Part(f"response.{part_type}.delta", {**place, **logprobs(part_type)}))
        self._part_start = self._log.size
        self._kind = kind

    def _open_item(self, item_type: str) -> None:
        if item_type == "message":
            item = {"id": self._new_id("msg"), "type": "message", "role": "assistant", "content": []}
        else:
            item = {"id": self._new_id("rs"), "type": "reasoning", "summary": [], "content": []}
        item["status"] = "in_progress"
        self._item = item
        added = {"output_index": len(self._output), "item": {**item, "content": []}}
        self._log.mark(Mark("response.output_item.added", added))

    def _close_part(self) -> None:
        if self._kind is None or self._item is None:
            return
        _, part_type, word = KINDS[self._kind]
        text = self._log.text(self._part_start)
        content = self._item["content"]
        place = {"item_id": self._item["id"], "output_index": len(self._output), "content_index": len(content)}
        part = part_of(part_type, word, text)
        self._log.mark(Mark(f"response.{part_type}.done", {**place, word: text, **logprobs(part_type)}))
        if self._item["type"] == "message":
            self._log.mark(Mark("response.content_part.done", {**place, "part": part}))
        content.append(part)
        self._kind = None

    def _close_item(self, status: str) -> None:
        self._close_part()
        if self._item is None:
            return
        self._item["status"] = status
        self._log.mark(Mark("response.output_item.done", {"output_index": len(self._output), "item": self._item}))
        self._output.append(self._item)
        self._item = None

    def _end(self, event_type: str, status: str, **facts: object) -> None:
        response = {**self._snapshot(status), **facts, "output": list(self._output), "usage": usage_of(self.usage)}
        self._log.mark(Mark(event_type, {"response": response}, terminal=True))

    def _snapshot(self, status: str) -> dict[str, Any]:
        return {
            **self._response,
            "status": status,
            "error": None,
            "incomplete_details": None,
            "output": [],
            "usage": None,
        }


def part_of(part_type: str, word: str, text: str) -> dict[str, Any]:
    """A content part as it stands in events and items."""
    part: dict[str, Any] = {"type": part_type, word: text}
    if part_type == "output_text":
        part |= {"annotations": [], "logprobs": []}
    return part


def logprobs(part_type: str) -> dict[str, Any]:
    """The member that only text events have."""
    return {"logprobs": []} if part_type == "output_text" else {}


def usage_of(usage: Usage | None) -> dict[str, Any] | None:
    """Usage as the Responses API counts it; None when the backend did not say."""
    if usage is None:
        return None
    return {
        "input_tokens": usage.input_tokens,
        "input_tokens_details": {"cached_tokens": usage.cached_tokens, "cache_write_tokens": 0},
        "output_tokens": usage.output_tokens,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning_tokens},
        "total_tokens": usage.input_tokens + usage.output_tokens,
    }
