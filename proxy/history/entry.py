"""One routed call as the history keeps it, and what makes two questions the same. Pure."""

from collections.abc import Hashable
from typing import TypeAlias

from msgspec import Struct

from backends.json import dumps
from backends.request import Request, text_of
from proxy.learned.question import capped
from proxy.outcome import Outcome, Routed

LAST = 3  # messages at the end that make a question what it is, beside how many come before
NOT_ROUTED = Routed((), "", 0.0)

Line: TypeAlias = tuple[object, ...]
"""The values of the query put_history."""


class Entry(Struct, frozen=True):
    """A call that has ended, at `at` in Unix seconds. `learn`: something of its question may be kept; `text`: also its
    text. `again_of` is the response before, where its name was chosen because another's answer was not enough.
    """

    at: float
    outcome: Outcome
    learn: bool
    text: bool
    again_of: str | None = None

    @property
    def question(self) -> str:
        """What may be learned from; "" for nothing."""
        routed = self.outcome.routed
        return routed.question if routed is not None and self.learn else ""

    def line(self, features: bytes | None) -> Line:
        """Itself, in columns."""
        outcome = self.outcome
        routed = outcome.routed or NOT_ROUTED
        usage = outcome.usage
        return (
            self.at,
            outcome.request_id,
            outcome.response_id,
            outcome.principal,
            outcome.model,
            routed.rule,
            routed.profile,
            routed.score,
            routed.threshold,
            int(routed.guarded),
            words(routed.sets),
            outcome.backend,
            outcome.backend_model,
            outcome.status,
            outcome.error,
            words([(each.backend, each.model, each.error) for each in outcome.failed_attempts]),
            outcome.first_event,
            outcome.duration,
            usage and usage.input_tokens,
            usage and usage.output_tokens,
            outcome.cost,
            features,
            (self.question or None) if self.text else None,
            self.again_of,
        )


def words(value: object) -> str:
    """As JSON."""
    return dumps(value).decode()


def question_key(principal: str, request: Request) -> Hashable:
    """The same for a question that the same principal asks again, after the same conversation. Not for other processes.

    None where there are no messages.
    """
    last = request.messages[-LAST:]
    if not last:
        return None
    return hash((principal, len(request.messages), *(capped(text_of(message.parts)) for message in last)))
