"""Which attempt follows a failure: the order, the waits, the budgets, for any errors at any time."""

from collections import defaultdict
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.errors import (
    AuthenticationFailed,
    BackendError,
    CallerKeyNeeded,
    ContentFiltered,
    ContextLengthExceeded,
    DeadlineExceeded,
    EngineUnavailable,
    InvalidRequest,
    ModelLoadFailed,
    ModelNotFound,
    NotReady,
    Overloaded,
    ProtocolViolation,
    QuotaExhausted,
    RateLimited,
    Scope,
    ServerFailed,
    StreamBroken,
    Unreachable,
    UnsupportedFeature,
)
from backends.unasked import QueueFull
from proxy.retry import CAP, MOST_ATTEMPTS, SHARE, WINDOW, Attempts, Budget, transient

SECONDS = 30.0


def with_other_keys() -> AuthenticationFailed:
    error = AuthenticationFailed(401)
    error.other_keys = True
    return error


LEAVES: list[Callable[[], BackendError]] = [
    lambda: InvalidRequest(400),
    lambda: UnsupportedFeature("images"),
    ContextLengthExceeded,
    ContentFiltered,
    lambda: ModelNotFound("m"),
    lambda: AuthenticationFailed(401),
    with_other_keys,
    CallerKeyNeeded,
    RateLimited,
    lambda: RateLimited(2.0),
    lambda: RateLimited(100.0),
    lambda: RateLimited(1.0, Scope.ACCOUNT),
    QuotaExhausted,
    lambda: QuotaExhausted(3.0),
    Overloaded,
    lambda: Overloaded(0.0),
    QueueFull,
    lambda: NotReady(4.0),
    lambda: ModelLoadFailed("m"),
    lambda: ServerFailed(500),
    lambda: ProtocolViolation("a chunk that is not JSON"),
    lambda: Unreachable("connection refused"),
    StreamBroken,
    lambda: DeadlineExceeded("connect", 5),
    lambda: DeadlineExceeded("first_event", 120),
    lambda: DeadlineExceeded("queue", 60),
    lambda: EngineUnavailable("It is gone. Pull it again."),
]
errors = st.sampled_from(LEAVES).map(lambda made: made())


class Played:
    """The attempts of one call: at once, one for each error, each `took` seconds long."""

    def __init__(
        self,
        backends: str,
        *failures: BackendError,
        dice: float = 1.0,
        took: float = 0.0,
        budgets: dict[str, Budget] | None = None,
    ) -> None:
        self.now = 100.0
        self.tried: list[int] = []
        self.waits: list[float] = []
        budgets = defaultdict(Budget) if budgets is None else budgets
        self.made = made = Attempts([*backends], budgets, SECONDS, lambda: dice)
        turn = made.first(self.now)
        for error in failures:
            assert turn is not None
            self.tried.append(turn.candidate)
            self.now += turn.wait + took
            turn = made.failed(error, self.now)
            if turn is None:
                break
            self.waits.append(turn.wait)
        self.turn = turn


def test_each_of_several_candidates_is_tried_once() -> None:
    played = Played("abc", Overloaded(), ServerFailed(500), Overloaded())
    assert (played.tried, played.waits, played.turn) == ([0, 1, 2], [0, 0], None)
    played = Played("ab", Overloaded(), ServerFailed(500))
    assert (played.tried, played.waits, played.turn) == ([0, 1], [0], None)


def test_a_single_target_is_asked_again_after_a_growing_random_wait() -> None:
    budget = Budget()
    for _ in range(10):
        budget.request(100)
    assert Played("a", *[StreamBroken() for _ in range(3)], budgets={"a": budget}).waits == [0.5, 1.0]
    assert Played("a", *[StreamBroken() for _ in range(3)], dice=0.0).waits == [0.0]


@pytest.mark.parametrize(
    ("error", "backends", "tried"),
    [
        (InvalidRequest(400), "ab", [0]),  # nobody would take it
        (ContextLengthExceeded(9, 8), "aa", [0, 1]),  # another model may have room
        (UnsupportedFeature("images"), "a", [0]),
        (ModelNotFound("m"), "aa", [0, 1]),
        (RateLimited(), "aa", [0, 1]),  # of the model
        (RateLimited(None, Scope.ACCOUNT), "aab", [0, 2]),
        (QuotaExhausted(), "aab", [0, 2]),
        (Overloaded(), "aab", [0, 2]),
        (AuthenticationFailed(401), "aab", [0, 2]),
        (with_other_keys(), "ab", [0, 0]),
    ],
    ids=str,
)
def test_the_scope_of_an_error_says_what_would_fail_too(error: BackendError, backends: str, tried: list[int]) -> None:
    assert Played(backends, error, InvalidRequest(400)).tried == tried


