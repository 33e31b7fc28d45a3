"""The configuration's types for free quotas and budgets: accounts, limits, and facts about providers."""

import re
from pathlib import Path
from typing import Annotated, Literal, TypeAlias
from zoneinfo import ZoneInfo

from msgspec import Meta, field

from proxy.config_table import Count, Seconds, Table
from proxy.metered import Overrun, Term

Step: TypeAlias = Literal["wait", "local", "paid"]
Metric: TypeAlias = Literal[
    "requests", "tokens", "input_tokens", "output_tokens", "neurons", "usd", "concurrent_requests"
]
Reset: TypeAlias = Literal["fixed", "rolling", "token_bucket", "unknown"]
Scope: TypeAlias = Literal[
    "account",
    "organization",
    "project",
    "ip",
    "account+model",
    "organization+model",
    "project+model",
    "ip+model",
    "organization+model_group",
]
Confidence: TypeAlias = Literal["high", "medium", "low"]
Status: TypeAlias = Literal["active", "uncertain", "trial_credit", "rebate_only", "prepaid_only", "closed", "retired"]
Share: TypeAlias = Annotated[float, Meta(ge=0, le=1)]
Price: TypeAlias = Annotated[float, Meta(ge=0, le=1_000_000)]

WINDOW = re.compile(r"second|minute|hour|day|week|month|once|[1-9]\d{0,3}[smhd]", re.ASCII)
MOST = 10**15  # of anything
PERIODS = ("second", "minute", "hour", "day", "week", "month")


class Free(Table, frozen=True):
    """How requests for free/auto and free/MODEL are spread over the accounts, and what happens when all is spent."""

    when_spent: Annotated[
        tuple[Step, ...],
        Meta(description="What is tried then, in this order: wait for a reset, a local model, an account that costs."),
    ] = ("wait", "local", "paid")
    wait: Annotated[
        float, Meta(ge=0, le=86400, description="Seconds that a request waits for a reset, at the longest.")
    ] = 30.0
    waiting_per_key: Annotated[Count, Meta(description="Requests of one API key that may wait at once.")] = 8
    local: Annotated[
        tuple[str, ...],
        Meta(description="BACKEND/MODEL, in order, that cost nothing.", examples=[["local/smollm2"]]),
    ] = ()
    sticky: Annotated[
        float, Meta(ge=0, le=86400, description="Seconds that a conversation stays with its model, if it can.")
    ] = 1800.0
    agent_floor: Annotated[
        Share, Meta(description="Part of a quota that is kept from agents, for people who wait for an answer.")
    ] = 0.15
    batch_floor: Annotated[Share, Meta(description="Part of a quota that is kept from batch work.")] = 0.40


class Quota(Table, frozen=True):
    """The ledger of what is spent: quota.db in data_dir."""

    synchronous: Annotated[
        Literal["full", "normal"],
        Meta(description="full survives a power cut; normal is faster, and after one it may not know the last second."),
    ] = "full"
    history_days: Annotated[
        float, Meta(gt=0, le=36500, description="Days that single operations are kept. Balances always are.")
    ] = 35
    lease: Annotated[
        Seconds, Meta(description="Seconds after which what a dead process had reserved is counted as used.")
    ] = 60


class Rates(Table, frozen=True):
    """What a million tokens cost."""

    input: Annotated[Price, Meta(description="For a million tokens of a prompt.", examples=[0.4])]
    output: Annotated[Price, Meta(description="For a million tokens of an answer.", examples=[1.6])]


class AccountLimit(Table, frozen=True):
    """A limit of one account: another number than the catalog's for the same metric and window, or one of your own."""

    metric: Annotated[Metric, Meta(description="What is counted. usd is money, by the prices that are known.")]
    amount: Annotated[float, Meta(gt=0, description="How much there is. Dollars, for usd.", examples=[5])]
    window: Annotated[
        str | None,
        Meta(
            description="second, minute, hour, day, week, month, a length such as 5h, or once. "
            "Unset only for concurrent_requests.",
            examples=["month"],
        ),
    ] = None
    reset: Annotated[
        Reset | None,
        Meta(
            description="fixed begins anew with each day or month; rolling is any stretch of that length. "
            "Unset: as in the catalog, else rolling.",
            examples=["fixed"],
        ),
    ] = None
    timezone: Annotated[
        str | None, Meta(description="Where a fixed day begins. Unset: as in the catalog, else UTC.", examples=["UTC"])
    ] = None
    model: Annotated[
        str | None, Meta(description="The model that it is for. Unset: as in the catalog, else the whole account.")
    ] = None

    def __post_init__(self) -> None:
        check(self.metric, self.amount, self.window, self.reset, self.timezone)


