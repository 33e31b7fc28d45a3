"""Who may not be asked, in plain words; and what is told when that is everybody."""

from types import MappingProxyType
from typing import Any

import pytest
from msgspec.structs import replace

from backends.base import Model, Remote
from backends.capabilities import Capabilities
from backends.errors import BackendError, ContextLengthExceeded, RateLimited, UnsupportedFeature
from backends.fake import FakeBackend
from backends.http_backend import HttpBackend
from backends.registry import KINDS, load
from backends.request import Message, Request, Secret, Text, Tool
from backends.unasked import CircuitOpen
from proxy.errors import NoModelFits
from proxy.routing.constraints import Asks, Limits, asks_of, dollars, in_the_way, none_left, own_machine
from proxy.routing.values import PassedOver
from proxy.routing.vitals import Standing
from proxy.runtime import Candidate
from tests.unit.proxy.routing.targets import METERED, Far, candidate, facts, price

ANY = Asks()


def why(one: Candidate, standing: Standing | None = None, wait: float | None = None, **changes: Any) -> tuple[str, str]:
    """The word and the reason; empty where nothing is in the way."""
    limits = Limits(changes.pop("own", None), changes.pop("max_price", None))
    asks = changes.pop("asks", ANY)
    over = in_the_way(one, facts(**changes), asks, standing or Standing(), wait=wait, limits=limits)
    return ("", "") if over is None else (over.why, over.reason)


def test_what_a_model_is_known_not_to_do() -> None:
    tool = Tool("now", "", MappingProxyType({}))
    said = (Message("user", (Text("hi"),)),)
    asks = asks_of(Request("m", said, tools=(tool,), keys={"a": Secret("k")}, extras={"guided_regex": "x"}))
    assert asks == Asks(frozenset({"tools"}), ("guided_regex",), asks.keys)
    assert set(asks.keys) == {"a"}
    none = candidate(known=Model("m", capabilities=Capabilities(tools=False)))
    assert why(none, asks=asks) == ("capability", "does not support tools")
    assert why(candidate(), asks=asks) == ("capability", "does not support 'guided_regex'")
    assert why(candidate(), asks=Asks(frozenset({"tools"}))) == ("", "")  # unknown is tried


def test_only_prompts_that_are_clearly_too_long_are_passed_over() -> None:
    small = candidate(known=Model("m", context=1000))
    assert why(small, tokens=1300) == ("", "")
    assert why(small, tokens=1400) == ("context", "the prompt has about 1,400 tokens, and it can read 1,000")
    assert why(candidate(), tokens=10**9) == ("", "")


@pytest.mark.parametrize(
    ("url", "own"),
    [
        ("http://127.0.0.1:8000/v1", True),
        ("http://localhost:8000/v1", True),
        ("http://[::1]:8000/v1", True),
        ("http://10.1.2.3/v1", True),
        ("http://192.168.0.7:11434", True),
        ("http://[fd00::7]/v1", True),
        ("https://8.8.8.8/v1", False),
        ("https://api.openai.com/v1", False),
        ("http://gpu/v1", False),
        ("http://localhost.example.com/v1", False),
        ("http://127.0.0.1.example.com/v1", False),
        ("http://127.0.0.1@example.com/v1", False),
        ("not an address", False),
    ],
)
def test_confidential_texts_stay_on_own_machines(url: str, own: bool) -> None:
    one = candidate(backend=Far("gpu", url))
    told = ("", "") if own else ("data", "the request is confidential, and this is another's machine")
    assert why(one, data="confidential") == told
    assert why(one, data="confidential", own=frozenset({"gpu"})) == ("", "")
    assert why(one, data="confidential", own=frozenset())[0] == "data"
    assert why(one, data="no_training") == ("", "")


def test_in_this_process_is_on_this_machine_and_a_cloud_s_model_is_not() -> None:
    assert own_machine(FakeBackend("here"), None)
    ollama = Far("ollama", "http://127.0.0.1:11434")
    assert why(candidate("ollama/qwen3", backend=ollama), data="confidential") == ("", "")
    for model in ("gpt-oss:120b-cloud", "kimi-k2:cloud"):
        assert why(candidate(f"ollama/{model}", backend=ollama), data="confidential")[0] == "data"


