"""Asks one question: what comes goes to a view, Ctrl-C stops it, and what has become of it is kept."""

import signal
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import FrameType
from typing import Any

from proxy.cli.chat_view import View
from streamlane_client import Answer, Client, Event, StreamlaneError


@dataclass(slots=True)
class Turn:
    """What has become of a question. Times are in seconds, by a clock of its own."""

    asked: float
    first: float | None = None
    ended: float = 0
    response_id: str | None = None  # None where none began
    said: list[str] = field(default_factory=list)
    tokens: int | None = None
    estimated: bool = False  # the backend did not count the tokens
    cut: str | None = None  # why it is not whole
    error: StreamlaneError | None = None

    @property
    def text(self) -> str:
        """What was answered, as far as it came."""
        return "".join(self.said)

    @property
    def stopped(self) -> bool:
        """Whether Ctrl-C ended it."""
        return self.cut == "cancelled"

    @property
    def pace(self) -> str:
        """How fast it came."""
        facts = []
        about = "about " if self.estimated else ""
        if self.first is not None:
            facts.append(f"{self.first - self.asked:.2f} s to first token")
            if self.tokens is not None and self.tokens > 1 and self.ended > self.first:
                facts.append(f"{(self.tokens - 1) / (self.ended - self.first):.0f} tok/s")
        if self.tokens is not None:
            facts.append(f"{about}{self.tokens:,} {'token' if self.tokens == 1 else 'tokens'}")
        if self.cut is not None:
            facts.append(
                {"cancelled": "stopped", "max_output_tokens": "ended at the token limit"}.get(self.cut, self.cut)
            )
        return " · ".join(facts)


def ask(
    client: Client, model: str, fields: Mapping[str, Any], messages: Sequence[Mapping[str, str]], view: View
) -> Turn:
    """Ask, and return when the answer has ended. A second Ctrl-C raises KeyboardInterrupt."""
    turn = Turn(asked=time.monotonic())
    with view, client.create(model=model, input=messages, **fields) as answer, stops_at_ctrl_c(answer, turn):
        view.wait(f"Waiting for {model}")
        try:
            for event in answer:
                _take(event, turn, view)
        except StreamlaneError as error:
            turn.error = error
        turn.ended = time.monotonic()
        turn.response_id = answer.id
    return turn


def _take(event: Event, turn: Turn, view: View) -> None:
    kind = event["type"]
    if event["type"] == "streamlane:route":
        ahead = event["queue_position"]
        if ahead:
            view.wait(f"{ahead} ahead of you at {event['backend']}")
        else:
            view.wait(f"Waiting for {event['model']} at {event['backend']}")
    elif event["type"] == "streamlane:queue":
        view.wait(f"All free quota is spent. You are number {event['position']} of those who wait for it")
    elif (
        event["type"] == "response.output_text.delta"
        or event["type"] == "response.refusal.delta"
        or event["type"] == "response.reasoning_text.delta"
    ):
        turn.first = turn.first or time.monotonic()
        if kind == "response.reasoning_text.delta":
            view.wait("Thinking")
        else:
            turn.said.append(event["delta"])
            view.say(event["delta"])
    elif event["type"] == "response.completed" or event["type"] == "response.incomplete":
        response = event["response"]
        usage, details = response.get("usage"), response.get("incomplete_details")
        turn.tokens = usage["output_tokens"] if usage else None
        turn.estimated = bool(usage and usage.get("sl_estimated"))
        if kind == "response.incomplete":
            turn.cut = details["reason"] if details else "incomplete"


@contextmanager
def stops_at_ctrl_c(answer: Answer, turn: Turn) -> Iterator[None]:
    """The first Ctrl-C cancels the answer, which then ends with an event of its own; the next one is as ever."""

    def stop(number: int, frame: FrameType | None) -> None:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        turn.cut = "cancelled"
        answer.cancel()

    before = signal.signal(signal.SIGINT, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
