"""Five providers that only look like the real ones: their paths, headers and refusals, their way of counting, no model.

The numbers are smaller than the real ones, so that people who send a few requests a second spend them in a day of a
minute. Sources: each provider's pages and the answers that users have posted, November 2026; docs/free-tiers.md says
what is known of the real ones.
"""

from __future__ import annotations

import json
import math
import random
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any, ClassVar, Literal

from aiohttp import web
from day import LENGTH, Day
from limits import Bucket, Daily, Limit, Rolling

SHORTEST, LONGEST = 0.05, 0.9  # of the longest answer that was asked for
Counts = Literal["requests", "reserved", "tokens", "neurons"]
NEURONS = (31.818, 68.182)  # per thousand tokens of input and output: Cloudflare's price of gpt-oss-120b


@dataclass
class Pool:
    """One limit. Requests count when they arrive; so do "reserved" tokens, as if the answer were the longest one, and
    what was not said is given back; tokens and neurons count when the answer has ended.
    """

    name: str
    limit: Limit
    counts: Counts
    scale: int = 1  # of the limit's unit: neurons are counted in thousandths
    samples: list[tuple[float, float]] = field(default_factory=list)
    most: float = 0.0

    def arrival(self, prompt: int, longest: int) -> int:
        return {"requests": 1, "reserved": prompt + longest}.get(self.counts, 0)

    def end(self, prompt: int, longest: int, output: int) -> int:
        match self.counts:
            case "reserved":
                return output - longest
            case "tokens":
                return prompt + output
            case "neurons":
                return round(prompt * NEURONS[0] + output * NEURONS[1])
        return 0

    def take(self, now: float, amount: int) -> None:
        if amount:
            self.limit.take(now, amount)
        self.sample(now)

    def sample(self, now: float) -> None:
        used = self.limit.used(now)
        self.most = max(self.most, used)
        self.samples.append((now, round(used / self.scale, 3)))

    def left(self, now: float) -> int:
        return max(0, math.floor(self.limit.cap - self.limit.used(now)))