def test_every_kind_that_asks_a_server_says_where() -> None:
    remote = {kind for kind in KINDS if issubclass(kind_of(kind), HttpBackend)}
    assert set(KINDS) - remote == {"fake", "llama_cpp"}  # without an address it counts as being in this process
    assert isinstance(Far("far"), Remote)


def kind_of(kind: str) -> type:
    """The class of backend that a kind builds."""
    found = load(kind).build.__annotations__["return"]
    return found if isinstance(found, type) else getattr(load(kind), str(found).strip("'\""))


def test_terms_that_allow_training() -> None:
    for terms, allowed in (({"trains"}, False), ({"unclear"}, False), ({"logged"}, True), (set(), True)):
        one = candidate(metered=replace(METERED, terms=frozenset(terms)))
        assert why(one, data="no_training")[0] == ("" if allowed else "data")


def test_a_ceiling_is_for_the_longest_answer_and_nobody_whose_price_is_unknown_is_asked() -> None:
    one = candidate(price=price(1, 10))  # 1,000 tokens each way: $0.001 and $0.01
    assert why(one, max_cost=11_000) == ("", "")
    assert why(one, max_cost=10_999) == ("cost", "its longest answer would cost $0.011, and $0.010999 is the most")
    assert why(candidate(), max_cost=10**9)[1].startswith("its price is not known")
    assert why(candidate(price=price(0, 0)), max_cost=0) == ("", "")
    assert why(candidate(price=price(1, 10), known=Model("m", max_output=10)), max_cost=1_100) == ("", "")


def test_a_rule_s_ceiling_is_for_the_price_of_answers() -> None:
    one = candidate(price=price(1, 10))
    assert why(one, max_price=10_000_000) == ("", "")
    assert why(one, max_price=9_000_000) == (
        "cost", "its answers cost $10.00 per million tokens, and the rule allows $9.00",
    )  # fmt: skip
    assert why(candidate(), max_price=10**12)[0] == "cost"


def test_health_and_deadline_and_who_was_asked() -> None:
    open_ = Standing(why="open", reason="it failed again and again", opens_in=3.0)
    assert why(candidate(), open_) == ("open", "it failed again and again")
    slow = Standing(first_token=4.0)
    assert why(candidate(), slow, deadline=5.0) == ("", "")
    assert why(candidate(), slow, wait=2.0, deadline=5.0) == (
        "deadline", "its first token is expected after 6.0 s, and the deadline is 5 s",
    )  # fmt: skip
    assert why(candidate(), deadline=0.001) == ("", "")  # nothing is known of it


def over(why: Any, reason: str = "x", **more: Any) -> PassedOver:
    return PassedOver(candidate(more.pop("name", "a/m"), more.pop("known", None)), why, reason, **more)


def standing(error: BackendError) -> Any:
    return lambda one: Standing(error=error if one.backend.name == "soon" else RateLimited(99.0))


def test_what_is_told_is_what_passes_soonest() -> None:
    soon = CircuitOpen(3.0)
    told = none_left(
        [over("capability"), over("cooling", opens_in=99.0), over("open", opens_in=3.0, name="soon/m")],
        facts(),
        standing(soon),
    )
    assert told is soon


def test_what_is_told_when_time_helps_nobody() -> None:
    told = none_left([over("capability", "does not support images", param="input")], facts(), standing(RateLimited()))
    assert (type(told), str(told).split(".")[0], told.param) == (  # type: ignore[union-attr]  # of both errors here
        UnsupportedFeature, "This model's backend does not support images", "input",
    )  # fmt: skip
    small, large = Model("m", context=10), Model("m", context=20)
    told = none_left([over("context", known=small), over("context", known=large)], facts(), standing(RateLimited()))
    assert isinstance(told, ContextLengthExceeded)
    assert (told.prompt_tokens, told.context) == (1000, 20)
    told = none_left([over("data", "another's machine"), over("cost", "too dear")], facts(), standing(RateLimited()))
    assert isinstance(told, NoModelFits)
    assert "a/m: another's machine; a/m: too dear" in str(told)


@pytest.mark.parametrize(
    ("micros", "words"), [(0, "$0"), (1, "$0.000001"), (12_500, "$0.0125"), (3_000_000, "$3.00"), (10**9, "$1,000.00")]
)
def test_amounts(micros: int, words: str) -> None:
    assert dollars(micros) == words