@pytest.mark.parametrize("made", LEAVES)
def test_only_what_passes_is_asked_again_at_the_same_target(made: Callable[[], BackendError]) -> None:
    error = made()
    again = Played("a", error).turn is not None
    passes = (RateLimited, Overloaded, NotReady, ServerFailed, ProtocolViolation, Unreachable, StreamBroken)
    if isinstance(error, passes):
        assert transient(error)
        assert again == ((error.retry_after or 0) < SECONDS)
    elif isinstance(error, DeadlineExceeded):
        assert again == (error.name == "connect")
    else:
        assert again == (isinstance(error, AuthenticationFailed) and error.other_keys)


def test_a_retry_after_is_kept_and_the_wait_is_still_spread() -> None:
    assert Played("a", RateLimited(2.0), dice=0.0).waits == [2.0]
    assert Played("a", RateLimited(2.0), dice=0.5).waits == [2.25]
    assert Played("a", RateLimited(29.9), dice=1.0).waits == pytest.approx([30.0])
    assert Played("a", RateLimited(30.0)).turn is None


def test_a_wait_that_is_too_long_is_the_callers_who_hears_the_soonest() -> None:
    first = RateLimited(100.0)
    played = Played("abc", first, QuotaExhausted(90.0), Overloaded(), took=2.0)
    _, told = played.made.told(played.now)
    assert isinstance(told, RateLimited)
    assert told.retry_after == 88.0
    assert "in 88 s" in str(told)
    assert first.retry_after == 100.0, "an error that a backend holds is not changed"


def test_who_asked_too_much_hears_of_no_time() -> None:
    last = ContextLengthExceeded(9, 8)
    played = Played("ab", ModelNotFound("m"), last)
    assert played.made.told(played.now) == (1, last)


@pytest.mark.parametrize(
    ("first", "second", "heard"),
    [
        (QuotaExhausted(), ModelNotFound("m"), 0),
        (RateLimited(90.0), ModelNotFound("m"), 0),
        (RateLimited(90.0), Unreachable("refused"), 0),  # at a known time
        (AuthenticationFailed(401), QuotaExhausted(), 1),
        (AuthenticationFailed(401), ContextLengthExceeded(9, 8), 0),
        (AuthenticationFailed(401), ModelNotFound("m"), 0),
        (ContentFiltered(), ModelNotFound("m"), 0),
        (QuotaExhausted(), InvalidRequest(400), 0),
        (ContentFiltered(), ContextLengthExceeded(9, 8), 1),  # all of the request: the last one
        (ModelNotFound("m"), ModelNotFound("n"), 1),
    ],
    ids=str,
)
def test_the_most_hopeful_failure_is_told(first: BackendError, second: BackendError, heard: int) -> None:
    played = Played("ab", first, second)
    assert played.turn is None
    assert played.made.told(played.now)[0] == heard


def limited(retry_after: float | None = 60.0) -> RateLimited:
    error = RateLimited(retry_after, Scope.ACCOUNT)
    error.other_keys = True
    return error


def test_another_key_is_asked_at_once_without_the_budget() -> None:
    budget = Budget()
    budget.request(100)
    assert budget.repeat(100), "the only one"
    played = Played("a", limited(), RateLimited(60.0), budgets={"a": budget})
    assert (played.tried, played.waits, played.turn) == ([0, 0], [0.0], None)


def test_keys_leave_the_last_attempt_to_another_target() -> None:
    assert Played("ab", limited(), limited(), Overloaded(60)).tried == [0, 0, 1]
    assert Played("a", limited(), limited(), limited()).tried == [0, 0, 0]


def test_what_another_target_cannot_do_hides_no_failure_that_passes() -> None:
    """Who hears that the prompt is too long throws it away, though the larger model was only busy."""
    busy = RateLimited(100.0)
    for last in (
        ContextLengthExceeded(9, 8),
        UnsupportedFeature("images"),
        AuthenticationFailed(401),
        QuotaExhausted(),
    ):
        played = Played("ab", busy, last, took=2.0)
        heard, told = played.made.told(played.now)
        assert (heard, type(told)) == (0, RateLimited), last
        assert told.retry_after == 98.0


