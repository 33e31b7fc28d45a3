"""Each backend error can be raised as it stands, and its sentence helps whoever reads it."""

import inspect
import pickle

import pytest

from backends import errors, unasked
from backends.errors import BackendError, Owner, Scope

EXAMPLES = [
    errors.InvalidRequest(400),
    errors.InvalidRequest(400, "temperature"),
    errors.UnsupportedFeature("images", "input"),
    errors.ContextLengthExceeded(),
    errors.ContextLengthExceeded(5000, 4096),
    errors.ModelNotFound("no-such"),
    errors.AuthenticationFailed(401),
    errors.AuthenticationFailed(401, "credentials", "None were found. Set some."),
    errors.CallerKeyNeeded(),
    errors.CallerKeyNeeded(refused=True),
    errors.ContentFiltered(),
    errors.QuotaExhausted(),
    errors.QuotaExhausted(60),
    errors.RateLimited(),
    errors.RateLimited(2.5),
    errors.Overloaded(),
    errors.Overloaded(1),
    unasked.QueueFull(),
    unasked.QueueFull(2.0, 9.0),
    unasked.CircuitOpen(3.0),
    unasked.CircuitOpen(3.0, Scope.BACKEND, probing=True),
    errors.NotReady(),
    errors.NotReady(12),
    errors.ModelLoadFailed(""),
    errors.ModelLoadFailed("no-such"),
    errors.ServerFailed(),
    errors.ServerFailed(500),
    errors.ProtocolViolation("a chunk without choices"),
    errors.Unreachable("connection refused"),
    errors.StreamBroken(),
    errors.DeadlineExceeded("first_event", 30),
    errors.EngineUnavailable("The model file is missing. Pull it first."),
]


def leaves(error: type[BackendError]) -> set[type[BackendError]]:
    below = error.__subclasses__()
    return {leaf for child in below for leaf in leaves(child)} if below else {error}


def test_every_error_has_an_example_here_and_a_place_in_the_drawing() -> None:
    tree = [line.split()[1] for line in (inspect.getdoc(errors) or "").splitlines() if line.strip()[:1] in ("├", "└")]
    ours = {leaf for leaf in leaves(BackendError) if leaf.__module__ in {errors.__name__, unasked.__name__}}
    assert {type(example) for example in EXAMPLES} == ours
    assert sorted(tree) == sorted(leaf.__name__ for leaf in ours)


@pytest.mark.parametrize("error", EXAMPLES, ids=repr)
def test_the_sentence_says_what_happened_and_what_to_do(error: BackendError) -> None:
    happened, *advice = str(error).split(". ")
    assert happened
    assert advice
    assert str(error).endswith(".")
    assert "None" not in str(error)


@pytest.mark.parametrize("error", EXAMPLES, ids=repr)
def test_it_says_whose_fault_it_is_and_whether_to_go_on(error: BackendError) -> None:
    assert isinstance(error.owner, Owner)
    assert isinstance(error.retryable, bool)


@pytest.mark.parametrize("error", EXAMPLES, ids=repr)
def test_it_survives_a_process_boundary(error: BackendError) -> None:
    copy = pickle.loads(pickle.dumps(error))
    assert (type(copy), str(copy)) == (type(error), str(error))


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0, "1 s"), (0.2, "1 s"), (41.3, "42 s"), (119, "119 s"), (119.5, "2 min"), (3600, "1 h"), (41730, "11 h 36 min")],
)
def test_a_time_is_told_as_people_say_it(seconds: float, words: str) -> None:
    assert str(errors.RateLimited(seconds)).endswith(f"Try again in {words}.")
    assert f"in {words}, when" in str(errors.QuotaExhausted(seconds))