class Limit(Table, frozen=True):
    """A limit as the catalog has it. Without an amount it is known to be there, and not how large it is."""

    metric: Annotated[Metric, Meta(description="What is counted.")]
    amount: Annotated[
        Annotated[float, Meta(gt=0)] | None, Meta(description="How much; dollars for usd. Unset: not known.")
    ] = None
    window: Annotated[str | None, Meta(description="As in an account's limit.", examples=["day"])] = None
    reset: Annotated[Reset, Meta(description="As in an account's limit; unknown is taken as rolling.")] = "unknown"
    timezone: Annotated[str | None, Meta(description="Where a fixed day begins.", examples=["UTC"])] = None
    scope: Annotated[Scope, Meta(description="Who shares it, and whether each model has its own.")] = "account"
    group: Annotated[str | None, Meta(description="The group of models that it is for.", examples=["mini"])] = None
    plans: Annotated[tuple[str, ...], Meta(description="The plans that have it. Empty: all of them.")] = ()
    confidence: Annotated[Confidence | None, Meta(description="Unset: as the provider's.", examples=["low"])] = None
    note: Annotated[str | None, Meta(description="What else is known of it.", examples=["From an error text."])] = None

    def __post_init__(self) -> None:
        check(self.metric, self.amount, self.window, self.reset, self.timezone)

    @property
    def each_model(self) -> bool:
        """Whether each model has one of its own."""
        return self.scope.endswith("+model")


class ModelFacts(Table, frozen=True):
    """What the catalog knows of one model. Unset: nothing, or what is shipped."""

    context: Annotated[Count | None, Meta(description="Longest prompt and answer, in tokens.", examples=[131072])] = (
        None
    )
    max_output: Annotated[Count | None, Meta(description="Longest answer, in tokens.", examples=[8192])] = None
    quality: Annotated[
        Share | None, Meta(description="Your judgement, for free/auto:best: 0 is poor, 1 is best.", examples=[0.8])
    ] = None
    group: Annotated[str | None, Meta(description="The group that shares its limits.", examples=["mini"])] = None
    neurons: Annotated[Rates | None, Meta(description="Neurons for a million tokens (Cloudflare).")] = None
    prices: Annotated[Rates | None, Meta(description="Dollars for a million tokens.")] = None
    limits: Annotated[
        tuple[Limit, ...], Meta(description="Limits of this model, in place of the provider's for the same metric.")
    ] = ()
    confidence: Annotated[Confidence | None, Meta(description="Unset: as the provider's.", examples=["medium"])] = None
    note: Annotated[str | None, Meta(description="What else is known of it.", examples=["Retires soon."])] = None


class Facts(Table, frozen=True):
    """Facts about a provider that replace the shipped ones, or a provider of your own. Unset: what is shipped."""

    name: Annotated[str | None, Meta(description="Its name for people.", examples=["Our company's gateway"])] = None
    status: Annotated[Status | None, Meta(description="Whether it can be used.", examples=["active"])] = None
    kind: Annotated[
        str | None, Meta(description="The kind of backend that asks it.", examples=["openai_compatible"])
    ] = None
    preset: Annotated[str | None, Meta(description="The preset, for that kind.", examples=["groq"])] = None
    base_url: Annotated[
        str | None, Meta(description="Where its API begins.", examples=["https://llm.example.com/v1"])
    ] = None
    overrun: Annotated[Overrun | None, Meta(description="What happens beyond the free amount.", examples=["stops"])] = (
        None
    )
    terms: Annotated[
        tuple[Term, ...] | None, Meta(description="What must be accepted before an account is used.", examples=[[]])
    ] = None
    limits: Annotated[
        tuple[Limit, ...] | None,
        Meta(
            description="All limits of the provider itself, in place of the shipped ones.",
            examples=[[{"metric": "requests", "amount": 60, "window": "minute", "scope": "organization+model"}]],
        ),
    ] = None
    models: Annotated[
        dict[str, ModelFacts],
        Meta(
            description='Its models, one [catalog.PROVIDER.models."ID"] each.',
            examples=[{"openai/gpt-oss-120b": {"quality": 0.8}}],
        ),
    ] = field(default_factory=dict)


