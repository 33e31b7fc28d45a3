"""How targets are: what feeds which breaker, what cools and until when, and that each visit ends once."""

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
    Owner,
    ProtocolViolation,
    QuotaExhausted,
    RateLimited,
    Scope,
    ServerFailed,
    StreamBroken,
    Unreachable,
    UnsupportedFeature,
)
from backends.keys import KeyCounts
from backends.unasked import CircuitOpen, QueueFull
from proxy.routing.averages import FORGOTTEN, HALF_LIFE, Average
from proxy.routing.breaker import Rules
from proxy.routing.vitals import MOST, Vitals, blamed
from tests.unit.proxy.routing.targets import METERED, Far, candidate

RULES = Rules(failures=3, first=4.0, longest=16.0, slow_start=10.0)
A, B, OTHER = candidate("a/m"), candidate("a/n"), candidate("b/m")

FAULTS: dict[BackendError, str | None] = {
    InvalidRequest(400): None,
    UnsupportedFeature("tools"): None,
    ContextLengthExceeded(): None,
    ContentFiltered(): None,
    ModelNotFound("m"): None,
    AuthenticationFailed(401): None,
    CallerKeyNeeded(): None,
    RateLimited(): None,
    QuotaExhausted(): None,
    Overloaded(): None,
    QueueFull(): None,
    NotReady(): None,
    CircuitOpen(1.0): None,
    ModelLoadFailed("m"): "model",
    ServerFailed(500): "model",
    ProtocolViolation("x"): "model",
    Unreachable("refused"): "backend",
    StreamBroken(): "model",
    DeadlineExceeded("connect", 5): "backend",
    DeadlineExceeded("first_event", 5): "model",
    DeadlineExceeded("idle", 5): "model",
    DeadlineExceeded("queue", 5): None,
    DeadlineExceeded("total", 5): None,
    DeadlineExceeded("retry", 5): None,
    EngineUnavailable("x"): None,
}


def vitals() -> Vitals:
    return Vitals(RULES, lambda: 0.0)


def failing(among: Vitals, error: Callable[[], BackendError], times: int = 3, now: float = 0.0) -> None:
    for _ in range(times):
        among.begin(A, now).failed(error(), now)


def test_every_error_has_its_place() -> None:
    kinds = {type(each) for each in FAULTS}
    assert kinds == {each for each in BackendError.__subclasses__() if each.__module__.startswith("backends.")}
    assert {error: blamed(error) for error in FAULTS} == FAULTS
    for error, blame in FAULTS.items():
        assert blame is None or error.owner in {Owner.PROVIDER, Owner.NETWORK}


def test_a_broken_model_leaves_the_others_of_its_server_alone() -> None:
    among = vitals()
    failing(among, lambda: ServerFailed(500))
    with pytest.raises(CircuitOpen) as refused:
        among.begin(A, 1.0)
    assert (refused.value.retry_after, refused.value.asked, refused.value.backend) == (3.0, False, "a")
    assert "This model of the backend 'a' failed again and again" in str(refused.value)
    assert "Try again in 3 s." in str(refused.value)
    among.begin(B, 1.0).done(1.0)


def test_a_server_that_cannot_be_reached_is_left_alone_with_all_its_models() -> None:
    among = vitals()
    failing(among, lambda: Unreachable("refused"))
    for each in (A, B, candidate("a/never asked")):
        standing = among.standing(each, 1.0)
        assert (standing.why, standing.opens_in, standing.state) == ("open", 3.0, "open")
        with pytest.raises(CircuitOpen, match="The backend 'a' failed"):
            among.begin(each, 1.0)
    assert among.standing(OTHER, 1.0).why == ""
    probe = among.begin(B, 4.0)
    assert probe.probe
    with pytest.raises(CircuitOpen, match="one request tries it now"):
        among.begin(A, 4.0)
    probe.first(5.0)
    assert among.standing(A, 5.0).state == "closed"
    assert among.standing(A, 10.0).weight == 0.5


