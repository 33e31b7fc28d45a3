"""What a request may take is never less than what it takes; what is not known in the end is charged."""

from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from backends.events import Usage
from backends.request import (
    Audio,
    EmbeddingRequest,
    File,
    Image,
    JsonFormat,
    Message,
    Opaque,
    Part,
    Prompt,
    Reasoning,
    Request,
    Text,
    Tool,
    ToolCall,
    ToolResult,
    said,
)
from proxy.estimate import (
    IMAGE,
    IMAGES,
    LEAST_OUTPUT,
    Estimate,
    TooLarge,
    amounts,
    estimated,
    measured,
    shortened,
    used,
)
from proxy.metered import Draw, Metered
from quota.ledger import Headroom
from quota.pool import DAY, MINUTE, Gcra, Pool, Rolling

EVERY = (
    Draw("day", "requests"),
    Draw("running", "concurrent_requests"),
    Draw("tokens", "tokens"),
    Draw("in", "input_tokens"),
    Draw("out", "output_tokens"),
    Draw("neurons", "neurons", 31_818, 68_182),
    Draw("money", "usd_micros", 150_000, 600_000),
)


def metered(*draws: Draw, overrun: str = "stops", provider: str = "groq") -> Metered:
    return Metered("me", provider, "m", draws, overrun)  # type: ignore[arg-type]  # one of the three words


def heads(**caps: int) -> dict[str, Headroom]:
    return {
        name: Headroom(Pool(name, cap, Gcra(MINUTE)), cap, 0, 0, 0, cap, None, None, None, "catalog", None, {})
        for name, cap in caps.items()
    }


def texts(request: Request | EmbeddingRequest) -> int:
    return measured(request).prompt("groq")


@given(st.lists(st.text(), max_size=5), st.text(), st.text())
def test_the_bound_is_at_least_the_bytes_of_every_text(said_texts: list[str], name: str, arguments: str) -> None:
    def size(*parts: Part) -> int:
        return texts(Request("m", (Message("user", parts),)))

    length = sum(len(each.encode("utf-8", "surrogatepass")) for each in said_texts)
    assert size(*map(Text, said_texts)) >= length
    assert size(ToolResult("c", tuple(map(Text, said_texts)))) >= length
    assert size(*map(Reasoning, said_texts)) >= length
    assert size(ToolCall("c", name, arguments)) >= len((name + arguments).encode("utf-8", "surrogatepass"))
    assert texts(Request("m", prompt=Prompt("".join(said_texts)))) >= length
    assert texts(EmbeddingRequest("m", tuple(said_texts))) >= length


@pytest.mark.parametrize(
    ("more", "least"),
    [
        ({"tools": (Tool("look", "Looks.", {"type": "object", "properties": {"x" * 5000: {}}}),)}, 5000),
        ({"format": JsonFormat({"type": "object", "title": "x" * 5000})}, 5000),
        ({"extras": {"documents": [{"text": "x" * 5000}]}}, 5000),
        ({"messages": (Message("assistant", (Reasoning("", Opaque("openai", "x" * 5000)),)),)}, 5000),
        ({"messages": (Message("user", (File("a.txt", "text/plain", "eHh4" * 1000),)),)}, 3000),
        ({"messages": (Message("user", (Audio("wav", "AAAA" * 80_000),)),)}, 30 * 32),  # 30 s at 8,000 bytes
    ],
)
def test_what_is_no_plain_text_counts_too(more: dict[str, object], least: int) -> None:
    plain = Request("m", (said("user", "Hi."),))
    assert texts(replace(plain, **more)) >= least


def test_an_image_is_the_most_that_its_provider_makes_of_one() -> None:
    size = measured(Request("m", (Message("user", (Image("image/png", "AAAA"),) * 2),)))
    assert size.prompt("gemini") - size.marks == 2 * IMAGES["gemini"]
    assert size.prompt("nobody") - size.marks == 2 * IMAGE


def test_each_pool_is_drawn_on_in_its_metric_and_rounded_up() -> None:
    assert amounts(metered(*EVERY), Estimate(1000, 200)) == {
        "day": 1,
        "running": 1,
        "tokens": 1200,
        "in": 1000,
        "out": 200,
        "neurons": 46,  # 31.818 + 13.6364
        "money": 270,
    }
    assert amounts(metered(Draw("p", "input_tokens"), Draw("p", "output_tokens")), Estimate(5, 7)) == {"p": 12}


@given(st.integers(0, 10**6), st.integers(0, 10**6), st.integers(0, 10**6), st.integers(0, 10**6), st.booleans())
def test_what_is_used_within_the_bound_is_never_more_than_was_reserved(
    prompt: int, output: int, more_prompt: int, more_output: int, thought: bool
) -> None:
    bound = Estimate(prompt + more_prompt, output + more_output)
    usage = Usage(prompt, output, reasoning_tokens=output if thought else 0)
    reserved, spent = amounts(metered(*EVERY), bound), used(metered(*EVERY), usage, bound, None, "answered")
    assert spent.keys() == reserved.keys()
    assert all(spent[pool] <= reserved[pool] for pool in reserved)
    assert spent["tokens"] == prompt + output


def test_thoughts_that_a_provider_leaves_out_of_the_output_are_output() -> None:
    spent = used(metered(*EVERY), Usage(10, 5, reasoning_tokens=50), Estimate(100, 100), None, "answered")
    assert (spent["out"], spent["tokens"]) == (50, 60)


