"""The first rule that matches decides, every condition counts, and a sentence leaves none out."""

from datetime import UTC, datetime, time
from fnmatch import fnmatchcase
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from proxy.router_names import Use
from proxy.routing.rules import DAYS, Rule, Rules, Times, When, shadowed
from proxy.routing.sentences import sentence
from proxy.routing.values import Facts

FACTS = Facts(
    model="auto",
    question="Hello",
    tokens=100,
    output_tokens=500,
    turns=2,
    kinds=frozenset({"code"}),
    language="de",
    tools=False,
    user="key_a",
    groups=frozenset({"staff"}),
    headers={"x-team": "research-1"},
    at=datetime(2026, 11, 23, 12, 0, tzinfo=UTC),  # a Monday
)
LANGUAGES, KINDS, WORK = ["de", "en", "fr"], ["code", "math", "image"], ["interactive", "agent", "batch"]


def some(of: list[str]) -> st.SearchStrategy[tuple[str, ...]]:
    return st.just(()) | st.lists(st.sampled_from(of), min_size=1, max_size=2, unique=True).map(tuple)


def rule(name: str = "r", **conditions: Any) -> Rule:
    return Rule(Use(name, ("gpu/llama",)), When(**conditions))


WHENS = st.builds(
    When,
    models=some(["auto", "gpt-*", "*"]),
    min_prompt_tokens=st.none() | st.integers(1, 300),
    max_prompt_tokens=st.none() | st.integers(1, 300),
    languages=some(LANGUAGES),
    holds=some(KINDS),
    holds_any=some(KINDS),
    tools=st.none() | st.booleans(),
    min_turns=st.none() | st.integers(1, 4),
    max_turns=st.none() | st.integers(1, 4),
    users=some(["key_a", "key_b"]),
    groups=some(["staff", "guests"]),
    headers=st.sampled_from([{}, {"x-team": "research*"}, {"x-team": "sales"}, {"x-other": "*"}]),
    work=some(WORK),
    data=some(["any", "confidential"]),
    times=st.sampled_from([None, Times(time(8), time(18)), Times(time(22), time(6)), Times(days=("mon", "sun"))]),
)
ANY_FACTS = st.builds(
    replace,
    st.just(FACTS),
    model=st.sampled_from(["auto", "auto:cheap", "router-streamlane-0.5", "gpt-4", "smollm2"]),
    tokens=st.integers(0, 300),
    turns=st.integers(0, 4),
    kinds=st.frozensets(st.sampled_from(KINDS)),
    language=st.sampled_from([*LANGUAGES, None]),
    tools=st.booleans(),
    user=st.sampled_from(["key_a", "key_b", "anonymous"]),
    groups=st.frozensets(st.sampled_from(["staff", "guests"])),
    headers=st.sampled_from([{}, {"x-team": "research-1"}, {"x-team": "sales"}]),
    work=st.sampled_from(WORK),
    data=st.sampled_from(["any", "no_training", "confidential"]),
    at=st.datetimes(datetime(2026, 11, 20), datetime(2026, 11, 30), timezones=st.just(UTC)),  # noqa: DTZ001
)


def naively(when: When, facts: Facts) -> bool:
    """The same, written out as the documentation says it."""
    ours = facts.model == "auto" or facts.model.startswith(("auto:", "router-"))
    if not (any(fnmatchcase(facts.model, each) for each in when.models) if when.models else ours):
        return False
    bounds = [
        (when.min_prompt_tokens, facts.tokens, when.max_prompt_tokens),
        (when.min_turns, facts.turns, when.max_turns),
    ]
    lists = [(when.languages, facts.language), (when.users, facts.user), (when.work, facts.work)]
    lists.append((when.data, facts.data))
    wrong = [
        any((low is not None and value < low) or (high is not None and value > high) for low, value, high in bounds),
        any(allowed and value not in allowed for allowed, value in lists),
        bool(set(when.holds) - facts.kinds),
        bool(when.holds_any) and not set(when.holds_any) & facts.kinds,
        bool(when.groups) and not set(when.groups) & facts.groups,
        when.tools is not None and when.tools != facts.tools,
        any(name not in facts.headers for name in when.headers),
        any(not fnmatchcase(facts.headers.get(name, ""), glob) for name, glob in when.headers.items()),
        when.times is not None and not minutes_match(when.times, facts.at),
    ]
    return not any(wrong)


def minutes_match(times: Times, at: datetime) -> bool:
    """By the minute of the week: which spans begin on which day, and where they end."""
    minute = at.weekday() * 1440 + at.hour * 60 + at.minute
    begin, end = (each.hour * 60 + each.minute for each in (times.begin, times.end))
    for day in range(7):
        if times.days and DAYS[day] not in times.days:
            continue
        start, length = day * 1440 + begin, (end - begin) % 1440 or 1440
        if (minute - start) % 10080 < length:
            return True
    return False


