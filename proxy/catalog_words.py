"""Says the catalog's facts in a few words, for the command line and the documentation. Pure."""

from collections.abc import Iterable, Mapping, Sequence

from proxy.catalog import Provider
from proxy.config_free import PERIODS, Confidence, Limit
from proxy.metered import Overrun

ORDER = ("requests", "tokens", "input_tokens", "output_tokens", "neurons", "usd", "concurrent_requests")
SECONDS: Mapping[str, int] = dict(zip(PERIODS, (1, 60, 3600, 86400, 7 * 86400, 31 * 86400), strict=True))
UNITS: Mapping[str, int] = {"s": 1, "m": 60, "h": 3600, "d": 86400}
NAMES: Mapping[str, str] = {
    "requests": "req",
    "concurrent_requests": "req",
    "tokens": "tok",
    "input_tokens": "input tok",
    "output_tokens": "output tok",
    "usd": "dollars",
}
SHORT: Mapping[str, str] = {"second": "s", "minute": "min", "hour": "h"}
EACH = "*"
EACH_MEANS = f"{EACH} for each model"
SURE: Mapping[Confidence, str] = {"high": "sure", "medium": "fairly sure", "low": "not sure"}
OVERRUN: Mapping[Overrun, str] = {
    "stops": "requests are refused.",
    "bills": "you are charged.",
    "unknown": "nobody said what happens.",
}


def summary(provider: Provider, plan: str | None = None) -> list[str]:
    """The limits of one plan, an entry for each metric and window: from the least to the most that a model has."""
    found: dict[tuple[str, str | None, bool], list[Limit]] = {}
    for limit in every(provider, plan):
        found.setdefault((limit.metric, limit.window, limit.each_model), []).append(limit)
    return [short(found[key]) + (EACH if key[2] else "") for key in sorted(found, key=_order)]


def short(limits: Sequence[Limit]) -> str:
    """Limits of one metric and window: "30 req/min", or "5-30 req/min" where they differ, "?" for unknown."""
    metric, window = limits[0].metric, limits[0].window
    amounts = sorted({limit.amount for limit in limits if limit.amount is not None})
    name = NAMES.get(metric, metric)
    if not amounts:
        return f"? {name}{_per(window)}"
    span = "-".join(dict.fromkeys(number(amount, metric) for amount in (amounts[0], amounts[-1])))
    return f"{span}{_per(window)}" if metric == "usd" else f"{span} {name}{_per(window)}"


def number(amount: float, metric: str) -> str:
    """ "250K", "2.5M", "1,000", "$5", "$0.10"."""
    if metric == "usd":
        return f"${amount:,.0f}" if amount == int(amount) else f"${amount:,.2f}"
    whole = int(amount)
    for size, unit in ((10**9, "B"), (10**6, "M"), (10**3, "K")):
        if whole >= max(size, 10_000) and whole % (size // 10) == 0:
            return f"{whole / size:g}{unit}"
    return f"{whole:,}"


def reset_words(limit: Limit) -> str:
    """When what was used is there again."""
    if limit.metric == "concurrent_requests":
        return "when a request ends"
    if limit.window == "once":
        return "never"
    if limit.reset == "fixed":
        days = {"day": "", "week": "Mondays, ", "month": "on the 1st, "}
        zone = (limit.timezone or "UTC").rpartition("/")[2].replace("_", " ")
        return f"{days[limit.window]}00:00 {zone}" if limit.window in days else f"with each {limit.window}"
    return {"token_bucket": "refills all the time", "rolling": "rolling"}.get(limit.reset, "unknown")


def resets(provider: Provider, plan: str | None = None) -> list[str]:
    """The same of all limits of a plan that are longer than an hour, or of all where none is; each once."""
    limits = every(provider, plan)
    long = [limit for limit in limits if limit.window not in ("second", "minute", "hour")]
    return list(dict.fromkeys(map(reset_words, long or limits)))


def every(provider: Provider, plan: str | None = None) -> list[Limit]:
    """All limits of one plan: of each model, of groups of models, and of all together."""
    chosen = provider.plan(plan).id
    grouped = [limit for limit in provider.limits if limit.group is not None and chosen in limit.plans]
    return grouped + [
        limit for model in (*provider.models, None) for limit in provider.limits_of(model, plan) if limit.group is None
    ]


def scope_words(limit: Limit) -> str:
    """Who shares it."""
    owner, _, part = limit.scope.partition("+")
    of = "address on the net" if owner == "ip" else owner
    return f"each {of}" + (" and model" if part == "model" else f", {limit.group} models together" if part else "")


def listed(words: Iterable[str], none: str = "none found") -> str:
    """Words in a row, each once."""
    return ", ".join(dict.fromkeys(words)) or none


def overrun(provider: Provider) -> str:
    """What happens to requests beyond the free amount."""
    return " ".join(filter(None, (OVERRUN[provider.overrun], provider.overrun_note)))


def sureness(provider: Provider) -> str:
    """How sure the facts are, and how old."""
    return f"{'out of date' if provider.stale else SURE[provider.confidence]}, {provider.as_of}"


def _per(window: str | None) -> str:
    if window is None:
        return " at once"
    return " once" if window == "once" else f"/{SHORT.get(window, window)}"


def _order(key: tuple[str, str | None, bool]) -> tuple[int, int, bool]:
    metric, window, each_model = key
    length = 10**9 if window in (None, "once") else SECONDS.get(window) or int(window[:-1]) * UNITS[window[-1]]
    return ORDER.index(metric), length, each_model