class Account(Table, frozen=True):
    """An account at a provider whose free quota, or whose budget, is spent. Its models are NAME/MODEL."""

    name: Annotated[
        str, Meta(description="A word of its own. Its models are addressed as NAME/MODEL.", examples=["groq-me"])
    ]
    provider: Annotated[
        str, Meta(description="A provider of the catalog: streamlane free list shows them.", examples=["groq"])
    ]
    api_key: Annotated[str | None, Meta(description="Its key.", examples=["${GROQ_API_KEY}"])] = None
    api_key_file: Annotated[
        Path | None, Meta(description="A file that holds the key, in place of api_key.", examples=["groq-key.txt"])
    ] = None
    account_id: Annotated[
        str | None,
        Meta(description="The account's id, where the provider's URL has it (Cloudflare).", examples=["0123abc"]),
    ] = None
    accept: Annotated[
        tuple[Term, ...],
        Meta(description="Terms that you have read and accept: streamlane free terms PROVIDER.", examples=[["trains"]]),
    ] = ()
    plan: Annotated[
        str | None,
        Meta(description="Which of the provider's plans it has. Unset: the first, with the least.", examples=["free"]),
    ] = None
    allow_billing: Annotated[
        bool,
        Meta(description="Whether free/auto may use it although the provider bills what is beyond the free amount."),
    ] = False
    owned_separately: Annotated[
        bool,
        Meta(description="For a further account of one provider: you own it separately, and the terms allow it."),
    ] = False
    models: Annotated[
        tuple[str, ...],
        Meta(description="The models to use. Empty: all of the catalog's.", examples=[["openai/gpt-oss-120b"]]),
    ] = ()
    base_url: Annotated[
        str | None, Meta(description="Another address of its API.", examples=["https://eu.api.example.com/v1"])
    ] = None
    prices: Annotated[
        dict[str, Rates],
        Meta(
            description="Dollars for a million tokens, by model: what usd is counted with.",
            examples=[{"openai/gpt-oss-120b": {"input": 0.15, "output": 0.6}}],
        ),
    ] = field(default_factory=dict)
    limits: Annotated[
        tuple[AccountLimit, ...],
        Meta(
            description="Other numbers than the catalog's, and budgets of your own.",
            examples=[[{"metric": "usd", "amount": 5, "window": "month", "reset": "fixed"}]],
        ),
    ] = ()


def check(metric: Metric, amount: float | None, window: str | None, reset: Reset | None, timezone: str | None) -> None:
    """Whether the parts of a limit fit together. Raises ValueError, which names the key."""
    if metric == "concurrent_requests":
        if window is not None:
            raise ValueError("window: concurrent_requests has none: take it out")
    elif window is None or not WINDOW.fullmatch(window):
        got = "" if window is None else f', got "{window}"'
        raise ValueError(f"window: expected second, minute, hour, day, week, month, once, or a length such as 5h{got}")
    if reset == "fixed" and window not in PERIODS:
        raise ValueError(f"reset: fixed needs one of the windows {', '.join(PERIODS)}")
    if timezone is not None and window not in PERIODS:
        raise ValueError(f"timezone: a time zone needs one of the windows {', '.join(PERIODS)}")
    if timezone is not None and not known(timezone):
        raise ValueError(f'timezone: expected a name such as "America/Los_Angeles", got "{timezone}"')
    if amount is not None and (amount > MOST or (metric != "usd" and amount != int(amount))):
        raise ValueError("amount: expected a whole number")


def known(timezone: str) -> bool:
    """Whether the system knows this time zone."""
    try:
        ZoneInfo(timezone)
    except (KeyError, ValueError, OSError):  # not there; no name at all; a folder
        return False
    return True
