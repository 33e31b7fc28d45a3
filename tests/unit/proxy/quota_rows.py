"""Pools as a ledger tells of them, for the tests of what people see."""

from collections.abc import Mapping
from typing import Any

from proxy.metered import Draw, Metered
from proxy.quota_report import Row, report, words_for
from quota.ledger import Headroom
from quota.pool import DAY, HOUR, MINUTE, Concurrent, Fixed, Gcra, Micros, Pool, Rolling, Window

NOW: Micros = 1_795_273_200_000_000  # Saturday, 21 November 2026, 15:00 UTC
MIDNIGHT = NOW + 9 * HOUR
A_DAY = Fixed("day")


def pool(account: str = "groq-me", window: Window = A_DAY, cap: int = 1000, **changed: Any) -> Headroom:
    """One pool. `changed` are members of the Headroom, and labels of the pool."""
    labels = {
        name: changed.pop(name)
        for name in ("model", "metric", "per", "terms", "as_of", "confidence")
        if name in changed
    }
    metric, model = labels.setdefault("metric", "requests"), labels.get("model", "")
    name = changed.pop("id", "/".join(filter(None, (account, metric, words_for(window), model))))
    used, reserved, margin = (changed.get(each, 0) for each in ("used", "reserved", "margin"))
    said = {
        "cap": cap,
        "margin": margin,
        "used": used,
        "reserved": reserved,
        "left": max(0, cap - margin - used - reserved),
        "opens_at": None,
        "resets_at": MIDNIGHT if used else None,
        "closed_until": None,
        "source": "catalog",
        "observed_at": None,
        "shares": {},
        **changed,
    }
    made = Pool(name, cap, window, margin, labels={"account": account, "provider": account.partition("-")[0], **labels})
    return Headroom(pool=made, **said)


def of(*pools: Headroom) -> Mapping[str, Headroom]:
    """As a ledger answers."""
    return {each.pool.id: each for each in pools}


def row(headroom: Headroom, tag: str = "") -> Row:
    """Its row."""
    [made] = report(of(headroom), NOW, tag)
    return made


def metered(*pools: Headroom, account: str = "groq-me", model: str = "m", free: bool = True) -> Metered:
    """A model that draws on these."""
    draws = tuple(Draw(each.pool.id, "requests") for each in pools)
    return Metered(account, account.partition("-")[0], model, draws, "stops", free=free)


def several() -> tuple[Headroom, ...]:
    """Accounts of all sorts, as a person may have them."""
    gemini = Fixed("day", "America/Los_Angeles")
    big = {"model": "openai/gpt-oss-120b"}
    return (
        pool(window=Gcra(DAY), used=412, reserved=1, source="header", observed_at=NOW - 12_000_000, **big),
        pool(window=Gcra(DAY), cap=200_000, metric="tokens", used=61_204, reserved=2_310, as_of="2026-11", **big),
        pool(window=Gcra(MINUTE), cap=30, used=2, resets_at=NOW + 4_000_000, **big),
        pool("gemini-me", gemini, 20, model="flash", used=17, resets_at=NOW + 17 * HOUR, terms="trains"),
        pool("gemini-me", Rolling(MINUTE), 5, model="flash", terms="trains"),
        pool("openrouter", used=50, cap=50, opens_at=MIDNIGHT, source="api", observed_at=NOW - 40_000_000),
        pool("cohere", Rolling(31 * DAY), used=120, per="month", resets_at=NOW + 30 * DAY, terms="evaluation_only"),
        pool("openai", Fixed("month"), 5_000_000, metric="usd_micros", used=1_234_567, source="configuration"),
        pool("zai", Concurrent(), 1, model="glm", metric="concurrent_requests", reserved=1),
    )
