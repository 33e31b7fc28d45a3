"""A backend's events become the events of one response, in the order that the Responses API defines. Pure.

Writes into a ResponseLog; knows no socket and no JSON. The order of one response (every type begins with `response.`):

    created → in_progress → items → completed | incomplete | failed

    message    output_item.added → (content_part.added → deltas → done → content_part.done)* → output_item.done
    reasoning  output_item.added → (deltas → done)* → output_item.done, with what its provider wants back
    tool call  output_item.added → deltas → done → output_item.done

One message or reasoning item is open at a time. Tool calls stay open until the answer ends, because a model may write
several of them in turns.
https://platform.openai.com/docs/api-reference/responses-streaming
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from msgspec.structs import replace

from backends.events import (
    Citation,
    Event,
    Finished,
    Logprob,
    ReasoningDelta,
    RefusalDelta,
    Signature,
    TextDelta,
    ToolCallDelta,
    ToolCallStart,
    Usage,
)
from backends.request import Request
from proxy.response_log import Mark, Part, ResponseLog
from proxy.wire.citations import annotation
from proxy.wire.opaque import packed
from proxy.wire.responses_call import OpenCall, clean
from proxy.wire.usage import COST, estimated_input, usage_of

# Kind of text → its item, its part, the word in its event types, and the member that holds the whole text.
KINDS: dict[type[Event], tuple[str, str, str]] = {
    TextDelta: ("message", "output_text", "text"),
    RefusalDelta: ("message", "refusal", "refusal"),
    ReasoningDelta: ("reasoning", "reasoning_text", "text"),
}
INCOMPLETE = {"length": "max_output_tokens", "content_filter": "content_filter"}
LOGPROB_BYTES, TOKEN_BYTE = 512, 16  # that a log probability takes in memory, about, and each byte of its token


class Composer:
    """Composes one response. `response` holds the members that do not change: id, model, what the client asked.

    `request` is what its tokens are estimated from when the backend does not count. Calls of `custom_tools` are shown
    as text, not as arguments, and those of tools in `namespaces` with the namespace.
    """

    def __init__(
        self,
        log: ResponseLog,
        response: dict[str, Any],
        new_id: Callable[[str], str],
        *,
        request: Request | None = None,
        custom_tools: frozenset[str] = frozenset(),
        namespaces: Mapping[str, str] | None = None,
    ) -> None:
        self._log = log
        self._response = response
        self._new_id = new_id
        self._request = request
        self._custom_tools = custom_tools
        self._namespaces = namespaces or {}
        self._output: list[dict[str, Any]] = []  # items by output_index, open ones among them
        self._calls: dict[int, OpenCall] = {}  # by the backend's index
        self._kind: type[Event] | None = None  # of the open part
        self._part = 0
        self._place: dict[str, Any] = {}
        self._part_start = 0  # in the log: its byte, and its event
        self._part_head = 0
        self._logprobs: list[dict[str, Any]] = []
        self._annotations: list[dict[str, Any]] = []  # of the open part
        self._text_before = 0  # characters of the answer in the parts before it
        self._item: dict[str, Any] | None = None  # the open message or reasoning
        self._reasoning_tokens = 0
        self.usage: Usage | None = None
        self.costs: Callable[[Usage], int | None] = lambda _: None  # micro-dollars

    def start(self) -> None:
        """The response exists: said on admission, before a backend is chosen."""
        fields: dict[str, object] = {"response": self._snapshot("in_progress")}
        self._log.mark(Mark("response.created", fields))
        self._log.mark(Mark("response.in_progress", fields))

    def feed(self, batch: Sequence[Event]) -> None:
        """Write one batch. Raises LogFull. What comes after the end is left out."""
        if self._log.ended:
            return
        for event in batch:
            if isinstance(event, TextDelta) and event.logprobs is None:  # nearly every event there is
                if self._kind is not TextDelta:
                    self._open(TextDelta)
                self._log.add(self._part, event.text)
            else:
                self._rare(event)
                if self._log.ended:
                    return

    def stop(self, reason: str, status: str = "incomplete") -> None:
        """End before the backend did: cancelled, or at a bound of ours. What was said so far stays."""
        self._end("response.incomplete", status, incomplete_details={"reason": reason})

    def fail(self, code: str, message: str, retry_after_ms: int | None = None) -> None:
        """End with an error. What was said so far stays."""
        error: dict[str, object] = {"code": code, "message": message}
        if retry_after_ms is not None:
            error["retry_after_ms"] = retry_after_ms
        self._end("response.failed", "failed", error=error)

    def say_nothing(self) -> None:
        """End without having asked a model: `generate` is false."""
        self.usage, self.costs = Usage(0, 0), lambda _: 0
        self._end("response.completed", "completed")

    def _rare(self, event: Event) -> None:
        match event:
            case ReasoningDelta() | RefusalDelta():
                if type(event) is not self._kind:
                    self._open(type(event))
                self._log.add(self._part, event.text)
            case TextDelta():
                self._likely(event.text, event.logprobs or ())
            case Signature():
                self._sign(event)
            case Citation():
                self._cite(event)
            case ToolCallStart():
                self._call(event)
            case ToolCallDelta():
                if (call := self._calls.get(event.index)) is not None:
                    self._close_item("completed")  # the log keeps the text of a part in one piece
                    call.feed(event.arguments)
            case Finished():
                self._finish(event)

    def _finish(self, event: Finished) -> None:
        self.usage = event.usage
        reason = INCOMPLETE.get(event.reason)
        if not self._output and reason is None:
            self._open(TextDelta)  # an empty answer is an answer: clients expect a message
        if reason is None:
            self._end("response.completed", "completed")
        else:
            self._end("response.incomplete", "incomplete", incomplete_details={"reason": reason})

    def _open(self, kind: type[Event]) -> None:
        """Open the part that text of `kind` goes to; what stood open is closed."""
        item_type, part_type, word = KINDS[kind]
        self._log.check()
        self._close_part()
        if self._item is None or self._item["type"] != item_type:
            self._close_item("completed")
            self._open_item(item_type)
        item = self._item
        assert item is not None
        place = {"item_id": item["id"], "output_index": self._index(item), "content_index": len(item["content"])}
        if item_type == "message":  # raw reasoning has no part events of its own
            self._log.mark(Mark("response.content_part.added", {**place, "part": part_of(part_type, word, "", [], [])}))
        # OpenAI's text deltas carry their log probabilities; the list is there, and empty, when none were asked for.
        self._part = self._log.open(Part(f"response.{part_type}.delta", {**place, **logprobs(part_type, [])}))
        self._place = place
        self._part_start, self._part_head = self._log.size, self._log.head
        self._logprobs, self._annotations = [], []
        self._kind = kind

    def _open_item(self, item_type: str) -> None:
        if item_type == "message":
            item = {"id": self._new_id("msg"), "type": "message", "role": "assistant", "content": []}
        else:
            item = {"id": self._new_id("rs"), "type": "reasoning", "summary": [], "content": []}
        item["status"] = "in_progress"
        self._item = item
        self._output.append(item)
        added = {"output_index": self._index(item), "item": {**item, "content": []}}
        self._log.mark(Mark("response.output_item.added", added))

    def _likely(self, text: str, given: Sequence[Logprob]) -> None:
        """Text with its log probabilities: an event of its own, because each is another."""
        if self._kind is not TextDelta:
            self._open(TextDelta)
        shown = [logprob_of(each) for each in given]
        said = clean(text)
        mark = Mark("response.output_text.delta", {**self._place, "delta": said, "logprobs": shown})
        self._log.mark(mark, said, sum(map(weight_of, given)))
        self._logprobs += shown

    def _sign(self, event: Signature) -> None:
        """It ends the open reasoning; where there is none, it is an item without text, before what it belongs to."""
        self._log.check()
        self._close_part()
        if self._item is None or self._item["type"] != "reasoning":
            self._close_item("completed")
            self._open_item("reasoning")
        assert self._item is not None
        self._item["encrypted_content"] = sealed = packed(event)
        self._log.charge_answer(len(sealed))
        self._close_item("completed")

    def _cite(self, event: Citation) -> None:
        """A source of the text so far. What cites no text that is open has no place."""
        if self._kind is not TextDelta:
            return
        shown = annotation(event, self._text_before)
        place = {**self._place, "annotation_index": len(self._annotations), "annotation": shown}
        self._log.check()
        weight = len(event.text) + len(event.source) + len(event.title)
        self._log.mark(Mark("response.output_text.annotation.added", place), weight=weight)
        self._annotations.append(shown)

    def _call(self, event: ToolCallStart) -> None:
        """A tool call begins. One index is one call."""
        if event.index in self._calls:
            return
        self._log.check()
        self._close_item("completed")
        custom = event.name in self._custom_tools
        item_id = self._new_id("ctc" if custom else "fc")
        named, call_id, namespace = clean(event.name), clean(event.id), self._namespaces.get(event.name)
        self._log.charge_answer(len(named) + len(call_id))
        call = OpenCall(self._log, len(self._output), item_id, call_id, named, custom=custom, namespace=namespace)
        self._calls[event.index] = call
        self._output.append(call.item)

    def _close_part(self) -> None:
        if self._kind is None or self._item is None:
            return
        _, part_type, word = KINDS[self._kind]
        text = self._log.text(self._part_start)
        if self._kind is ReasoningDelta:
            self._reasoning_tokens += self._log.head - self._part_head
        elif self._kind is TextDelta:
            self._text_before += len(text)
        part = part_of(part_type, word, text, self._logprobs, self._annotations)
        done = {**self._place, word: text, **logprobs(part_type, self._logprobs)}
        self._log.mark(Mark(f"response.{part_type}.done", done))
        if self._item["type"] == "message":
            self._log.mark(Mark("response.content_part.done", {**self._place, "part": part}))
        self._item["content"].append(part)
        self._kind = None

    def _close_item(self, status: str) -> None:
        self._close_part()
        if self._item is None:
            return
        self._item["status"] = status
        done = {"output_index": self._index(self._item), "item": self._item}
        self._log.mark(Mark("response.output_item.done", done))
        self._item = None

    def _index(self, item: dict[str, Any]) -> int:
        """The open item is the newest, because a call closes it."""
        assert self._output[-1] is item
        return len(self._output) - 1

    def _end(self, event_type: str, status: str, **facts: object) -> None:
        """Close what is open and say the terminal event, unless it was said."""
        if self._log.ended:
            return
        closed = "completed" if status == "completed" else "incomplete"
        self._close_item(closed)  # first: a call may have text left, and the log keeps that of a part in one piece
        for call in self._calls.values():
            call.close(closed)
        if self.usage is None and self._output:
            self.usage = self._estimate()
        elif self.usage is not None and self.usage.output_tokens == 0 and self._log.deltas:  # it did not count these
            said, thought = self._log.deltas, self._reasoning_tokens
            self.usage = replace(self.usage, output_tokens=said, reasoning_tokens=thought, estimated=True)
        self._request = None
        self._response = {**self._snapshot(status), **facts, "output": self._output, "usage": self._used()}
        self._log.mark(Mark(event_type, {"response": self._response}, terminal=True))

    def _used(self) -> dict[str, Any] | None:
        """The usage, with what it cost: that is for those who asked for our extensions, and taken out for others."""
        shown = usage_of(self.usage)
        if shown is None or self.usage is None:
            return None
        return {**shown, COST: {"usd_micros": self.costs(self.usage)}}

    def _estimate(self) -> Usage:
        """What was counted: a delta is about a token. Without a word from the backend nothing is known."""
        read = 0 if self._request is None else estimated_input(self._request)
        return Usage(read, self._log.deltas, reasoning_tokens=self._reasoning_tokens, estimated=True)

    def _snapshot(self, status: str) -> dict[str, Any]:
        return {
            **self._response,
            "status": status,
            "error": None,
            "incomplete_details": None,
            "output": [],
            "usage": None,
        }


def part_of(
    part_type: str, word: str, text: str, likely: list[dict[str, Any]], annotations: list[dict[str, Any]]
) -> dict[str, Any]:
    """A content part as it stands in events and items."""
    part: dict[str, Any] = {"type": part_type, word: text}
    if part_type == "output_text":
        part |= {"annotations": annotations, "logprobs": likely}
    return part


def logprobs(part_type: str, likely: list[dict[str, Any]]) -> dict[str, Any]:
    """The member that only text events have."""
    return {"logprobs": likely} if part_type == "output_text" else {}


def weight_of(given: Logprob) -> int:
    """Bytes of memory that it takes, about, with those of the likeliest ones in its place."""
    tokens = (given.token, *(token for token, _ in given.top))
    return sum(LOGPROB_BYTES + TOKEN_BYTE * len(token) for token in tokens)


def logprob_of(given: Logprob) -> dict[str, Any]:
    """One token's log probability, and those of the likeliest ones in its place."""
    return {
        **token_of(given.token, given.logprob),
        "top_logprobs": [token_of(token, logprob) for token, logprob in given.top],
    }


def token_of(token: str, logprob: float) -> dict[str, Any]:
    """A token, its log probability and its bytes, which OpenAI's types require."""
    said = clean(token)
    return {"token": said, "logprob": logprob, "bytes": list(said.encode())}