def test_who_is_cancelled_gives_no_verdict_and_frees_the_probe() -> None:
    among = vitals()
    failing(among, lambda: Unreachable("refused"))
    among.begin(A, 4.0).left(5.0)
    among.begin(A, 5.0).failed(InvalidRequest(400), 5.0)  # nor does a fault of the client's
    again = among.begin(A, 5.0)
    again.failed(Unreachable("refused"), 6.0)
    assert among.standing(A, 6.0).opens_in == 8.0


@pytest.mark.parametrize("error", [None, DeadlineExceeded("requested", 15), DeadlineExceeded("total", 15)])
def test_who_waits_long_for_a_first_token_and_leaves_tells_that_it_hangs(error: BackendError | None) -> None:
    """Callers have less patience than the deadlines: without that, a target that hangs would be asked for ever."""

    def leaving(among: Vitals, after: float) -> str:
        for number in range(RULES.failures):
            visit = among.begin(A, 20.0 * number)
            end = 20.0 * number + after
            visit.left(end) if error is None else visit.failed(error, end)
        return among.standing(A, end).state

    assert leaving(vitals(), RULES.slow_least - 1) == "closed"
    assert leaving(vitals(), RULES.slow_least) == "open"
    slow = vitals()
    slow.begin(A, 0.0).first(3.0)  # it is usually slow, so ten seconds are nothing
    assert leaving(slow, RULES.slow_least) == "closed"
    assert leaving(slow, 3 * RULES.slow_factor) == "open"
    assert slow.standing(B, 100.0).state == "closed", "another model there may be well"


def test_a_limit_is_no_fault_and_ends_when_it_says() -> None:
    among = vitals()
    failing(among, lambda: RateLimited(30.0), 1)
    with pytest.raises(RateLimited) as refused:
        among.begin(A, 10.0)
    assert (refused.value.retry_after, refused.value.asked) == (20.0, False)
    standing = among.standing(A, 10.0)
    assert (standing.why, standing.opens_in, standing.state) == ("cooling", 20.0, "closed")
    assert standing.reason == "it has reached its rate limit (its own word)"
    among.begin(B, 10.0).done(10.0)
    assert among.standing(A, 10.0).why == "cooling"
    among.begin(A, 30.0).done(30.0)


@pytest.mark.parametrize("error", [RateLimited, Overloaded, NotReady])
def test_without_a_time_it_is_guessed_after_three_in_a_row(error: Callable[[], BackendError]) -> None:
    among = vitals()
    failing(among, error, 2)
    among.begin(A, 0.0).done(0.0)
    failing(among, error, 2)
    running = among.begin(A, 0.0)
    failing(among, error, 1)
    standing = among.standing(A, 0.0)
    assert (standing.why, standing.opens_in) == ("cooling", 2.0)
    assert "guessed after 3 refusals in a row" in standing.reason
    running.first(0.5)  # what was only guessed ends with an answer
    assert among.standing(A, 0.5).why == ""


@pytest.mark.parametrize(
    ("error", "expected"),
    [(RateLimited, [2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0]), (Overloaded, [2.0, 4.0, 5.0, 5.0, 5.0, 5.0, 5.0])],
)
def test_guesses_double_and_are_bounded(error: Callable[[], BackendError], expected: list[float]) -> None:
    among, now, lengths = vitals(), 0.0, []
    failing(among, error, 2)
    for _ in expected:
        among.begin(A, now).failed(error(), now)
        lengths.append(among.standing(A, now).opens_in)
        now += 60.0
    assert lengths == expected


def test_of_many_refused_at_once_only_one_counts() -> None:
    among = vitals()
    begun = [among.begin(A, 0.0) for _ in range(40)]
    for visit in begun:
        visit.failed(RateLimited(), 1.0)
    assert among.standing(A, 1.0).opens_in == 2.0
    keys = vitals()
    for visit in [keys.begin(A, 0.0) for _ in range(40)]:
        visit.failed(AuthenticationFailed(401), 1.0)
    assert keys.standing(A, 1.0).opens_in == 5.0


