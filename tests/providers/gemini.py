"""Google's Gemini API, in front of a fake model: models, answers streamed and whole, token counts, embeddings.

Sources: ai.google.dev/api, /gemini-api/docs/troubleshooting and /rate-limits, and bodies that users posted, 2025-2026.
"""

from collections.abc import Mapping
from typing import Any, ClassVar

from aiohttp import web

from backends.errors import BackendError, ContextLengthExceeded, ModelNotFound
from backends.fake import FakeBackend
from backends.json import dumps, loads
from backends.request import EmbeddingRequest
from tests.providers.base import Fault, Provider, Refusal
from tests.providers.gemini_words import OVERLOADED, BadRequest, Messages, Whole, request_of

RPC = "type.googleapis.com/google.rpc."
QUOTA = (
    "You exceeded your current quota, please check your plan and billing details. For more information on this error, "
    "head to: https://ai.google.dev/gemini-api/docs/rate-limits. \n* Quota exceeded for metric: "
    "generativelanguage.googleapis.com/generate_content_free_tier_requests, limit: {limit}, model: {model}\n"
    "Please retry in 36.43s."
)
REFUSALS: Mapping[Refusal, tuple[int, str, str]] = {  # status, its name, message
    "rate_limited": (429, "RESOURCE_EXHAUSTED", QUOTA),
    "spent": (429, "RESOURCE_EXHAUSTED", QUOTA),
    "overloaded": (503, "UNAVAILABLE", OVERLOADED),
    "server_error": (500, "INTERNAL", "An internal error has occurred. Please retry."),
    "context_overflow": (
        400,
        "INVALID_ARGUMENT",
        "The input token count ({prompt}) exceeds the maximum number of tokens allowed ({context}).",
    ),
    "prefill_refused": (
        400,
        "INVALID_ARGUMENT",
        "Please ensure that single turn requests end with a user role or the role field is empty.",
    ),
    "bad_key": (400, "INVALID_ARGUMENT", "API key not valid. Please pass a valid API key."),
    "unknown_model": (
        404,
        "NOT_FOUND",
        "models/{model} is not found for API version v1beta, or is not supported for generateContent.",
    ),
}
UNREGISTERED = "Method doesn't allow unregistered callers (callers without established identity)."


