"""What free providers say of limits: the headers of their answers, and their refusals, word for word.

Sources: console.groq.com/docs/rate-limits; inference-docs.cerebras.ai/support/rate-limits; docs.mistral.ai and issues
of its client; docs.cohere.com/docs/rate-limits; openrouter.ai/docs/api/reference/limits; ai.google.dev/gemini-api/docs
/rate-limits; docs.claude.com/en/api/rate-limits; developers.cloudflare.com/workers-ai/platform/errors;
docs.sambanova.ai; texts as users of these posted them. Read in November 2026.
"""

from collections.abc import Mapping
from typing import Any

from tests.providers.base import Said

DATE = "Sat, 21 Nov 2026 09:00:00 GMT"
GROQ_LIMIT = "Rate limit reached for model `m` in organization `org_1` service tier `on_demand` on "

HEADERS: Mapping[str, Mapping[str, str]] = {  # of an answer that is no refusal, by the catalog's provider
    "groq": {
        "x-ratelimit-limit-requests": "1000",
        "x-ratelimit-remaining-requests": "970",
        "x-ratelimit-reset-requests": "43m12s",
        "x-ratelimit-limit-tokens": "8000",
        "x-ratelimit-remaining-tokens": "7985",
        "x-ratelimit-reset-tokens": "112.5ms",
    },
    "openai": {
        "x-ratelimit-limit-requests": "5000",
        "x-ratelimit-remaining-requests": "4999",
        "x-ratelimit-reset-requests": "12ms",
        "x-ratelimit-limit-tokens": "30000",
        "x-ratelimit-remaining-tokens": "29000",
        "x-ratelimit-reset-tokens": "6m0s",
    },
    "mistral": {
        "x-ratelimit-limit-req-minute": "60",
        "x-ratelimit-remaining-req-minute": "59",
        "x-ratelimit-limit-tokens-minute": "500000",
        "x-ratelimit-remaining-tokens-minute": "499000",
        "x-ratelimit-limit-tokens-month": "1000000000",
        "x-ratelimit-remaining-tokens-month": "999000000",
        "x-ratelimit-tokens-query-cost": "32",
    },
    "cerebras": {
        "x-ratelimit-limit-requests-day": "14400",
        "x-ratelimit-remaining-requests-day": "14399",
        "x-ratelimit-reset-requests-day": "33011.382867",
        "x-ratelimit-limit-tokens-minute": "30000",
        "x-ratelimit-remaining-tokens-minute": "29900",
        "x-ratelimit-reset-tokens-minute": "11.382867",
    },
    "cohere": {
        "x-endpoint-monthly-call-limit": "1000",
        "x-trial-endpoint-call-limit": "20",
        "x-trial-endpoint-call-remaining": "7",
    },
    "anthropic": {
        "anthropic-ratelimit-requests-limit": "50",
        "anthropic-ratelimit-requests-remaining": "49",
        "anthropic-ratelimit-requests-reset": "2026-11-21T09:00:02Z",
        "anthropic-ratelimit-input-tokens-limit": "80000",
        "anthropic-ratelimit-input-tokens-remaining": "79000",
        "anthropic-ratelimit-input-tokens-reset": "2026-11-21T09:00:01Z",
    },
    "cloudflare": {"ratelimit": '"default";r=50;t=30', "ratelimit-policy": '"default";q=1200;w=300'},
    "sambanova": {
        "x-ratelimit-limit-requests": "20",
        "x-ratelimit-remaining-requests": "19",
        "x-ratelimit-reset-requests": "1795251660",
        "x-ratelimit-limit-requests-day": "20",
        "x-ratelimit-remaining-requests-day": "12",
        "x-ratelimit-reset-requests-day": "1795255300",
    },
}


def error(message: str, **more: Any) -> dict[str, Any]:
    return {"error": {"message": message, **more}}


def groq(words: str, status: int = 429) -> Said:
    kind = words.split(maxsplit=1)[0]
    return Said(status, error(GROQ_LIMIT + words, type=kind, code="rate_limit_exceeded"), HEADERS["groq"])


def trial(words: str) -> Said:
    return Said(429, {"id": "1", "message": f"You are using a Trial key, which is limited to {words}."})


def gemini(quota: str, value: str, delay: str) -> Said:
    failure = {"quotaMetric": "generativelanguage.googleapis.com/generate_content_free_tier_requests", "quotaId": quota}
    details: list[Any] = [{"@type": "type.googleapis.com/google.rpc.QuotaFailure", "violations": [failure]}]
    if value != "0":  # as JSON leaves it out
        failure["quotaValue"] = value
    details.append({"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": delay})
    words = f"You exceeded your current quota. \n* Quota exceeded for metric: x, limit: {value}, model: m"
    return Said(429, error(words, code=429, status="RESOURCE_EXHAUSTED", details=details))


