"""vLLM: chat completions, and what it tells besides: whether it is ready, and how busy it is."""

from collections.abc import Mapping
from hashlib import sha256
from typing import Annotated, Any

from msgspec import Meta
from prometheus_client.parser import text_string_to_metric_families

from backends import openai_compatible
from backends.base import Load, Observable
from backends.chat_errors import count
from backends.errors import ProtocolViolation
from backends.http import Transport
from backends.json import JsonError, dumps, loads
from backends.openai_compatible import OpenAICompatible
from backends.registry import Parts
from backends.request import Request

EXTRAS = frozenset(  # what it documents, but for what changes an answer's form, or reaches into the server
    {
        "structured_outputs", "guided_json", "guided_regex", "guided_choice", "guided_grammar", "cache_salt",
        "priority", "chat_template_kwargs", "documents", "add_generation_prompt", "continue_final_message",
        "add_special_tokens", "min_tokens", "ignore_eos", "stop_token_ids", "include_stop_str_in_output",
        "skip_special_tokens", "spaces_between_special_tokens", "repetition_penalty", "length_penalty",
        "repetition_detection", "bad_words", "allowed_token_ids", "logit_bias", "truncate_prompt_tokens",
        "truncation_side", "thinking_token_budget", "include_reasoning",
    }
)  # fmt: skip
GUIDED = {  # the older names, and their place in structured_outputs
    "guided_json": "json",
    "guided_regex": "regex",
    "guided_choice": "choice",
    "guided_grammar": "grammar",
}
TOKENIZED = frozenset(  # those of a completion that change how long its prompt is
    {
        "model", "messages", "tools", "prompt", "chat_template_kwargs", "add_generation_prompt",
        "continue_final_message", "add_special_tokens",
    }
)  # fmt: skip
RUNNING, WAITING = "vllm:num_requests_running", "vllm:num_requests_waiting"
CACHE = ("vllm:kv_cache_usage_perc", "vllm:gpu_cache_usage_perc")  # the second in older versions
READ = tuple(f"{name}{end}" for name in (RUNNING, WAITING, *CACHE) for end in "{ ")


class Options(
    openai_compatible.Options, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="kind", tag="vllm"
):
    """One vLLM server: `vllm serve MODEL`."""

    base_url: Annotated[str, Meta(description="Where its API begins.")] = "http://127.0.0.1:8000/v1"
    isolate_cache: Annotated[
        bool,
        Meta(description="Whether API keys share no cached prompts: each has a salt of its own."),
    ] = False


class VLLM(OpenAICompatible, Observable):
    """One vLLM server, as a Backend."""

    ready_path = "/health"  # 200, or 503 when its engine cannot answer
    extras = EXTRAS

    def __init__(self, options: Options, transport: Transport) -> None:
        super().__init__(options, transport)
        self._isolate_cache = options.isolate_cache

    def body(self, request: Request) -> Mapping[str, Any]:
        body = {**super().body(request), **extras_of(request)}
        if self._isolate_cache and request.tenant:
            body["cache_salt"] = salt(request.tenant, str(body.get("cache_salt", "")))
        return body

    async def load(self) -> Load | None:
        await self._ready()
        status, _, body = await self.get(f"{self._root}/metrics")
        return load_of(body) if status == 200 else None

    async def count_tokens(self, request: Request) -> int:
        body = {name: value for name, value in self.body(request).items() if name in TOKENIZED}
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


def extras_of(request: Request) -> dict[str, Any]:
    """Those of the request's extras that it has a place for."""
    extras = {name: value for name, value in request.extras.items() if name in EXTRAS}
    guides = {GUIDED[name]: value for name, value in extras.items() if name in GUIDED}
    if guides and "structured_outputs" not in extras:
        # From 0.12 on it passes over the older names in silence, and before 0.11 over the newer one: both are said.
        extras["structured_outputs"] = guides
    return extras


def salt(tenant: str, theirs: str) -> str:
    """What separates the cached prompts of one tenant from those of others; the same on each gateway.

    `theirs`, the salt that the request had, divides them further, and cannot reach another tenant's.
    """
    return sha256(f"streamlane cache salt {tenant} {theirs}".encode()).hexdigest()


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
