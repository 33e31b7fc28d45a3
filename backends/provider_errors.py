"""Chat completions: the error that an answer means, where a provider says it in words of its own. Pure.

One small rule per provider. All are asked, whoever answered, because the same words come through other addresses: a
gateway in between, a base_url without a preset. What no rule knows, chat_errors.py tells.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from backends import chat_errors, durations, gemini_errors
from backends.chat_errors import (
    AXIS_WORDS,
    IN_STREAM,
    PARAMS,
    PER,
    amount,
    error_of,
    metric_of,
    on,
    retry_after,
    text_of,
)
from backends.errors import (
    AuthenticationFailed,
    BackendError,
    ContentFiltered,
    ContextLengthExceeded,
    InvalidRequest,
    ModelNotFound,
    Overloaded,
    QuotaExhausted,
    RateLimited,
    Scope,
    ServerFailed,
    UnsupportedFeature,
)
from backends.json import JsonError, loads
from backends.limits import Per, Refused, spoken

AXIS = re.compile(  # Groq, and OpenAI, whose words are nearly the same
    rf"on {AXIS_WORDS}\w*\b[^:]{{0,12}}: Limit (?P<limit>\d{{1,12}})"
    r"(?:, Used (?P<used>\d{1,12}))?(?:, Requested ~?(?P<requested>\d{1,12}))?"
)
BUCKET = re.compile(AXIS_WORDS, re.IGNORECASE)  # Cerebras
AGAIN = re.compile(r"try again in ([\d.]{1,16}[a-zµ\d.]{0,24}[a-z])\b")
CLOUDFLARE_ABSENT = {3042, 5007}
CLOUDFLARE_SPENT = {3036, 4006}
CLOUDFLARE_SHARE = re.compile(r"daily free allocation(?: of (?P<limit>[\d,]{1,15}) neurons)?")
SECONDS: dict[str, Per] = {"60": "minute", "3600": "hour", "86400": "day"}  # SambaNova
XAI_PARAMS = {
    "presencePenalty": "presence_penalty",
    "frequencyPenalty": "frequency_penalty",
    "stop": "stop",
    "logprobs": "top_logprobs",
}


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer that is an error. `status` None: it came inside a 200, and names none itself. `now` is Unix time."""

    status: int | None
    headers: Mapping[str, str]
    value: Any
    model: str
    now: float

    @property
    def error(self) -> Mapping[str, Any]:
        return error_of(self.value) or {}

    @property
    def message(self) -> str:
        return text_of(self.error)

    @property
    def code(self) -> str:
        return str(self.error.get("code") or "")

    @property
    def type(self) -> str:
        return str(self.error.get("type") or "")

    @property
    def wait(self) -> float | None:
        return retry_after(self.headers, self.now)

    def header(self, name: str) -> int | None:
        """The whole number that a header is."""
        text = self.headers.get(name, "")
        return int(text) if re.fullmatch(r"\d{1,15}", text, re.ASCII) else None

    def reset(self, *names: str) -> float | None:
        """Seconds to what the first of these headers says that is there and means anything."""
        waits = (durations.wait(self.headers.get(name, ""), self.now) for name in names)
        return next((each for each in waits if each is not None), None)


def classify(
    status: int | None, headers: Mapping[str, str], body: bytes, *, model: str = "", now: float = 0.0
) -> BackendError:
    """The error that an answer means. `status` None: it came inside a 200. `now` is Unix time, for dates in headers.

    The body's words only choose the error; none of them enters it, but numbers of tokens and names of our own fields.
    """
    try:
        value = loads(body)
    except JsonError:
        return chat_errors.classify(status, headers, body, model=model, now=now)
    code = str((error_of(value) or {}).get("code") or "")
    known = int(code) if status is None and code in IN_STREAM else status
    answer = Answer(known, headers, value, model, now)
    for rule in RULES:
        if (found := rule(answer)) is not None:
            return found
    if str(answer.error.get("status") or "") in gemini_errors.STATUSES:  # Gemini's compatible endpoint
        return gemini_errors.classify(status, headers, body, model=model, now=now)
    return chat_errors.classify(status, headers, body, model=model, now=now)


def openrouter(answer: Answer) -> BackendError | None:
    """openrouter.ai/docs/api/reference/errors-and-debugging and /limits.

    `limit_source` says whose limit it was; without it the provider behind is meant, and so only this model.
    """
    metadata = answer.error.get("metadata")
    if not isinstance(metadata, dict):
        metadata = {}
        if "free-models-per-" not in answer.message:
            return None
    if isinstance(inner := metadata.get("headers"), dict):
        headers = {str(name).lower(): str(value) for name, value in inner.items()}
        answer = replace(answer, headers={**answer.headers, **headers})
    source = str(metadata.get("limit_source") or "")
    match answer.status:
        case 402 if answer.wait is None:
            return QuotaExhausted(None, Scope.KEY if source == "openrouter_key_limit" else Scope.ACCOUNT)
        case 402 | 429:  # 402: its spending in flight, which ends by itself
            return openrouter_limit(answer, source)
        case 403 if "reasons" in metadata or "flagged_input" in metadata:
            return ContentFiltered()
        case 502:  # the provider behind it
            return of_this_model(ServerFailed(502))
        case 503:  # none that would do
            return of_this_model(Overloaded(answer.wait))
    return None