def test_a_refusal_takes_the_request_alone() -> None:
    spent = used(metered(*EVERY), None, Estimate(1000, 200), None, "refused")
    assert spent == {**dict.fromkeys(("running", "tokens", "in", "out", "neurons", "money"), 0), "day": 1}


def test_without_usage_the_prompt_is_charged_in_full_and_the_answer_as_it_was_counted() -> None:
    bound = Estimate(1000, 200)
    assert used(metered(*EVERY), None, bound, 50, "broken")["tokens"] == 1050
    assert used(metered(*EVERY), None, bound, 5000, "broken")["tokens"] == 1200
    assert used(metered(*EVERY), Usage(3, 60, estimated=True), bound, 50, "answered")["tokens"] == 1060


def test_when_nothing_is_known_everything_is_charged() -> None:
    bound = Estimate(1000, 200)
    assert used(metered(*EVERY), None, bound, None, "broken") == amounts(metered(*EVERY), bound) | {"running": 0}


def clamped(
    request: Request,
    model: Metered,
    headroom: Mapping[str, Headroom],
    *,
    by_default: bool,
) -> Request | TooLarge:
    """The request with an answer so short that it fits every cap; only if its length came `by_default`."""
    size = measured(request)
    estimate = shortened(model, estimated(model, size, headroom, None), headroom, by_default)
    if isinstance(estimate, TooLarge) or estimate.output == request.max_output_tokens:
        return request if isinstance(estimate, Estimate) else estimate
    return replace(request, max_output_tokens=estimate.output)


ASKED = Request("m", (said("user", "x" * 1000),), max_output_tokens=8000)
GROQ = metered(Draw("minute", "tokens"), Draw("day", "requests"))


def test_a_default_is_lowered_until_it_fits_and_a_wish_is_not() -> None:
    caps = heads(minute=8000, day=1000)
    fitting = clamped(ASKED, GROQ, caps, by_default=True)
    assert isinstance(fitting, Request)
    assert texts(fitting) + fitting.max_output_tokens == 8000
    asked = clamped(ASKED, GROQ, caps, by_default=False)
    assert isinstance(asked, TooLarge)
    assert (asked.draw.pool, asked.cap) == ("minute", 8000)
    assert asked.amount > 8000


def test_an_answer_that_would_be_of_no_use_is_not_made_to_fit() -> None:
    prompt = texts(ASKED)
    assert isinstance(clamped(ASKED, GROQ, heads(minute=prompt + LEAST_OUTPUT), by_default=True), Request)
    assert isinstance(clamped(ASKED, GROQ, heads(minute=prompt + LEAST_OUTPUT - 1), by_default=True), TooLarge)


@given(st.integers(1, 10**6), st.integers(1, 10**6), st.integers(1, 10**6), st.booleans())
def test_what_is_said_to_fit_does(tokens: int, out: int, money: int, by_default: bool) -> None:
    model = metered(Draw("tokens", "tokens"), Draw("out", "output_tokens"), Draw("money", "usd_micros", 900_000, 7))
    caps = heads(tokens=tokens, out=out, money=money)
    found = clamped(ASKED, model, caps, by_default=by_default)
    if isinstance(found, Request):
        bound = Estimate(texts(found), found.max_output_tokens)
        assert all(taken <= caps[pool].cap for pool, taken in amounts(model, bound).items())
        assert found.max_output_tokens == ASKED.max_output_tokens or by_default
    else:
        assert found.amount > found.cap


def test_the_margin_of_a_pool_is_not_granted() -> None:
    kept = {"minute": replace(heads(minute=9999)["minute"], margin=9999 - 2000)}
    found = clamped(ASKED, GROQ, kept, by_default=True)
    assert isinstance(found, Request)
    assert texts(found) + found.max_output_tokens == 2000


def test_what_was_learned_is_used_only_where_the_bound_does_not_fit_and_nothing_is_billed() -> None:
    long = Request("m", (said("user", "x" * 10_000),), max_output_tokens=1000)
    tight, wide = heads(minute=8000), heads(minute=80_000)
    bound = texts(long)
    assert estimated(GROQ, long, wide, 0.3).prompt == bound
    assert estimated(GROQ, long, tight, None).prompt == bound
    assert 3000 <= estimated(GROQ, long, tight, 0.3).prompt < bound
    for overrun in ("bills", "unknown"):
        assert estimated(metered(Draw("minute", "tokens"), overrun=overrun), long, tight, 0.3).prompt == bound


def test_long_windows_cap_a_request_too() -> None:
    day = {"day": Headroom(Pool("day", 500, Rolling(DAY)), 500, 0, 0, 0, 500, None, None, None, "c", None, {})}
    assert isinstance(clamped(ASKED, metered(Draw("day", "tokens")), day, by_default=True), TooLarge)


def test_more_texts_than_the_provider_takes_at_once_are_several_requests() -> None:
    metered = Metered("me", "cohere", "embed", (Draw("requests", "requests"), Draw("tokens", "tokens")), "stops")
    request = EmbeddingRequest("embed", ("word",) * 200)
    bound = estimated(metered, request, {}, None)
    assert amounts(metered, bound)["requests"] == 3
    assert used(metered, Usage(200, 0), bound, None, "answered") == {"requests": 3, "tokens": 200}
