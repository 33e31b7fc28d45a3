"""A cooldown as a sentence: which one holds, what to do where somebody has to, and when it ends where time ends it."""

import pytest

from backends.errors import AuthenticationFailed, BackendError, ModelNotFound, QuotaExhausted
from backends.limits import Refused
from proxy.observed import Known, failed
from proxy.resting import STEPS, Rest, rest_of
from quota.ledger import Cooldown
from quota.pool import HOUR
from quota.windows import ENDLESS
from tests.unit.proxy.quota_rows import NOW, metered, of, pool

REFUSED = Cooldown("account:mine", ENDLESS, "it refused the key")
BUSY = Cooldown("model:mine/m", NOW + HOUR, "it is overloaded", guessed=True)


def told(*cooldowns: Cooldown, model: str = "m") -> Rest | None:
    return rest_of("mine", "groq", model, {each.scope: each for each in cooldowns}, NOW)


def test_what_may_be_asked_does_not_rest() -> None:
    assert told() is None
    assert told(Cooldown("account:another", ENDLESS, "it refused the key")) is None
    assert told(Cooldown("account:mine", NOW, "it is overloaded")) is None


def test_the_cooldown_that_lasts_longest_is_told() -> None:
    assert told(BUSY) == Rest("It is not asked now: it is overloaded.", NOW + HOUR)
    assert told(BUSY, REFUSED) == Rest("Its key was refused: correct it and restart, or change the key file.", None)


def test_that_of_one_model_says_nothing_of_the_whole_account() -> None:
    assert told(BUSY, model="") is None
    assert told(REFUSED, model="") is not None


def without_any() -> BackendError:
    """What is refused on an axis of which there is nothing."""
    error = QuotaExhausted()
    error.refused = Refused("requests", "day", limit=0)
    return error


@pytest.mark.parametrize(
    "error",
    [
        AuthenticationFailed(401),
        AuthenticationFailed(403),
        ModelNotFound("m"),
        QuotaExhausted(),
        without_any(),
    ],
    ids=["key", "right", "model", "credit", "tier"],
)
def test_whatever_no_time_ends_says_what_to_do(error: BackendError) -> None:
    found = pool(account="mine", model="m")
    [cooldown] = failed(Known(metered(found, account="mine"), of(found)), error, NOW).cooldowns
    rest = told(Cooldown("model:mine/m", cooldown.until, cooldown.why))
    assert rest is not None
    assert rest.until is None
    assert rest.sentence in STEPS.values()


def test_a_clause_that_nobody_foresaw_is_still_a_sentence() -> None:
    assert told(Cooldown("provider:groq", ENDLESS, "it moved.")) == Rest(
        "It is not asked until something changes: it moved.", None
    )
    assert told(Cooldown("provider:groq", NOW + HOUR, "it says no")) == Rest(
        "It is not asked now: it says no.", NOW + HOUR
    )