def openrouter_limit(answer: Answer, source: str) -> BackendError:
    """The free models have a limit per day, to 00:00 UTC, and one per minute, both the account's."""
    free = re.search(r"free-models-per-(day|min)", answer.message)
    reset = answer.reset("x-ratelimit-reset")
    limit, left = answer.header("x-ratelimit-limit"), answer.header("x-ratelimit-remaining")
    used = None if limit is None or left is None else max(0, limit - left)
    error: BackendError
    if source == "openrouter_free_tier_daily" or (free and free[1] == "day"):
        error = QuotaExhausted(durations.until_utc_midnight(answer.now) if reset is None else reset)
        on(error, Refused("requests", "day", limit, used, account=True))
    elif free:
        known = (each for each in (answer.wait, reset, 60.0) if each is not None)
        error = on(RateLimited(next(known), Scope.ACCOUNT), Refused("requests", "minute", limit, used, account=True))
    else:
        error = RateLimited(answer.wait, Scope.ACCOUNT if source.startswith("openrouter") else Scope.MODEL)
    error.limits = spoken(answer.headers)  # some of them came in the body
    return error


def groq(answer: Answer) -> BackendError | None:
    """console.groq.com/docs/rate-limits: the text names the axis, and when what was used has come back."""
    if answer.code == "tool_use_failed":  # the model wrote a call that is none; it may do better
        return of_this_model(ServerFailed(answer.status))
    found = AXIS.search(answer.message)
    if found is None or answer.status not in {None, 413, 429}:
        return None
    per = PER[found["per"][:3]]
    refused = Refused(metric_of(found["axis"]), per, int(found["limit"]), amount(found["used"]))
    if answer.status == 413 or "request too large" in answer.message.lower():
        requested = found["requested"]
        needs = int(requested) if requested else None
        return on(ContextLengthExceeded(needs, int(found["limit"]), per_minute=True), refused)
    again = AGAIN.search(answer.message)
    wait = answer.wait
    if wait is None and again:
        wait = durations.wait(again[1], answer.now)
    return on((QuotaExhausted if per == "day" else RateLimited)(wait, Scope.MODEL), refused)


def cloudflare(answer: Answer) -> BackendError | None:
    """developers.cloudflare.com/workers-ai/platform/errors: what counts is a code of its own, or the text's first word.

    The daily allocation is the account's, and is renewed at 00:00 UTC.
    """
    errors = answer.value.get("errors") if isinstance(answer.value, dict) else None
    listed = [each for each in errors if isinstance(each, dict)] if isinstance(errors, list) else [answer.error]
    texts = [str(each.get("message") or "") for each in listed]
    codes = {each.get("code") for each in listed if type(each.get("code")) is int}
    codes |= {int(text[:4]) for text in texts if re.match(r"\d{4}: ", text, re.ASCII)}
    share = next(filter(None, map(CLOUDFLARE_SHARE.search, texts)), None)
    if codes & CLOUDFLARE_SPENT or share:
        limit = amount(share["limit"]) if share else None
        error = QuotaExhausted(durations.until_utc_midnight(answer.now))
        return on(error, Refused("neurons", "day", limit, account=True))
    if 3040 in codes:
        return of_this_model(Overloaded(answer.wait))
    return ModelNotFound(answer.model) if codes & CLOUDFLARE_ABSENT and isinstance(errors, list) else None


def mistral(answer: Answer) -> BackendError | None:
    """One type for every limit: what is left of the month's tokens tells which. Unknown fields are a list of faults."""
    if answer.type == "rate_limited" or answer.code == "1300":
        if answer.header("x-ratelimit-remaining-tokens-month") == 0:
            month = Refused("tokens", "month", answer.header("x-ratelimit-limit-tokens-month"), account=True)
            return on(QuotaExhausted(answer.reset("x-ratelimit-reset-tokens-month")), month)
        return on(RateLimited(answer.wait), mistral_minute(answer))
    if answer.code == "3505" or "service tier capacity exceeded" in answer.message.lower():
        return of_this_model(Overloaded(answer.wait))
    if answer.status != 422:
        return None
    message = answer.error.get("message")
    faults = message.get("detail") if isinstance(message, dict) else message
    places = [each.get("loc") for each in faults if isinstance(each, dict)] if isinstance(faults, list) else []
    fields = [str(place[1]) for place in places if isinstance(place, list) and len(place) > 1]
    if fields and fields[0] in {"input", "inputs"}:  # embeddings
        return UnsupportedFeature("token ids in place of texts", "input")
    return InvalidRequest(422, PARAMS.get(fields[0])) if fields else None


