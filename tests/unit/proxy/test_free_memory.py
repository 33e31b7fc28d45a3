"""What is remembered of models, conversations and people: bounded, fading, and without a word of any text."""

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from backends.events import Usage
from backends.request import Message, Request, Text, said
from proxy import free_memory
from proxy.conversations import MOST as MOST_CONVERSATIONS
from proxy.free_memory import ACTIVE, STICKY, FreeMemory, Seen, conversation_of, span_of
from proxy.outcome import Attempt, Gaps, Outcome
from quota.pool import DAY, HOUR, MINUTE, SECOND, Concurrent, Fixed, Gcra, Pool, Rolling

GOOD = Outcome(
    request_id="r",
    principal="ann",
    model="free/auto",
    status="completed",
    error=None,
    backend="groq-me",
    backend_model="m",
    failed_attempts=(),
    first_event=0.5,
    duration=2.5,
    usage=Usage(10, 101),
    gaps=Gaps((), 2.0),
)
FAILED = replace(GOOD, status="failed", error="backend_failed", first_event=None, usage=None, gaps=None)
HERE = ("groq-me", "m")
NOON = 1_795_262_400 * SECOND  # 2026-11-21 12:00 UTC


def after(*outcomes: Outcome) -> Seen:
    memory = FreeMemory()
    for outcome in outcomes:
        memory.observe(outcome)
    return memory.seen[HERE]


def test_how_fast_and_how_reliable_a_model_is_follows_its_newest_answers() -> None:
    seen = after(GOOD)
    assert (seen.seconds, seen.rate) == (0.5, 50.0)
    assert seen.duration == 0.5 + 300 / 50
    slower = after(GOOD, *[replace(GOOD, first_event=4.0)] * 20)
    assert slower.seconds is not None
    assert 3.9 < slower.seconds < 4.0
    assert after(FAILED).reliability < Seen().reliability < after(GOOD).reliability
    assert after(*[FAILED] * 20, *[GOOD] * 100).reliability > 0.8


def test_a_model_is_not_blamed_for_quota_for_the_client_or_for_the_time_of_others() -> None:
    for error in ("rate_limit_exceeded", "insufficient_quota", "backend_refused_request", "content_filter"):
        memory = FreeMemory()
        memory.observe(replace(FAILED, error=error))
        assert HERE not in memory.seen or memory.seen[HERE].reliability == Seen().reliability
    late = after(replace(GOOD, failed_attempts=(Attempt("other", "n", "backend_failed"),), first_event=60.0))
    assert late.seconds is None


def test_an_attempt_that_another_followed_counts_for_who_failed() -> None:
    memory = FreeMemory()
    memory.observe(replace(GOOD, failed_attempts=(Attempt("other", "n", "backend_failed"),)))
    assert memory.seen["other", "n"].reliability < Seen().reliability < memory.seen[HERE].reliability


def test_a_conversation_stays_for_half_an_hour_after_its_last_answer() -> None:
    memory = FreeMemory()
    memory.stick("c", *HERE, NOON)
    assert memory.stuck("c", NOON + STICKY - 1) == HERE
    assert memory.stuck("c", NOON + STICKY) is None
    memory.stick("c", *HERE, NOON + STICKY)
    assert memory.stuck("c", NOON + STICKY + 1) == HERE
    assert memory.stuck("other", NOON) is None
    assert memory.stuck(None, NOON) is None


def test_the_oldest_conversations_go_where_there_are_too_many() -> None:
    memory = FreeMemory()
    for number in range(MOST_CONVERSATIONS + 1):
        memory.stick(str(number), *HERE, NOON)
    assert memory.stuck("0", NOON) is None
    assert memory.stuck("1", NOON) == HERE


def test_who_asked_lately_is_active() -> None:
    memory = FreeMemory()
    memory.asked("ann", NOON)
    memory.asked("bob", NOON + MINUTE)
    assert set(memory.active(NOON + ACTIVE - 1)) == {"ann", "bob"}
    assert set(memory.active(NOON + ACTIVE)) == {"bob"}


def test_windows_are_those_of_the_calendar_and_are_found_anew_when_they_end() -> None:
    los_angeles = Pool("p", 20, Fixed("day", "America/Los_Angeles"))
    memory = FreeMemory()
    assert memory.span(los_angeles, NOON) == (DAY, NOON + 20 * HOUR)
    assert memory.span(los_angeles, NOON + 19 * HOUR) == (DAY, NOON + 20 * HOUR)
    assert memory.span(los_angeles, NOON + 20 * HOUR) == (DAY, NOON + 44 * HOUR)
    assert memory.span(Pool("p", 20, Fixed("hour")), NOON) == (HOUR, NOON + HOUR)  # configured anew
    assert span_of(Pool("q", 1, Concurrent()), NOON) == (0, None)
    assert span_of(Pool("q", 1, Rolling(MINUTE)), NOON) == span_of(Pool("q", 1, Gcra(MINUTE)), NOON) == (MINUTE, None)
    assert span_of(Pool("q", 1, Fixed("ever")), NOON).end is None


def asked(*texts: str) -> Request:
    roles = ("system", "user", "assistant", "user")
    return Request("m", tuple(said(role, text) for role, text in zip(roles, texts, strict=False)))  # type: ignore[arg-type]  # roles are roles


@given(st.text(), st.text(), st.text(), st.text())
def test_a_conversation_is_the_same_in_every_turn_and_another_for_another_person(
    system: str, first: str, answer: str, second: str
) -> None:
    name = conversation_of("ann", asked(system, first))
    assert name == conversation_of("ann", asked(system, first, answer, second))
    assert name != conversation_of("bob", asked(system, first))
    assert name != conversation_of("ann", asked(system, first + "!"))
    assert name is not None
    assert len(name) == 32


def test_texts_do_not_run_into_each_other_and_only_their_beginning_is_read() -> None:
    assert conversation_of("ann", asked("ab", "c")) != conversation_of("ann", asked("a", "bc"))
    long = "x" * free_memory.HASHED
    assert conversation_of("ann", asked("s", long)) == conversation_of("ann", asked("s", long + "y"))
    assert conversation_of("ann", Request("m")) is None
    assert conversation_of("ann", Request("m", (Message("user", (Text("\ud800"),)),))) is not None