@pytest.mark.parametrize(
    ("scope", "resting"),
    [(Scope.MODEL, {"a/m"}), (Scope.KEY, {"a/m", "a/n"}), (Scope.ACCOUNT, {"a/m", "a/n"})],
)
def test_a_cooldown_holds_for_its_scope(scope: Scope, resting: set[str]) -> None:
    among = vitals()
    failing(among, lambda: RateLimited(30.0, scope), 1)
    found = {f"{each.backend.name}/{each.model}" for each in (A, B, OTHER) if among.standing(each, 1.0).why}
    assert found == resting
    assert [each.place[0] for each in among.cooldowns(1.0)] == [scope]


def test_a_refused_key_is_tried_less_and_less_often() -> None:
    among, now, lengths = vitals(), 0.0, []
    for _ in range(5):
        among.begin(A, now).failed(AuthenticationFailed(401), now)
        with pytest.raises(AuthenticationFailed):
            among.begin(B, now)
        lengths.append(among.standing(B, now).opens_in)
        now += lengths[-1] or 0.0
    assert lengths == [5.0, 15.0, 60.0, 300.0, 300.0]
    among.probed("a", True, now - 300.0)  # somebody has corrected it
    assert among.standing(A, now - 300.0).why == ""


def test_a_new_key_is_tried_at_once() -> None:
    class Keyed(Far):
        key_counts = KeyCounts(0, 1)

    among, one = vitals(), candidate(backend=Keyed("a"))
    among.begin(one, 0.0).failed(AuthenticationFailed(401), 0.0)
    assert among.standing(one, 1.0).why == "cooling"
    Keyed.key_counts = KeyCounts(1, 0)  # from a file that has changed
    assert among.standing(one, 1.0).why == ""
    among.begin(one, 1.0).failed(AuthenticationFailed(401), 1.0)
    Keyed.key_counts = KeyCounts(0, 1)
    assert among.standing(one, 1.0).opens_in == 5.0  # the first pause again


def test_a_forbidden_model_is_not_the_whole_key_s() -> None:
    among = vitals()
    failing(among, lambda: AuthenticationFailed(403), 1)
    assert [among.standing(each, 0.0).why for each in (A, B)] == ["cooling", ""]


def test_nobody_waits_a_day_for_a_provider_s_word() -> None:
    among = vitals()
    failing(among, lambda: QuotaExhausted(86400.0), 1)
    assert among.standing(A, 0.0).opens_in == 3600.0
    unpaid = vitals()
    failing(unpaid, QuotaExhausted, 1)
    assert unpaid.standing(A, 0.0).opens_in == 60.0


@pytest.mark.parametrize("error", [QuotaExhausted(), AuthenticationFailed(401)])
def test_nobody_waits_for_what_somebody_must_mend(error: BackendError) -> None:
    among = vitals()
    failing(among, lambda: error, 1)
    with pytest.raises(type(error)) as refused:
        among.begin(A, 1.0)
    assert (refused.value.retry_after, refused.value.asked) == (None, False)
    assert "Try again" not in str(refused.value), "when we look again is no promise"
    assert among.standing(A, 1.0).opens_in is not None


def test_a_caller_s_own_key_rests_for_nobody_else_and_is_not_kept_from_trying() -> None:
    among = vitals()
    among.begin(A, 0.0, own_key=True).failed(RateLimited(30.0), 0.0)
    assert among.standing(A, 0.0).why == ""
    failing(among, lambda: RateLimited(30.0), 1)
    among.begin(A, 0.0, own_key=True).done(0.0)
    among.begin(A, 0.0, own_key=True).failed(Overloaded(30.0), 0.0)  # that is the server's
    assert among.standing(A, 0.0, own_key=True).why == "cooling"