def openrouter(words: str, limit: int, reset: int) -> dict[str, Any]:
    headers = {"X-RateLimit-Limit": str(limit), "X-RateLimit-Remaining": "0", "X-RateLimit-Reset": str(reset)}
    return error(f"Rate limit exceeded: {words}", code=429, metadata={"headers": headers})


MISTRAL = {"object": "error", "message": "Rate limit exceeded", "type": "rate_limited", "code": "1300"}
REFUSALS: Mapping[str, Mapping[str, Said]] = {
    "groq": {
        "TPM": groq("tokens per minute (TPM): Limit 8000, Used 7000, Requested 2000. Please try again in 7.5s."),
        "TPD": groq("tokens per day (TPD): Limit 200000, Used 199000, Requested 3000. Please try again in 14m24s."),
        "RPM": groq("requests per minute (RPM): Limit 30, Used 30, Requested 1. Please try again in 2s."),
        "RPD": groq("requests per day (RPD): Limit 1000, Used 1000, Requested 1. Please try again in 1m26.4s."),
        "too large": groq("tokens per minute (TPM): Limit 6000, Requested 9000, please reduce your message size", 413),
    },
    "mistral": {
        "minute": Said(429, MISTRAL, {"x-ratelimit-limit-req-minute": "60", "x-ratelimit-remaining-req-minute": "0"}),
        "month": Said(
            429,
            MISTRAL,
            {"x-ratelimit-limit-tokens-month": "1000000000", "x-ratelimit-remaining-tokens-month": "0"},
        ),
    },
    "openrouter": {
        "day": Said(429, openrouter("free-models-per-day", 50, 1795305600000)),
        "day in 200": Said(200, openrouter("free-models-per-day", 50, 1795305600000)),
        "minute": Said(429, openrouter("free-models-per-min.", 20, 1795251630000)),
    },
    "cerebras": {
        "minute": Said(
            429,
            {
                "message": "Tokens per minute limit exceeded - too many tokens processed.",
                "type": "too_many_tokens_error",
                "param": "quota",
                "code": "token_quota_exceeded",
            },
            HEADERS["cerebras"] | {"x-ratelimit-remaining-tokens-minute": "0"},
        ),
    },
    "cohere": {
        "minute": trial("20 API calls / minute"),
        "month": trial("1000 API calls / month"),
        "tokens": trial("100000 tokens per minute"),
    },
    "gemini": {
        "day": gemini("GenerateRequestsPerDayPerProjectPerModel-FreeTier", "20", "36s"),
        "minute": gemini("GenerateContentInputTokensPerModelPerMinute-FreeTier", "250000", "36s"),
        "not free": gemini("GenerateRequestsPerDayPerProjectPerModel-FreeTier", "0", "36s"),
    },
    "anthropic": {
        "minute": Said(
            429,
            {
                "type": "error",
                "error": {
                    "type": "rate_limit_error",
                    "message": "This request would exceed your organization's rate limit of 80,000 input tokens per "
                    "minute. For details, refer to: https://docs.claude.com/en/api/rate-limits.",
                },
            },
            HEADERS["anthropic"] | {"retry-after": "17", "anthropic-ratelimit-input-tokens-remaining": "0"},
        ),
    },
    "cloudflare": {
        "day": Said(
            429,
            {
                "errors": [
                    {
                        "message": "AiError: you have used up your daily free allocation of 10,000 neurons, please "
                        "upgrade to Cloudflare's Workers Paid plan if you would like to continue usage.",
                        "code": 3036,
                    }
                ],
                "success": False,
                "result": {},
                "messages": [],
            },
        ),
        "capacity": Said(
            429,
            {
                "errors": [{"message": "AiError: Capacity temporarily exceeded, please try again.", "code": 3040}],
                "success": False,
                "result": {},
                "messages": [],
            },
        ),
    },
    "sambanova": {
        "day": Said(
            429,
            error("Rate limit exceeded. Violated duration_s: 86400", code="rate_limit_exceeded"),
            HEADERS["sambanova"] | {"x-ratelimit-remaining-requests-day": "0"},
        ),
    },
    "nvidia": {"mute": Said(429, {"status": 429, "title": "Too Many Requests"})},
    "huggingface": {
        "month": Said(
            402,
            {"error": "You have exceeded your monthly included credits for Inference Providers. Subscribe to PRO."},
        )
    },
}
