"""vLLM: when it is ready, how busy it is, and what it serves; from its own answers, whole, in pieces and cut short."""

import pytest
from msgspec.structs import replace

from backends.base import Load, Model, Observable, Remote
from backends.capabilities import GUIDES
from backends.errors import NotReady, StreamBroken, Unreachable
from backends.http import Transport
from backends.request import Request, said
from backends.vllm import VLLM, Options, load_of
from tests.upstream import CLOSE, Script, Seen, Step, Trickle, Upstream, plain
from tests.wire.recorded import VLLM as RECORDED
from tests.wire.recorded import recorded

HEALTH, METRICS, MODELS = (
    head + body for _, head, body in (recorded(f"{RECORDED}/{name}") for name in ("health", "metrics", "models"))
)
BUSY = b"""\
# HELP vllm:num_requests_running Number of requests in model execution batches.
# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{engine="0",model_name="m"} 3.0
vllm:num_requests_running{engine="1",model_name="m"} 2.0
vllm:num_requests_waiting{engine="0",model_name="m"} 7.0
vllm:num_requests_waiting{engine="1",model_name="m"} 0.0
vllm:num_requests_waiting_by_reason{engine="0",model_name="m",reason="capacity"} 7.0
"""


def backend(upstream: Upstream, transport: Transport, **options: str) -> VLLM:
    return VLLM(Options(name="gpu", base_url=upstream.url, **options), transport)


def server(**paths: Script) -> Upstream:
    """A server that knows these paths: health="…", metrics="…", models="…"."""

    def answer(seen: Seen) -> Script:
        return paths.get(seen.path.rpartition("/")[2], plain(404, {"detail": "Not Found"}))

    return Upstream(default=answer)


def test_the_usual_place_is_its_default() -> None:
    assert Options(name="gpu").base_url == "http://127.0.0.1:8000/v1"


async def test_it_is_one_that_tells_its_load_and_its_place(transport: Transport) -> None:
    async with server() as upstream:
        found = backend(upstream, transport)
        assert isinstance(found, Observable)
        assert isinstance(found, Remote)
        assert found.url == upstream.url


# Ready, or not.


async def test_the_models_of_a_ready_server(transport: Transport) -> None:
    async with server(health=[HEALTH], models=[MODELS]) as upstream:
        assert await backend(upstream, transport, api_key="k").models() == (Model("smollm2", 2048),)
        assert [seen.path for seen in upstream.requests] == ["/health", "/v1/models"]
        assert {seen.headers["authorization"] for seen in upstream.requests} == {"Bearer k"}


async def test_a_server_that_is_not_ready_says_when_to_come_back(transport: Transport) -> None:
    async with server(health=plain(503, b"", "retry-after: 7"), models=[MODELS], metrics=[METRICS]) as upstream:
        for ask in (backend(upstream, transport).models, backend(upstream, transport).load):
            with pytest.raises(NotReady) as refused:
                await ask()
            assert refused.value.retry_after == 7


async def test_a_server_without_a_health_path_is_taken_as_ready(transport: Transport) -> None:
    async with server(models=[MODELS]) as upstream:
        assert [model.id for model in await backend(upstream, transport).models()] == ["smollm2"]


async def test_models_that_are_configured_need_a_ready_server_too(transport: Transport) -> None:
    async with server(health=plain(503, b"")) as upstream:
        found = VLLM(Options(name="gpu", base_url=upstream.url, models=("m",)), transport)
        with pytest.raises(NotReady):
            await found.models()


async def test_behind_a_path_of_a_reverse_proxy(transport: Transport) -> None:
    async with server(health=[HEALTH], metrics=[METRICS]) as upstream:
        upstream.url = f"{upstream.origin}/gpu/v1"
        await backend(upstream, transport).load()
        assert [seen.path for seen in upstream.requests] == ["/gpu/health", "/gpu/metrics"]


# How busy it is.


IDLE = Load(running=0, waiting=0, cache_usage=0.0)


@pytest.mark.parametrize("metrics", [[METRICS], [Trickle(METRICS[:200]), METRICS[200:]], [Trickle(METRICS)]], ids=len)
async def test_the_load_over_a_socket(transport: Transport, metrics: list[Step]) -> None:
    async with server(health=[HEALTH], metrics=metrics) as upstream:
        assert await backend(upstream, transport).load() == IDLE


async def test_metrics_that_break_off_are_no_load(transport: Transport) -> None:
    async with server(health=[HEALTH], metrics=[METRICS[:5000], CLOSE]) as upstream:
        with pytest.raises(StreamBroken):
            await backend(upstream, transport).load()