class Provider(ABC):
    """One of them, OpenAI-compatible where nothing else is said. `refuses` tells how it says no."""

    name: ClassVar[str]
    prefix: ClassVar[str] = "/v1"
    model: ClassVar[str]
    counts_refused: ClassVar[bool] = False  # a refused request costs what an answered one does

    def __init__(self, day: Day) -> None:
        self.day = day
        self.pools = self.made()
        self.answered = 0
        self.refused: list[float] = []
        self.dice = random.Random(self.name)  # the same answers each time

    @abstractmethod
    def made(self) -> list[Pool]:
        """Its limits, all of them there."""

    def routes(self) -> list[web.RouteDef]:
        return [web.get(f"{self.prefix}/models", self.models), web.post(f"{self.prefix}/chat/completions", self.chat)]

    def headers(self, now: float) -> dict[str, str]:
        """What each answer says of the limits."""
        return {}

    @abstractmethod
    def refuses(self, now: float, pool: Pool, opens: float, amount: int) -> tuple[dict[str, str], Any]:
        """Headers and body of a 429."""

    async def models(self, request: web.Request) -> web.Response:
        row = {"id": self.model, "object": "model", "created": 1, "owned_by": self.name}
        return web.json_response({"object": "list", "data": [row]})

    async def chat(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        longest = body.get("max_completion_tokens") or body.get("max_tokens") or 1024
        stream = bool(body.get("stream"))
        asked_usage = (body.get("stream_options") or {}).get("include_usage", False)

        def whole(words: list[str], usage: Mapping[str, int]) -> bytes:
            message = {"role": "assistant", "content": "".join(words)}
            choice = {"index": 0, "message": message, "finish_reason": "stop"}
            return json.dumps(self.completion("chat.completion", [choice]) | {"usage": usage}).encode()

        def piece(word: str) -> bytes:
            return sse(self.completion("chat.completion.chunk", [choice_of({"content": word})]))

        def last(usage: Mapping[str, int]) -> bytes:
            end = sse(self.completion("chat.completion.chunk", [choice_of({}, "stop")]))
            if asked_usage:
                end += sse(self.completion("chat.completion.chunk", []) | {"usage": usage})
            return end + b"data: [DONE]\n\n"

        return await self.answer(
            request, str(body["messages"]), longest, piece=piece, last=last, whole=None if stream else whole
        )

    def completion(self, kind: str, choices: list[Any]) -> dict[str, Any]:
        return {"id": "chatcmpl-1", "object": kind, "created": 1, "model": self.model, "choices": choices}

    async def answer(
        self,
        request: web.Request,
        prompt_text: str,
        longest: int,
        *,
        piece: Callable[[str], bytes],
        last: Callable[[Mapping[str, int]], bytes],
        whole: Callable[[list[str], Mapping[str, int]], bytes] | None,
    ) -> web.StreamResponse:
        """Count, and say so many words; or refuse."""
        now = self.day.now()
        prompt = max(1, len(prompt_text) // 4)
        for pool in self.pools:
            amount = max(1, pool.arrival(prompt, longest))
            if pool.left(now) < amount:
                self.refused.append(now)
                for each in self.pools:
                    if self.counts_refused and each.counts == "requests":
                        each.take(now, 1)
                headers, body = self.refuses(now, pool, pool.limit.opens(now, amount), amount)
                return web.json_response(body, status=429, headers=headers | self.dated(now))
        for pool in self.pools:
            pool.take(now, pool.arrival(prompt, longest))
        self.answered += 1
        output = self.dice.randint(math.ceil(longest * SHORTEST), math.ceil(longest * LONGEST))
        usage = {"prompt_tokens": prompt, "completion_tokens": output, "total_tokens": prompt + output}
        words = [f"word{'s' * (index % 3)} " for index in range(output)]
        headers = self.headers(now) | self.dated(now)
        response: web.StreamResponse
        if whole is not None:
            self.ended(prompt, longest, output)
            response = web.Response(body=whole(words, usage), headers=headers, content_type="application/json")
            return response
        response = web.StreamResponse(headers={"content-type": "text/event-stream"} | headers)
        await response.prepare(request)
        try:
            for start in range(0, output, 64):
                await response.write(piece("".join(words[start : start + 64])))
                await self.day.sleep(2)  # some 30 tokens a second
        finally:
            self.ended(prompt, longest, output)
        await response.write(last(usage))
        return response

    def ended(self, prompt: int, longest: int, output: int) -> None:
        for pool in self.pools:
            pool.take(self.day.now(), pool.end(prompt, longest, output))

    def dated(self, now: float) -> dict[str, str]:
        return {"date": format_datetime(datetime.fromtimestamp(now, UTC), usegmt=True)}


class Groq(Provider):
    """Token buckets for every window, the day too; prompt and longest answer count when a request arrives."""

    name, prefix, model = "groq", "/openai/v1", "openai/gpt-oss-120b"

    def made(self) -> list[Pool]:
        return [
            Pool("requests per minute", Bucket(30, 60), "requests"),
            Pool("requests per day", Bucket(200, LENGTH), "requests"),
            Pool("tokens per minute", Bucket(8_000, 60), "reserved"),
            Pool("tokens per day", Bucket(50_000, LENGTH), "reserved"),
        ]

    def headers(self, now: float) -> dict[str, str]:
        said = {}
        for axis, pool in (("requests", self.pools[1]), ("tokens", self.pools[2])):
            full = pool.limit.opens(now, pool.limit.cap) - now
            said[f"x-ratelimit-limit-{axis}"] = str(pool.limit.cap)
            said[f"x-ratelimit-remaining-{axis}"] = str(pool.left(now))
            said[f"x-ratelimit-reset-{axis}"] = go_duration(full)
        return said

    def refuses(self, now: float, pool: Pool, opens: float, amount: int) -> tuple[dict[str, str], Any]:
        axis, per = pool.name.split(" per ")
        words = (
            f"Rate limit reached for model `{self.model}` in organization `org_demo` service tier `on_demand` on "
            f"{pool.name} ({axis[0].upper()}P{per[0].upper()}): Limit {pool.limit.cap}, Used "
            f"{math.ceil(pool.limit.used(now))}, Requested {amount}. Please try again in {go_duration(opens - now)}. "
            "Need more tokens? Upgrade to Dev Tier today at https://console.groq.com/settings/billing"
        )
        headers = self.headers(now) | {"retry-after": str(math.ceil(opens - now))}
        return headers, {"error": {"message": words, "type": axis, "code": "rate_limit_exceeded"}}


class OpenRouter(Provider):
    """One day in UTC for all free models of an account; headers on refusals only, and a refused request counts."""

    name, prefix, model = "openrouter", "/api/v1", "openai/gpt-oss-20b:free"
    counts_refused = True

    def made(self) -> list[Pool]:
        return [
            Pool("requests per minute", Rolling(20, 60), "requests"),
            Pool("requests per day", Daily(100, "UTC"), "requests"),
        ]

    def refuses(self, now: float, pool: Pool, opens: float, amount: int) -> tuple[dict[str, str], Any]:
        per = pool.name.rpartition(" ")[2]
        said = {
            "X-RateLimit-Limit": str(pool.limit.cap),
            "X-RateLimit-Remaining": "0",
            "X-RateLimit-Reset": str(round(opens * 1000)),
        }
        words = f"Rate limit exceeded: free-models-per-{per[:3]}. "
        words += "Add 10 credits to unlock 1000 free model requests per day" if per == "day" else ""
        metadata = {"headers": said, "provider_name": None}
        if per == "day":
            metadata["limit_source"] = "openrouter_free_tier_daily"
        return said, {"error": {"message": words.strip(), "code": 429, "metadata": metadata}, "user_id": "user_demo"}


class Cloudflare(Provider):
    """A day of neurons in UTC: tokens weighted by the model's price. It says nothing of them before they are spent."""

    name, model = "cloudflare", "@cf/openai/gpt-oss-120b"
    prefix = "/client/v4/accounts/demo/ai/v1"

    def made(self) -> list[Pool]:
        return [
            Pool("requests per minute", Bucket(300, 60), "requests"),
            Pool("neurons per day", Daily(2_000_000, "UTC"), "neurons", scale=1000),
        ]

    def refuses(self, now: float, pool: Pool, opens: float, amount: int) -> tuple[dict[str, str], Any]:
        if pool.counts == "requests":
            errors = [{"message": "AiError: rate limited", "code": 3040}]
        else:
            words = (
                "AiError: AiError: you have used up your daily free allocation of 10,000 neurons, please upgrade to "
                "Cloudflare's Workers Paid plan if you would like to continue usage."
            )
            errors = [{"message": words, "code": 4006}]
        return {}, {"errors": errors, "success": False, "result": {}, "messages": []}


class Llm7(Provider):
    """No word about its limits: a rolling hour for requests, a rolling day for tokens."""

    name, model = "llm7", "gpt-oss:20b"

    def made(self) -> list[Pool]:
        return [
            Pool("requests per hour", Rolling(10, 3600), "requests"),
            Pool("tokens per day", Rolling(60_000, LENGTH), "tokens"),
        ]

    def refuses(self, now: float, pool: Pool, opens: float, amount: int) -> tuple[dict[str, str], Any]:
        words = "Rate limit exceeded. Please try again later."
        return {}, {"error": {"message": words, "type": "rate_limit_error", "code": "rate_limit_exceeded"}}


class Gemini(Provider):
    """Google's own API: a day of requests that begins at midnight in Los Angeles; what is wrong stands in the body."""

    name, prefix, model = "gemini", "/v1beta", "gemini-3.5-flash-lite"

    def made(self) -> list[Pool]:
        return [
            Pool("requests per minute", Rolling(15, 60), "requests"),
            Pool("requests per day", Daily(120, "America/Los_Angeles"), "requests"),
        ]

    def routes(self) -> list[web.RouteDef]:
        here = f"{self.prefix}/models"
        return [web.get(here, self.models), web.post(f"{here}/{{model:[^:]+}}:{{method}}", self.generate)]

    async def models(self, request: web.Request) -> web.Response:
        row = {
            "name": f"models/{self.model}",
            "version": "001",
            "displayName": self.model,
            "inputTokenLimit": 1048576,
            "outputTokenLimit": 65536,
            "supportedGenerationMethods": ["generateContent", "countTokens"],
        }
        return web.json_response({"models": [row]})

    async def generate(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        longest = (body.get("generationConfig") or {}).get("maxOutputTokens") or 1024

        def said(text: str, usage: Mapping[str, int] | None) -> dict[str, Any]:
            content = {"role": "model", "parts": [{"text": text}]}
            candidate: dict[str, Any] = {"content": content, "index": 0}
            message: dict[str, Any] = {"candidates": [candidate], "modelVersion": self.model, "responseId": "r1"}
            if usage is not None:
                candidate["finishReason"] = "STOP"
                message["usageMetadata"] = {
                    "promptTokenCount": usage["prompt_tokens"],
                    "candidatesTokenCount": usage["completion_tokens"],
                    "totalTokenCount": usage["total_tokens"],
                }
            return message

        def whole(words: list[str], usage: Mapping[str, int]) -> bytes:
            return json.dumps(said("".join(words), usage)).encode()

        stream = request.match_info["method"] == "streamGenerateContent"
        return await self.answer(
            request,
            str(body["contents"]),
            longest,
            piece=lambda word: sse(said(word, None), b"\r\n\r\n"),
            last=lambda usage: sse(said("", usage), b"\r\n\r\n"),
            whole=None if stream else whole,
        )

    def refuses(self, now: float, pool: Pool, opens: float, amount: int) -> tuple[dict[str, str], Any]:
        window = pool.name.rpartition(" ")[2].title()
        metric = "generativelanguage.googleapis.com/generate_content_free_tier_requests"
        delay = min(opens - now, 36.0)  # short even where the day is spent, as the real one has it
        words = (
            "You exceeded your current quota, please check your plan and billing details. For more information on this "
            "error, head to: https://ai.google.dev/gemini-api/docs/rate-limits. \n"
            f"* Quota exceeded for metric: {metric}, limit: {pool.limit.cap}, model: {self.model}\n"
            f"Please retry in {delay:.2f}s."
        )
        violation = {
            "quotaMetric": metric,
            "quotaId": f"GenerateRequestsPer{window}PerProjectPerModel-FreeTier",
            "quotaDimensions": {"location": "global", "model": self.model},
            "quotaValue": str(pool.limit.cap),
        }
        rpc = "type.googleapis.com/google.rpc."
        details = [
            {"@type": f"{rpc}QuotaFailure", "violations": [violation]},
            {"@type": f"{rpc}RetryInfo", "retryDelay": f"{math.ceil(delay)}s"},
        ]
        error = {"code": 429, "message": words, "status": "RESOURCE_EXHAUSTED", "details": details}
        return {}, {"error": error}


PROVIDERS: tuple[type[Provider], ...] = (Gemini, Groq, OpenRouter, Cloudflare, Llm7)


def choice_of(delta: Mapping[str, Any], reason: str | None = None) -> dict[str, Any]:
    return {"index": 0, "delta": delta, "finish_reason": reason}


def sse(message: Mapping[str, Any], end: bytes = b"\n\n") -> bytes:
    return b"data: " + json.dumps(message).encode() + end


def go_duration(seconds: float) -> str:
    """As Groq writes one: 9m38.016s, 2h3m4s, 7.66s, 120ms."""
    if seconds < 1:
        return f"{max(0, math.ceil(seconds * 1000))}ms"
    minutes, rest = divmod(math.ceil(seconds * 1000) / 1000, 60)
    hours, minutes = divmod(int(minutes), 60)
    said = f"{rest:.3f}".rstrip("0").rstrip(".") + "s"
    return (f"{hours}h" if hours else "") + (f"{minutes}m" if hours or minutes else "") + said