def test_what_the_same_target_said_last_is_what_counts() -> None:
    last = ContextLengthExceeded(9, 8)
    assert Played("a", Overloaded(), last).made.told(100.0) == (0, last)


@pytest.mark.parametrize("last", [QuotaExhausted(), AuthenticationFailed(401), Overloaded(40.0)], ids=str)
def test_a_backend_that_is_down_is_not_asked_again_for_another_of_its_models(last: BackendError) -> None:
    played = Played("aa", RateLimited(), last)
    assert (played.tried, played.turn) == ([0, 1], None)


def test_the_time_begins_with_the_first_failure() -> None:
    """A target that hung for longer leaves the next one its turn, though no third attempt."""
    slow = [DeadlineExceeded("first_event", 120), ServerFailed(500), ServerFailed(500)]
    assert Played("abc", *slow, took=120).tried == [0, 1]


def test_an_attempt_that_never_began_leaves_the_failure_before_it() -> None:
    failed = ServerFailed(500)
    played = Played("ab", failed, DeadlineExceeded("retry", 30))
    assert played.turn is None
    assert played.made.told(played.now) == (0, failed)


@given(
    st.text("abc", min_size=1, max_size=5),
    st.lists(errors, min_size=1, max_size=6),
    st.floats(0, 1),
    st.floats(0, 40),
)
def test_never_too_often_too_late_or_too_early(
    backends: str, failures: list[BackendError], dice: float, took: float
) -> None:
    made = Attempts([*backends], defaultdict(Budget), SECONDS, lambda: dice)
    now = first_failure = 0.0
    turn = made.first(now)
    tried: list[int] = []
    asked = 0  # where nobody was, that is no attempt
    promised: dict[int, float] = {}
    whole: dict[str, float] = {}  # by backend
    for number, error in enumerate(failures):
        assert turn is not None
        tried.append(turn.candidate)
        asked += error.asked
        now += turn.wait
        assert now >= promised.get(turn.candidate, 0.0) - 1e-9, "Retry-After is obeyed"
        assert now >= whole.get(backends[turn.candidate], 0.0) - 1e-9, "by all models that it is for"
        assert not number or now <= first_failure + SECONDS + 1e-9
        now += took
        first_failure = first_failure if number else now
        promised[turn.candidate] = now + (error.retry_after or 0.0)
        if error.scope in (Scope.BACKEND, Scope.ACCOUNT):
            whole[backends[turn.candidate]] = promised[turn.candidate]
        turn = made.failed(error, now)
        if turn is None:
            _, told = made.told(now)
            assert told.retry_after is None or told.retry_after >= 0
            break
        assert turn.left is not None
        assert 0 <= turn.wait <= turn.left + 1e-9 <= SECONDS + 2e-9
        assert turn.wait <= CAP + (error.retry_after or SECONDS)
        if turn.candidate in tried and not getattr(error, "other_keys", False):
            untried = set(range(len(backends))) - {*tried}
            assert {backends[each] for each in untried} <= {backends[each] for each in tried}, "others come first"
        assert asked < MOST_ATTEMPTS
    assert asked <= MOST_ATTEMPTS


moves = st.lists(st.tuples(st.booleans(), st.floats(0, 20)), max_size=200)


@given(moves)
def test_a_backend_is_asked_again_for_a_fifth_of_its_requests(moves: list[tuple[bool, float]]) -> None:
    budget, now = Budget(), 0.0
    requests: list[float] = []
    repeats: list[float] = []
    for again, pause in moves:
        now += pause
        if again:
            allowed = budget.repeat(now)
            lately = [at for at in requests if int(at) > now - WINDOW]
            before = [at for at in repeats if int(at) > now - WINDOW]
            assert allowed == (len(before) + 1 <= -(-len(lately) // SHARE))
            repeats += [now] if allowed else []
        else:
            budget.request(now)
            requests.append(now)


def test_under_total_outage_the_attempts_are_a_fifth_more_than_the_requests() -> None:
    for backends, times in (("a", 120), ("ab", 100)):
        budgets: dict[str, Budget] = defaultdict(Budget)
        tried = [
            backends[candidate]
            for _ in range(100)
            for candidate in Played(backends, *[ServerFailed(503)] * 3, budgets=budgets).tried
        ]
        assert {name: tried.count(name) for name in backends} == dict.fromkeys(backends, times), tried