async def test_a_server_that_does_not_tell(transport: Transport) -> None:
    async with server(health=[HEALTH]) as upstream:
        assert await backend(upstream, transport).load() is None


async def test_a_server_that_is_gone(transport: Transport) -> None:
    async with server() as upstream:
        found = backend(upstream, transport)
    with pytest.raises(Unreachable):
        await found.load()


def test_metrics_cut_anywhere_give_the_truth_or_nothing() -> None:
    body = METRICS.partition(b"\r\n\r\n")[2]
    lines = body.splitlines(keepends=True)
    for count in range(len(lines)):
        assert load_of(b"".join(lines[:count])) in (None, Load(0, 0, None), IDLE)
    assert load_of(body) == IDLE


def test_engines_are_summed_and_the_fullest_cache_counts() -> None:
    assert load_of(BUSY) == Load(running=5, waiting=7, cache_usage=None)
    cache = b'vllm:kv_cache_usage_perc{engine="0"} 0.25\nvllm:kv_cache_usage_perc{engine="1"} 0.75\n'
    assert load_of(BUSY + cache) == Load(5, 7, 0.75)
    assert load_of(BUSY + b'vllm:gpu_cache_usage_perc{model_name="m"} 0.5\n') == Load(5, 7, 0.5)


@pytest.mark.parametrize(
    "metrics",
    [
        b"",
        b"<html>no metrics</html>",
        b"vllm:num_requests_running 1\n",
        b"vllm:num_requests_running NaN\nvllm:num_requests_waiting 0\n",
        b"vllm:num_requests_running +Inf\nvllm:num_requests_waiting 0\n",
        b"vllm:num_requests_running{ 1\nvllm:num_requests_waiting 0\n",
        b"vllm:num_requests_running \xff\nvllm:num_requests_waiting 0\n",
    ],
)
def test_metrics_that_say_nothing(metrics: bytes) -> None:
    assert load_of(metrics) is None


# Fields of its own.


ASK = Request("m", (said("user", "Hi"),), 16, tenant="key_1")


def body(request: Request, **options: bool) -> dict[str, object]:
    return dict(VLLM(Options(name="gpu", **options), Transport()).body(request))


def test_its_own_fields_are_handed_on_as_they_came_and_others_left_out() -> None:
    extras = {"priority": -5, "min_tokens": 3, "chat_template_kwargs": {"enable_thinking": False}, "mirostat": 2}
    sent = body(replace(ASK, extras=extras))
    assert {name: sent[name] for name in extras if name in sent} == {
        name: value for name, value in extras.items() if name != "mirostat"
    }
    assert sent["model"] == "m"


@pytest.mark.parametrize("name", sorted(GUIDES))
def test_what_shapes_the_answer_is_among_them(name: str) -> None:
    assert name in VLLM.extras
    assert body(replace(ASK, extras={name: {"x": 1}}))[name] == {"x": 1}


def test_the_older_names_of_guides_are_said_in_the_newer_way_too() -> None:
    sent = body(replace(ASK, extras={"guided_choice": ["yes", "no"]}))
    assert sent["structured_outputs"] == {"choice": ["yes", "no"]}
    sent = body(replace(ASK, extras={"guided_regex": "a+", "structured_outputs": {"regex": "b+"}}))
    assert sent["structured_outputs"] == {"regex": "b+"}
    assert "structured_outputs" not in body(ASK)


def test_caches_are_shared_unless_they_are_to_be_isolated() -> None:
    assert "cache_salt" not in body(ASK)
    mine, again, other = (
        body(replace(ASK, tenant=tenant), isolate_cache=True)["cache_salt"] for tenant in ("key_1", "key_1", "key_2")
    )
    assert mine == again != other
    assert "key_1" not in str(mine)
    assert len(str(mine)) >= 43  # vLLM: 256 bits
    salted = replace(ASK, tenant="key_2", extras={"cache_salt": mine})  # who knows another's salt reaches nothing by it
    assert body(salted, isolate_cache=True)["cache_salt"] not in {mine, other}
    assert body(salted)["cache_salt"] == mine
    assert "cache_salt" not in body(replace(ASK, tenant=""), isolate_cache=True)


async def test_tokens_are_counted_with_the_template_that_is_asked_for(transport: Transport) -> None:
    async with server(tokenize=plain(200, {"count": 7})) as upstream:
        asked = replace(ASK, extras={"chat_template_kwargs": {"enable_thinking": False}, "priority": 1})
        assert await backend(upstream, transport).count_tokens(asked) == 7
        [seen] = upstream.requests
    assert seen.path == "/tokenize"
    assert seen.json() == {
        "model": "m",
        "messages": [{"role": "user", "content": "Hi"}],
        "chat_template_kwargs": {"enable_thinking": False},
    }
