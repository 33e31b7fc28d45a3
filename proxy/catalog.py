"""What is known of providers with free quotas: one row each in data/free_tiers.json, which a user can override.

Facts come with where they were read, when, and how sure they are. Null is unknown, never a guess.
"""

from collections.abc import Iterator, Mapping
from functools import cache
from importlib.resources import files
from types import MappingProxyType
from typing import Literal, TypeAlias

from msgspec import Struct, convert, field
from msgspec.structs import asdict, replace

from backends.json import loads_own
from proxy.config_free import Confidence, Facts, Limit, ModelFacts, Status
from proxy.metered import Overrun, Term
from quota.headers import HeaderRule

WORDS: Mapping[Term, str] = {
    "trains": "may train on what you send",
    "logged": "may log what you send",
    "evaluation_only": "for trying out only, not for production",
    "card": "needs a payment method, or money in advance",
    "no_eea": "not for offering to users in the EEA, Switzerland or the UK",
    "identity": "needs proof of your identity",
    "unclear": "its terms leave open what matters here",
}
"""What each term means, after the name of a provider."""

STATUS: Mapping[Status, str] = {
    "active": "open",
    "uncertain": "open, but in doubt",
    "trial_credit": "a credit, once",
    "rebate_only": "only for paying customers who share their data",
    "prepaid_only": "no free quota: a budget of yours",
    "closed": "closed to new accounts",
    "retired": "retired",
}
"""What each status means."""

Key: TypeAlias = Literal["needed", "optional", "none"]


class Plan(Struct, frozen=True, forbid_unknown_fields=True):
    """One of the ways in which a provider gives accounts. Without `free` each request costs."""

    id: str
    about: str
    free: bool = True


class Notice(Struct, frozen=True, forbid_unknown_fields=True):
    """A term, in the words of this provider. Empty `plans`: all of them."""

    term: Term
    text: str
    plans: tuple[str, ...] = ()
    source: str | None = None


ONLY = Plan("free", "The only one.")


class Provider(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One provider. `kind` None: it cannot be asked any more. `base_url` None: the preset or the kind knows it.

    The first of `plans` is an account's that names none: the one with the least. Limits with another scope than
    "…+model" are for all models together; a model's own stand in place of them for the same metric and window.
    `headers` say what the provider's headers mean. `as_of` is when this was true, `stale` whether it has changed since.
    """

    id: str
    name: str
    status: Status
    kind: str | None
    preset: str | None = None
    base_url: str | None = None
    key: Key = "needed"
    plans: tuple[Plan, ...] = (ONLY,)
    overrun: Overrun
    overrun_note: str | None = None
    terms: tuple[Notice, ...] = ()
    limits: tuple[Limit, ...] = ()
    models: Mapping[str, ModelFacts] = field(default_factory=dict)
    headers: tuple[HeaderRule, ...] = ()
    notes: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()
    as_of: str
    confidence: Confidence
    stale: bool = False

    @property
    def usable(self) -> bool:
        """Whether it can be asked at all."""
        return self.status != "retired" and self.kind is not None

    def plan(self, name: str | None) -> Plan:
        """The plan of that name; the first one without. Raises KeyError."""
        return self.plans[0] if name is None else {plan.id: plan for plan in self.plans}[name]

    def notices(self, plan: str | None) -> tuple[Notice, ...]:
        """What must be known of this plan."""
        chosen = self.plan(plan).id
        return tuple(each for each in self.terms if not each.plans or chosen in each.plans)

    def limits_of(self, model: str | None, plan: str | None) -> tuple[Limit, ...]:
        """The limits that a request to `model` meets in this plan; None: those that do not depend on the model."""
        chosen = self.plan(plan).id
        given = [each for each in self.limits if not each.plans or chosen in each.plans]
        if model is None:
            return tuple(each for each in given if not each.each_model and each.group is None)
        facts = self.models.get(model, ModelFacts())
        own = {(each.metric, each.window) for each in facts.limits}
        rest = [
            each
            for each in given
            if not (each.each_model and (each.metric, each.window) in own)
            and (each.group is None or each.group == facts.group)
        ]
        return (*rest, *(each for each in facts.limits if not each.plans or chosen in each.plans))

    def confidence_in(self, limit: Limit, model: str | None = None) -> Confidence:
        """How sure a limit is."""
        facts = self.models.get(model or "", ModelFacts())
        return limit.confidence or facts.confidence or ("low" if self.stale else self.confidence)


Catalog: TypeAlias = Mapping[str, Provider]


@cache
def shipped() -> Catalog:
    """All providers that ship with Streamlane, by id."""
    rows = convert(loads_own(files("proxy").joinpath("data/free_tiers.json").read_bytes()), tuple[Provider, ...])
    return MappingProxyType({row.id: row for row in rows})


def merged(overrides: Mapping[str, Facts]) -> Catalog:
    """The shipped providers, with a user's facts in place of theirs, and providers of the user's own."""
    found = dict(shipped())
    for name, facts in overrides.items():
        found[name] = _merged(found.get(name) or _own(name), facts)
    return MappingProxyType(found)


def is_own(name: str) -> bool:
    """Whether a provider of this name is none of those that ship."""
    return name not in shipped()


def _own(name: str) -> Provider:
    return Provider(
        id=name,
        name=name,
        status="active",
        kind="openai_compatible",
        key="optional",
        overrun="unknown",
        as_of="your configuration",
        confidence="high",
    )


def _merged(provider: Provider, facts: Facts) -> Provider:
    said = {key: value for key, value in asdict(facts).items() if value is not None}
    models, terms = said.pop("models"), said.pop("terms", None)
    if terms is not None:
        said["terms"] = tuple(_notices(provider, terms))
    known = {**provider.models, **{name: _model(provider.models.get(name), each) for name, each in models.items()}}
    return replace(provider, **said, models=MappingProxyType(known))


def _notices(provider: Provider, terms: tuple[Term, ...]) -> Iterator[Notice]:
    """The shipped words for these terms, where there are some."""
    for term in terms:
        same = [each for each in provider.terms if each.term == term]
        yield from same or [Notice(term, f"{WORDS[term].capitalize()}, says your configuration.")]


def _model(shipped: ModelFacts | None, facts: ModelFacts) -> ModelFacts:
    said = {key: value for key, value in asdict(facts).items() if value is not None and value != ()}
    return replace(shipped or ModelFacts(), **said)