class Gemini(Provider):
    """One such server, which knows one key. It lists `page` models at once."""

    prefix: ClassVar[str] = "/v1beta"
    key: ClassVar[str] = "AIzaSyProvider-0123456789"
    path: ClassVar[str] = "/v1beta/models"
    page = 1

    def __init__(self, behind: FakeBackend) -> None:
        super().__init__(behind)
        self.embedded: list[Any] = []  # bodies of requests for vectors

    def routes(self) -> list[web.RouteDef]:
        return [web.get(self.path, self.models), web.post(f"{self.path}/{{model:[^:]+}}:{{method}}", self.ask)]

    def refusal(self, kind: Refusal, fault: Fault, error: BackendError | None) -> tuple[int, Any]:
        if kind == "content_filter":  # it is an answer, and it is the prompt's
            return 200, {
                "promptFeedback": {"blockReason": "PROHIBITED_CONTENT"},
                "usageMetadata": {"promptTokenCount": 5, "totalTokenCount": 5},
                "modelVersion": "fake",
            }
        status, name, words = REFUSALS[kind]
        numbers = {"context": 512, "prompt": 600, "model": "no-such-model", "limit": 20}
        if isinstance(error, ContextLengthExceeded):
            numbers |= {"context": error.context, "prompt": error.prompt_tokens}
        if isinstance(error, ModelNotFound):
            numbers["model"] = error.model
        return status, problem(status, name, words.format(**numbers), self.details(kind, fault))

    def details(self, kind: Refusal, fault: Fault) -> list[Any]:
        """What google.rpc has to say besides. The delay is there, and short, even where a day is spent."""
        if kind == "bad_key":
            more = {"domain": "googleapis.com", "metadata": {"service": "generativelanguage.googleapis.com"}}
            return [{"@type": f"{RPC}ErrorInfo", "reason": "API_KEY_INVALID", **more}]
        if kind not in {"rate_limited", "spent"}:
            return []
        window = "Minute" if kind == "rate_limited" else "Day"
        violation = {
            "quotaMetric": "generativelanguage.googleapis.com/generate_content_free_tier_requests",
            "quotaId": f"GenerateRequestsPer{window}PerProjectPerModel-FreeTier",
            "quotaDimensions": {"location": "global", "model": "fake"},
            "quotaValue": "20",
        }
        found: list[Any] = [
            {"@type": f"{RPC}Help", "links": [{"description": "Learn more", "url": "https://ai.google.dev/"}]},
            {"@type": f"{RPC}QuotaFailure", "violations": [violation]},
        ]
        if kind == "spent" or fault.retry_after is not None:
            found.append({"@type": f"{RPC}RetryInfo", "retryDelay": f"{fault.retry_after or 36:g}s"})
        return found

    def refused(self, kind: Refusal, fault: Fault, error: BackendError | None) -> web.Response:
        status, body = self.refusal(kind, fault, error)  # no retry-after: Google says it in the body
        return web.json_response(body, status=status)

    def unwelcome(self, request: web.Request) -> web.Response | None:
        key = request.headers.get("x-goog-api-key")
        if key == self.key:
            return None
        if key is None:
            return web.json_response(problem(403, "PERMISSION_DENIED", UNREGISTERED), status=403)
        return self.refused("bad_key", Fault("bad_key"), None)

    async def models(self, request: web.Request) -> web.StreamResponse:
        if refused := self.unwelcome(request):
            return refused
        start, size = int(request.query.get("pageToken") or 0), int(request.query.get("pageSize") or 50)
        served = [
            {
                "name": f"models/{model.id}",
                "version": "001",
                "displayName": model.id,
                "inputTokenLimit": model.context,
                "outputTokenLimit": 65536,
                "supportedGenerationMethods": ["generateContent", "countTokens", "embedContent"],
                "thinking": True,
            }
            for model in await self.behind.models()
        ]
        end = start + min(size, self.page)
        more = {"nextPageToken": str(end)} if end < len(served) else {}
        return web.json_response({"models": served[start:end], **more})

    async def ask(self, request: web.Request) -> web.StreamResponse:
        if refused := self.unwelcome(request):
            return refused
        body = loads(await request.read())
        model, method = request.match_info["model"], request.match_info["method"]
        try:
            return await self.method(request, model, method, body)
        except BadRequest as error:
            return web.json_response(problem(400, "INVALID_ARGUMENT", str(error)), status=400)
        except ModelNotFound as error:
            return self.refused("unknown_model", Fault("unknown_model"), error)

    async def method(self, request: web.Request, model: str, method: str, body: Any) -> web.StreamResponse:
        ids = "gemini-2" not in model  # before generation 3, calls have none
        match method:
            case "streamGenerateContent":
                assert request.query["alt"] == "sse"  # else it would be a list, piece by piece
                return await self.answer(request, body, request_of(model, body), Messages(model, ids=ids))
            case "generateContent":
                return await self.answer(request, body, request_of(model, body), Whole(model, ids=ids))
            case "countTokens":
                asked = body.get("generateContentRequest", body)
                assert asked.get("model", f"models/{model}") == f"models/{model}"
                asked = {name: value for name, value in asked.items() if name != "model"}
                tokens = await self.behind.count_tokens(request_of(model, asked, strict=False))
                return web.json_response({"totalTokens": tokens})
            case "batchEmbedContents":
                return await self.embeddings(model, body)
        return web.Response(status=404, text="<!DOCTYPE html><html lang=en><title>Error 404 (Not Found)!!1</title>")

    async def embeddings(self, model: str, body: Any) -> web.StreamResponse:
        self.embedded.append(body)
        if len(body["requests"]) > 100:
            raise BadRequest("* BatchEmbedContentsRequest.requests: at most 100 requests can be in one batch")
        assert {each["model"] for each in body["requests"]} == {f"models/{model}"}
        texts = tuple(each["content"]["parts"][0]["text"] for each in body["requests"])
        size = body["requests"][0].get("outputDimensionality")
        found = await self.behind.embed(EmbeddingRequest(model, texts, size))
        answer: dict[str, Any] = {"embeddings": [{"values": list(vector)} for vector in found.vectors]}
        answer["usageMetadata"] = {"promptTokenCount": found.input_tokens}
        return web.json_response(answer, dumps=lambda value: dumps(value).decode())


def problem(status: int, name: str, message: str, details: list[Any] | None = None) -> dict[str, Any]:
    error: dict[str, Any] = {"code": status, "message": message, "status": name}
    return {"error": error | ({"details": details} if details else {})}