def test_another_key_may_do_better_at_once() -> None:
    among, error = vitals(), RateLimited(30.0)
    error.other_keys = True
    among.begin(A, 0.0).failed(error, 0.0)
    assert among.standing(A, 0.0).why == ""


def test_metered_ones_have_their_cooldowns_in_the_ledger() -> None:
    among, free = vitals(), candidate("free/m", metered=METERED)
    among.begin(free, 0.0).failed(RateLimited(30.0), 0.0)
    assert among.standing(free, 0.0).why == ""
    assert among.cooldowns(0.0) == []


def test_a_probe_that_fails_is_told_and_one_that_is_well_lets_a_request_try() -> None:
    among = vitals()
    among.probed("a", False, 0.0, "it cannot be reached (refused)")
    standing = among.standing(A, 0.0)
    assert (standing.why, standing.reason, standing.error) == ("down", "it cannot be reached (refused)", None)
    among.probed("a", None, 0.0, "it is starting")  # which is no fault
    for _ in range(2):
        among.probed("a", False, 5.0)
    assert among.standing(A, 5.0).why == "open"
    among.probed("a", True, 6.0)
    standing = among.standing(A, 6.0)
    assert (standing.why, standing.state) == ("", "half_open")
    among.begin(A, 6.0).first(6.5)
    assert among.standing(A, 6.5).state == "closed"


def test_what_a_request_finds_goes_before_a_probe() -> None:
    among = vitals()
    among.probed("a", False, 0.0, "it did not answer in time")
    among.begin(A, 1.0).first(1.5)
    assert among.standing(A, 1.5).why == ""


def test_speeds_are_means_of_late() -> None:
    among = vitals()
    for began, first in ((0.0, 1.0), (10.0, 13.0)):
        visit = among.begin(A, began)
        assert among.standing(A, began).running == 1
        visit.first(began + first - (0.0 if began == 0.0 else 10.0))
        visit.done(began + 10.0, 11)
    standing = among.standing(A, 20.0)
    assert standing.first_token == pytest.approx(2.0, abs=0.1)
    assert standing.per_token == pytest.approx(0.8, abs=0.02)
    assert standing.running == 0
    assert among.standing(A, 20.0 + FORGOTTEN).first_token is None


def test_an_average_forgets_by_halves() -> None:
    mean = Average()
    assert mean.value(0.0) is None
    mean.learn(3.0, 0.0)
    mean.learn(0.0, HALF_LIFE)
    assert mean.value(HALF_LIFE) == pytest.approx(1.0)


def test_targets_that_were_not_asked_for_longest_are_forgotten() -> None:
    among = vitals()
    for number in range(MOST + 5):
        among.begin(candidate(f"b/{number}"), 0.0).done(0.0)
    assert len(list(among.standings(0.0))) == MOST


ENDS = st.lists(st.sampled_from(["first", "done", "failed", "left"]), min_size=1, max_size=8)


@given(st.lists(ENDS, min_size=1, max_size=6))
def test_each_visit_ends_once(visits: list[list[str]]) -> None:
    among = Vitals(Rules(failures=1000, least=1000), lambda: 0.0)
    begun = [among.begin(A, 0.0) for _ in visits]
    ended = 0
    for visit, calls in zip(begun, visits, strict=True):
        for call in calls:
            match call:
                case "first":
                    visit.first(1.0)
                case "done":
                    visit.done(2.0, 10)
                case "failed":
                    visit.failed(ServerFailed(500), 2.0)
                case "left":
                    visit.left(2.0)
        ended += any(call != "first" for call in calls)
        assert among.standing(A, 2.0).running == len(begun) - ended
    ends = [next((call for call in calls if call != "first"), "") for calls in visits]
    begun_well = [calls[0] == "first" or end == "done" for calls, end in zip(visits, ends, strict=True)]
    failed = ends.count("failed")
    judged = sum(well or end == "failed" for well, end in zip(begun_well, ends, strict=True))
    assert among.standing(A, 2.0).errors == (failed / judged if judged else 0.0)
