"""A rule as one plain English sentence. Pure."""

from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Any

from proxy.choice_words import Data, Day, Kind, Strategy, Work
from proxy.languages import LANGUAGES
from proxy.router_names import AUTO, OF_PROFILE, Use
from proxy.routing.rules import DAYS, MIDNIGHT, Rule, Times

KINDS: Mapping[Kind, str] = MappingProxyType(
    {
        "code": "source code", "math": "mathematics", "image": "an image", "audio": "a recording", "file": "a file",
        "json": "a wish for JSON",
    }
)  # fmt: skip
WORK: Mapping[Work, str] = MappingProxyType(
    {
        "interactive": "interactive",
        "agent": "an agent's",
        "batch": "a batch's",
    }
)
DATA: Mapping[Data, str] = MappingProxyType(
    {
        "any": "for anybody",
        "no_training": "not for training",
        "confidential": "confidential",
    }
)
DAY_NAMES: Mapping[Day, str] = MappingProxyType(
    dict(zip(DAYS, ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"), strict=True))
)
ONE_OF: Mapping[Strategy, str] = MappingProxyType(
    {
        "weighted": "one of {} by their weights",
        "round_robin": "{} in turn",
        "least_busy": "the least busy of {}",
        "lowest_cost": "the cheapest of {}",
        "lowest_latency": "the fastest of {}",
        "two_choices": "the less busy of any two of {}",
    }
)
MILLION = 1_000_000


def sentence(rule: Rule) -> str:
    """The whole rule: its name, all its conditions, and whom it asks."""
    conditions = [WORDS[name](value) for name, value in rule.when.conditions().items()]
    when = f"when {listed(conditions, 'and')}, ask" if conditions else "always ask"
    return f"{rule.use.name}: {when} {asked(rule.use)}."


def asked(use: Use) -> str:
    """Whom it asks, as the end of a sentence."""
    entries = use.entries
    if entries[0] == AUTO or entries[0].startswith(OF_PROFILE):
        whom = f"the model that the learned router chooses ({entries[0]})"
    elif use.strategy is None or use.strategy == "ordered" or len(entries) == 1:
        whom = ", then ".join(entries)
    else:
        whom = ONE_OF[use.strategy].format(listed(entries, "and"))
        if use.weights:
            whom = f"{whom} ({' to '.join(f'{each:g}' for each in use.weights)})"
    if use.max_price is not None:
        whom = f"{whom}, but nobody who costs more than {_dollars(use.max_price)} for a million tokens of answer"
    if use.sticky == "conversation":
        whom = f"{whom}; a conversation stays where it was answered"
    elif use.sticky == "hash":
        whom = f"{whom}; a conversation always goes to the same one"
    return whom


def listed(words: Iterable[str], last: str) -> str:
    """`a, b and c`."""
    *others, end = words
    return f"{', '.join(others)} {last} {end}" if others else end


def _either(names: Iterable[str]) -> str:
    return listed(names, "or")


def _times(times: Times) -> str:
    days = f"on {_either(DAY_NAMES[day] for day in times.days)}" if times.days else ""
    if times.begin == times.end == MIDNIGHT:
        return f"it is {days.removeprefix('on ')}" if days else "it is any time"
    return " ".join(filter(None, (f"it is between {times.begin:%H:%M} and {times.end:%H:%M}", days)))


def _headers(headers: Mapping[str, str]) -> str:
    return listed((f'the header {name} is "{value}"' for name, value in headers.items()), "and")


def _dollars(micros: int) -> str:
    dollars = micros / MILLION
    return f"${dollars:.2f}" if micros % 10_000 == 0 else f"${dollars:g}"


def _tokens(count: int) -> str:
    return f"{count:,} token{'' if count == 1 else 's'}"


def _turns(count: int) -> str:
    return f"{count} turn{'' if count == 1 else 's'}"


WORDS: Mapping[str, Callable[[Any], str]] = MappingProxyType(
    {
        "models": lambda globs: f"the model asked for is {_either(globs)}",
        "min_prompt_tokens": lambda count: f"the prompt has at least {_tokens(count)}",
        "max_prompt_tokens": lambda count: f"the prompt has at most {_tokens(count)}",
        "languages": lambda codes: f"the question is in {_either(LANGUAGES.get(code, code) for code in codes)}",
        "holds": lambda kinds: f"it holds {listed((KINDS[kind] for kind in kinds), 'and')}",
        "holds_any": lambda kinds: f"it holds {_either(KINDS[kind] for kind in kinds)}",
        "tools": lambda wanted: "tools are offered" if wanted else "no tools are offered",
        "min_turns": lambda count: f"the conversation has at least {_turns(count)}",
        "max_turns": lambda count: f"the conversation has at most {_turns(count)}",
        "users": lambda ids: f"the user is {_either(ids)}",
        "groups": lambda names: f"the user is in the group {_either(names)}",
        "headers": _headers,
        "work": lambda kinds: f"the work is {_either(WORK[kind] for kind in kinds)}",
        "data": lambda kinds: f"its texts are {_either(DATA[kind] for kind in kinds)}",
        "times": _times,
    }
)
"""By condition: it as a clause."""
