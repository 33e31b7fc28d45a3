"""vLLM: chat completions, and what it tells besides: whether it is ready, and how busy it is."""

from typing import Annotated

from msgspec import Meta
from prometheus_client.parser import text_string_to_metric_families

from backends import openai_compatible
from backends.base import Load, Observable
from backends.chat_encode import encode
from backends.chat_errors import count
from backends.errors import ProtocolViolation
from backends.json import JsonError, dumps, loads
from backends.openai_compatible import OpenAICompatible
from backends.registry import Parts
from backends.request import Request

RUNNING, WAITING = "vllm:num_requests_running", "vllm:num_requests_waiting"
CACHE = ("vllm:kv_cache_usage_perc", "vllm:gpu_cache_usage_perc")  # the second in older versions
ASKED = {"model", "messages", "tools", "prompt"}  # of a completion; what tokens are counted of
READ = tuple(f"{name}{end}" for name in (RUNNING, WAITING, *CACHE) for end in "{ ")


class Options(
    openai_compatible.Options, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="kind", tag="vllm"
):
    """One vLLM server: `vllm serve MODEL`."""

    base_url: Annotated[str, Meta(description="Where its API begins.")] = "http://127.0.0.1:8000/v1"


class VLLM(OpenAICompatible, Observable):
    """One vLLM server, as a Backend."""

    ready_path = "/health"  # 200, or 503 when its engine cannot answer

    async def load(self) -> Load | None:
        await self._ready()
        status, _, body = await self.get(f"{self._root}/metrics")
        return load_of(body) if status == 200 else None

    async def count_tokens(self, request: Request) -> int:
        body = {name: value for name, value in encode(request).items() if name in ASKED}
        callers = request.keys.get(self.name)
        url = f"{self._root}/tokenize"
        async with self.exchange("POST", url, dumps(body), model=request.model, callers=callers) as response:
            answer = await response.read()
        try:
            tokens = count(loads(answer)["count"])
        except (JsonError, KeyError, TypeError):
            tokens = None
        if tokens is None:
            raise ProtocolViolation("a count of tokens that is none")
        return tokens


def load_of(metrics: bytes) -> Load | None:
    """How busy it is by its metrics in Prometheus' text format. None when they do not say, or are none.

    A server of several engines has one value of each: requests are summed, and of the caches the fullest counts.
    """
    # Only these lines are parsed: all 500 would take 30 ms, and every stream would wait.
    lines = [line for line in metrics.decode(errors="replace").splitlines() if line.startswith(READ)]
    values: dict[str, list[float]] = {}
    try:
        for family in text_string_to_metric_families("\n".join(lines)):
            for sample in family.samples:
                values.setdefault(sample.name, []).append(sample.value)
        cache = next((max(values[name]) for name in CACHE if name in values), None)
        return Load(int(sum(values[RUNNING])), int(sum(values[WAITING])), cache)
    except (KeyError, ValueError, OverflowError):  # no such metric, no such format, no such number
        return None


def build(options: Options, parts: Parts) -> VLLM:
    """A backend over the shared transport."""
    return VLLM(options, parts.transport)