@given(st.lists(WHENS, max_size=4), ANY_FACTS)
def test_the_first_rule_that_matches_decides(whens: list[When], facts: Facts) -> None:
    rules = [Rule(Use(f"r{number}", ("gpu/llama",)), when) for number, when in enumerate(whens)]
    expected = next((each for each in rules if naively(each.when, facts)), None)
    assert Rules(rules).first(facts) is expected


@given(st.lists(WHENS, max_size=4), ANY_FACTS)
def test_who_concerns_no_rule_matches_none_and_who_is_shadowed_never_is_first(whens: list[When], facts: Facts) -> None:
    rules = Rules(Rule(Use(f"r{number}", ("gpu/llama",)), when) for number, when in enumerate(whens))
    first = rules.first(facts)
    assert first is None or rules.concern(facts.model)
    assert first not in [later for later, _ in shadowed(rules.rules)]


def test_a_rule_without_conditions_is_for_all_that_the_router_is_asked_for() -> None:
    rules = Rules([rule()])
    for name in ("auto", "auto:cheap", "router-streamlane-0.3"):
        assert rules.first(replace(FACTS, model=name)) is not None
    assert rules.first(replace(FACTS, model="gpt-4")) is None, "an explicit model passes through"
    assert Rules([rule(models=("gpt-*",))]).first(replace(FACTS, model="gpt-4")) is not None


SAID = {  # a value of each condition, and the words by which the sentence must show it
    "models": (("gpt-4*",), "gpt-4*"),
    "min_prompt_tokens": (2000, "at least 2,000 tokens"),
    "max_prompt_tokens": (1, "at most 1 token"),
    "languages": (("de", "fr"), "German or French"),
    "holds": (("code", "image"), "source code and an image"),
    "holds_any": (("math", "json"), "mathematics or a wish for JSON"),
    "tools": (False, "no tools are offered"),
    "min_turns": (3, "at least 3 turns"),
    "max_turns": (9, "at most 9 turns"),
    "users": (("key_x",), "the user is key_x"),
    "groups": (("staff",), "in the group staff"),
    "headers": ({"x-team": "research*"}, 'the header x-team is "research*"'),
    "work": (("agent", "batch"), "an agent's or a batch's"),
    "data": (("confidential",), "confidential"),
    "times": (Times(time(8), time(18), ("mon", "tue")), "between 08:00 and 18:00 on Monday or Tuesday"),
}


def test_there_are_words_for_every_condition() -> None:
    assert set(SAID) == set(When.__struct_fields__)


@given(st.sets(st.sampled_from(sorted(SAID))))
def test_a_sentence_names_every_condition_and_no_other(names: set[str]) -> None:
    said = sentence(rule("mine", **{name: SAID[name][0] for name in names}))
    assert said.startswith("mine: ")
    assert said.endswith("ask gpu/llama.")
    assert {name for name, (_, words) in SAID.items() if words in said} >= names
    assert ("always" in said) == (not names)
    if names == {"languages", "max_prompt_tokens", "tools"}:
        assert said == (
            "mine: when the prompt has at most 1 token, the question is in German or French and no tools are offered, "
            "ask gpu/llama."
        )


@pytest.mark.parametrize(
    ("use", "words"),
    [
        (Use("r", ("local/a", "free/auto")), "ask local/a, then free/auto."),
        (Use("r", ("a/x", "b/y"), "least_busy"), "ask the least busy of a/x and b/y."),
        (Use("r", ("a/x", "b/y"), "weighted", (3, 1)), "ask one of a/x and b/y by their weights (3 to 1)."),
        (Use("r", ("a/x",), sticky="hash"), "ask a/x; a conversation always goes to the same one."),
        (Use("r", ("auto:cheap",)), "ask the model that the learned router chooses (auto:cheap)."),
        (
            Use("r", ("a/x",), max_price=2_500_000),
            "ask a/x, but nobody who costs more than $2.50 for a million tokens of answer.",
        ),
    ],
)
def test_a_sentence_says_whom_it_asks(use: Use, words: str) -> None:
    assert sentence(Rule(use)) == f"r: always {words}"


def test_a_rule_that_an_earlier_one_covers_is_found() -> None:
    everything, narrow = rule("all", models=("*",)), rule("narrow", languages=("de",), tools=True)
    german = rule("german", languages=("de",))
    assert [(later.use.name, first.use.name) for later, first in shadowed([german, narrow])] == [("narrow", "german")]
    assert [later.use.name for later, _ in shadowed([everything, german, narrow])] == ["german", "narrow"]
    assert not list(shadowed([narrow, german, everything]))


def test_only_what_rules_name_is_looked_at() -> None:
    rules = Rules([rule(headers={"x-team": "*"}), rule(tools=True)])
    assert rules.headers == {"x-team"}
    assert not rules.ask_language
    assert Rules([rule(languages=("de",))]).ask_language