def mistral_minute(answer: Answer) -> Refused | None:
    """What of the minute's is at its end, where a header says so."""
    for axis in ("req", "tokens"):
        if answer.header(f"x-ratelimit-remaining-{axis}-minute") == 0:
            limit = answer.header(f"x-ratelimit-limit-{axis}-minute")
            return Refused("requests" if axis == "req" else "tokens", "minute", limit)
    return None


def cerebras(answer: Answer) -> BackendError | None:
    """inference-docs.cerebras.ai/support/rate-limits: the text names the bucket; a queue that is full is another."""
    if answer.code == "queue_exceeded":
        return of_this_model(Overloaded(answer.wait))
    if answer.code not in {"request_quota_exceeded", "token_quota_exceeded"}:
        return None
    axis = "requests" if answer.code.startswith("request") else "tokens"
    refused, per = None, None
    if found := BUCKET.search(answer.message):
        per = PER[found["per"][:3].lower()]
        refused = Refused(metric_of(found["axis"]), per, answer.header(f"x-ratelimit-limit-{axis}-{per}"))
    if per in {"day", "hour"}:
        reset = answer.reset(f"x-ratelimit-reset-{axis}-{per}") if answer.wait is None else answer.wait
        return on(QuotaExhausted(reset, Scope.MODEL), refused)
    return on(RateLimited(answer.reset("retry-after", f"x-ratelimit-reset-{axis}-minute")), refused)


def nvidia(answer: Answer) -> BackendError | None:
    """A problem in RFC 9457's shape, without an error object: {"status": 404, "title": …, "detail": …}."""
    value = answer.value
    if not isinstance(value, dict) or not isinstance(value.get("title"), str) or answer.error:
        return None
    detail = str(value.get("detail") or "")
    return ModelNotFound(answer.model) if answer.status == 404 and "Function" in detail else None


def sambanova(answer: Answer) -> BackendError | None:
    """docs.sambanova.ai, rate limits: the window is in the text, in seconds; a header says when a day's is renewed."""
    found = re.search(r"duration_s: (60|3600|86400)\b", answer.message)
    if answer.status != 429 or found is None:
        return None
    refused = Refused(per=SECONDS[found[1]])
    if refused.per == "day":
        return on(QuotaExhausted(answer.reset("retry-after", "x-ratelimit-reset-requests-day"), Scope.MODEL), refused)
    return on(RateLimited(answer.wait), refused)


def xai(answer: Answer) -> BackendError | None:
    """{"code": a sentence, "error": a text}: a wrong key comes as a 400, and a spent account as a 403 or a 429."""
    if "used all available credits" in answer.message or "reached its monthly spending limit" in answer.message:
        return QuotaExhausted()
    if answer.status != 400:
        return None
    if answer.message.startswith("Incorrect API key provided"):
        return AuthenticationFailed(401)
    refused = re.search(r"(?:not supported on this model: |does not support parameter )(\w{1,40})", answer.message)
    if refused is None:
        return None
    if refused[1] in {"reasoningEffort", "reasoning_effort"}:
        return UnsupportedFeature("a reasoning effort", "reasoning.effort")
    return InvalidRequest(400, XAI_PARAMS.get(refused[1]))


def together(answer: Answer) -> BackendError | None:
    """docs.together.ai/docs/error-codes: a prompt that is too long is a 403 there; a header says when a limit ends."""
    if answer.status == 403 and re.search(r"max_(?:new_)?tokens", answer.message) and "context" in answer.message:
        return ContextLengthExceeded()
    if answer.status != 429 or {answer.code, answer.type} & chat_errors.SPENT_CODES:
        return None
    reset = answer.reset("retry-after", "x-ratelimit-reset")
    return None if reset is None else RateLimited(reset)


def huggingface(answer: Answer) -> BackendError | None:
    """huggingface.co/docs/inference-providers/pricing: the month's credit is the account's, in money."""
    if answer.status != 402 or "monthly included credits" not in answer.message:
        return None
    return on(QuotaExhausted(answer.wait), Refused("usd_micros", "month", account=True))


RULES: tuple[Callable[[Answer], BackendError | None], ...] = (
    openrouter,
    groq,
    cloudflare,
    mistral,
    cerebras,
    nvidia,
    sambanova,
    xai,
    together,
    huggingface,
)


def of_this_model(error: BackendError) -> BackendError:
    """The same, when only this model is concerned: others of the provider may answer."""
    error.scope = Scope.MODEL
    return error
