"""Why an account or a model is not asked now, and until when: a cooldown of the ledger in a plain sentence. Pure."""

from collections.abc import Mapping
from typing import NamedTuple

from quota.ledger import Cooldown
from quota.pool import Micros
from quota.windows import ENDLESS

NO_COOLDOWNS: Mapping[str, Cooldown] = {}
# By what proxy/observed.py notes. Only what somebody has to mend is here: what ends by itself needs no step.
STEPS: Mapping[str, str] = {
    "it refused the key": "Its key was refused: correct it and restart, or change the key file.",
    "the key has no right to this": "Its key has no right to this: allow it at its provider and restart.",
    "it does not serve this model": "Its provider does not serve this model: take it out of `models` and restart.",
    "this model is not on its free tier": "This model is not on its free tier: take it out of `models` and restart.",
    "its account has no credit or quota left": "It has no credit or quota left: see its provider's page, then restart.",
}


class Rest(NamedTuple):
    """`until` is None where no time ends it."""

    sentence: str
    until: Micros | None


def scopes_of(account: str, provider: str, model: str) -> tuple[str, str, str]:
    """The scopes of cooldowns that hold for a model: its own, its account's and its provider's."""
    return f"model:{account}/{model}", f"account:{account}", f"provider:{provider}"


def rest_of(account: str, provider: str, model: str, cooldowns: Mapping[str, Cooldown], now: Micros) -> Rest | None:
    """The one that lasts longest; None if it may be asked. With "" for the model, of the account as a whole."""
    own, *shared = scopes_of(account, provider, model)
    found = [cooldowns[scope] for scope in ((own, *shared) if model else shared) if scope in cooldowns]
    last = max(found, key=lambda each: each.until, default=None)
    if last is None or last.until <= now:
        return None
    why = last.why.rstrip(".")
    if last.until >= ENDLESS:
        return Rest(STEPS.get(why, f"It is not asked until something changes: {why}."), None)
    return Rest(f"It is not asked now: {why}.", last.until)
