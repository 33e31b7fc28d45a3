"""The operator's rules: which of them is the first that a request matches. Pure. As sentences: routing/sentences.py."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime, time, timedelta
from fnmatch import fnmatchcase
from types import MappingProxyType
from typing import Any, TypeAlias

from msgspec import Struct
from msgspec.structs import asdict

from proxy.choice_words import Data, Day, Kind, Work
from proxy.router_names import Use, is_router_name
from proxy.routing.values import Facts

Test: TypeAlias = Callable[[Any, Facts], bool]

DAYS: tuple[Day, ...] = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
NO_HEADERS: Mapping[str, str] = MappingProxyType({})
MIDNIGHT = time(0)
ONE_DAY = timedelta(days=1)


class Times(Struct, frozen=True):
    """From `begin` to `end` on each of the `days`, all of them where none is named.

    Where the end is not after the beginning it is on the next day, and the day is that of the beginning.
    """

    begin: time = MIDNIGHT
    end: time = MIDNIGHT
    days: tuple[Day, ...] = ()

    def hold(self, at: datetime) -> bool:
        """Whether `at` is in it."""
        now = at.time()
        if self.begin < self.end:
            return self.begin <= now < self.end and self._day(at)
        return self._day(at) if now >= self.begin else now < self.end and self._day(at - ONE_DAY)

    def _day(self, at: datetime) -> bool:
        return not self.days or DAYS[at.weekday()] in self.days


class When(Struct, frozen=True):
    """The conditions of a rule. Of those that are set all must hold; of each list, one; of `holds`, all.

    Without `models` it is for the router's own names alone: auto, auto:PROFILE and router-NAME-THRESHOLD. Bounds are
    inclusive. `headers` are globs by name, in lower case.
    """

    models: tuple[str, ...] = ()
    min_prompt_tokens: int | None = None
    max_prompt_tokens: int | None = None
    languages: tuple[str, ...] = ()
    holds: tuple[Kind, ...] = ()
    holds_any: tuple[Kind, ...] = ()
    tools: bool | None = None
    min_turns: int | None = None
    max_turns: int | None = None
    users: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    headers: Mapping[str, str] = NO_HEADERS
    work: tuple[Work, ...] = ()
    data: tuple[Data, ...] = ()
    times: Times | None = None

    def conditions(self) -> dict[str, Any]:
        """Those that are set, by name."""
        return {name: value for name, value in asdict(self).items() if value is not None and value not in ((), {})}


class Rule(Struct, frozen=True):
    """Whom to ask for a request for which `when` holds. Its name is that of `use`."""

    use: Use
    when: When = When()


TESTS: Mapping[str, Test] = MappingProxyType(
    {
        "models": lambda globs, facts: fits(facts.model, globs),
        "min_prompt_tokens": lambda least, facts: facts.tokens >= least,
        "max_prompt_tokens": lambda most, facts: facts.tokens <= most,
        "languages": lambda codes, facts: facts.language in codes,
        "holds": lambda kinds, facts: facts.kinds.issuperset(kinds),
        "holds_any": lambda kinds, facts: not facts.kinds.isdisjoint(kinds),
        "tools": lambda wanted, facts: facts.tools is wanted,
        "min_turns": lambda least, facts: facts.turns >= least,
        "max_turns": lambda most, facts: facts.turns <= most,
        "users": lambda ids, facts: facts.user in ids,
        "groups": lambda names, facts: not facts.groups.isdisjoint(names),
        "headers": lambda globs, facts: all(
            name in facts.headers and fnmatchcase(facts.headers[name], glob) for name, glob in globs.items()
        ),
        "work": lambda kinds, facts: facts.work in kinds,
        "data": lambda kinds, facts: facts.data in kinds,
        "times": lambda times, facts: times.hold(facts.at),
    }
)
"""By condition: whether it holds."""


class Rules:
    """Rules in order; the first that matches decides.

    `headers` are the names of those that some rule looks at, in lower case: no others need to be read. `ask_language`
    is whether some rule looks at the language, which is slow to tell.
    """

    def __init__(self, rules: Iterable[Rule]) -> None:
        self.rules = tuple(rules)
        self.headers = frozenset(name for rule in self.rules for name in rule.when.headers)
        self.ask_language = any(rule.when.languages for rule in self.rules)
        self._tests = [(rule, [(TESTS[name], value) for name, value in _all(rule.when)]) for rule in self.rules]

    def concern(self, model: str) -> bool:
        """Whether any rule may match a request for that name. For others there is nothing to find out."""
        return any(fits(model, rule.when.models) for rule in self.rules)

    def first(self, facts: Facts) -> Rule | None:
        """The first rule that matches, if any."""
        for rule, tests in self._tests:
            if all(test(value, facts) for test, value in tests):
                return rule
        return None


def fits(model: str, globs: Sequence[str]) -> bool:
    """Whether one of the globs is for that name; without any, whether it is a name of the router's."""
    return any(fnmatchcase(model, glob) for glob in globs) if globs else is_router_name(model)


def shadowed(rules: Sequence[Rule]) -> Iterator[tuple[Rule, Rule]]:
    """The rules that can never match, each with an earlier one that matches whenever it would."""
    for index, rule in enumerate(rules):
        if (earlier := next((each for each in rules[:index] if _covers(each.when, rule.when)), None)) is not None:
            yield rule, earlier


def _all(when: When) -> Iterator[tuple[str, Any]]:
    """What must hold, the model first: that is said by leaving it out too."""
    yield "models", when.models
    yield from ((name, value) for name, value in when.conditions().items() if name != "models")


def _covers(first: When, later: When) -> bool:
    """Whether `first` holds whenever `later` does, as far as that is plain: its conditions are among the later's."""
    conditions = first.conditions()
    models = conditions.pop("models", ())
    if models != later.models and "*" not in models:
        return False
    return conditions.items() <= later.conditions().items()
