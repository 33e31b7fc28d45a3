"""Azure OpenAI: chat completions of deployments, by the dated API and by /openai/v1, with what its filter says of them.

Source: learn.microsoft.com/azure/foundry/openai (reference, content filter, API lifecycle), read in November 2026.
"""

from collections.abc import Mapping
from typing import Any, ClassVar

from aiohttp import web

from backends.errors import BackendError
from backends.events import Event, Finished
from backends.json import loads
from tests.contract.chat_words import chat_choice, counts, raw_request_of, request_of
from tests.providers.base import Fault, Refusal, Writer
from tests.providers.chat import REFUSALS as CHAT
from tests.providers.chat import Chunks, Whole
from tests.providers.openai import Completions, OpenAI

SAFE = {name: {"filtered": False, "severity": "safe"} for name in ("hate", "self_harm", "sexual", "violence")}
VIOLENT = SAFE | {"violence": {"filtered": True, "severity": "high"}}
REFUSALS: Mapping[Refusal, tuple[int, str, str]] = {  # status, code, message
    "rate_limited": (429, "429", "Requests to the ChatCompletions_Create Operation have exceeded token rate limit."),
    "bad_key": (401, "401", "Access denied due to invalid subscription key or wrong API endpoint."),
    "unknown_model": (404, "DeploymentNotFound", "The API deployment for this resource does not exist."),
}


class Filtered(Chunks):
    """A streamed completion: what the filter says of the prompt comes first, in a chunk without choices."""

    def begin(self) -> bytes:
        verdict = [{"prompt_index": 0, "content_filter_results": SAFE}]
        return self.chunk([], prompt_filter_results=verdict) + super().begin()

    def event(self, event: Event) -> bytes:
        said = chat_choice(event)
        return self.chunk([said | {"content_filter_results": SAFE}]) if said["delta"] else b""

    def finish(self, event: Finished) -> bytes:
        found = VIOLENT if event.reason == "content_filter" else {}
        last = self.chunk([chat_choice(event) | {"content_filter_results": found}])
        return last + self.chunk([], usage=counts(event.usage)) if self._include_usage else last


class AzureOpenAI(OpenAI):
    """One resource. Its deployments have the names of the models behind it, and `token` is one of Microsoft Entra."""

    prefix: ClassVar[str] = ""
    token: ClassVar[str] = "eyJ0eXAiOiJKV1Qi.eyJhdWQi.c2ln"

    def routes(self) -> list[web.RouteDef]:
        dated, v1 = "/openai/deployments/{deployment}", "/openai/v1"
        return [
            web.get("/openai/models", self.catalog),
            web.get(f"{v1}/models", self.catalog),
            *(
                web.post(f"{base}{path}", answer)
                for base in (dated, v1)
                for path, answer in (
                    ("/chat/completions", self.chat),
                    ("/completions", self.completions),
                    ("/embeddings", self.embeddings),
                )
            ),
        ]

    def refusal(self, kind: Refusal, fault: Fault, error: BackendError | None) -> tuple[int, Any]:
        if kind in REFUSALS:
            status, code, words = REFUSALS[kind]
            return status, {"error": {"code": code, "message": words}}
        if kind == "content_filter":
            status, _, code, words = CHAT[kind]
            inner = {"code": "ResponsibleAIPolicyViolation", "content_filter_result": VIOLENT}
            said = {"message": words, "type": None, "param": "prompt", "code": code, "status": 400}
            return status, {"error": said | {"innererror": inner}}
        return super().refusal(kind, fault, error)

    async def catalog(self, request: web.Request) -> web.StreamResponse:
        """The models of the resource, deployed or not."""
        if not self.welcome(request):
            return self.refused("bad_key", Fault("bad_key"), None)
        able = {
            "fine_tune": False,
            "inference": True,
            "completion": False,
            "chat_completion": True,
            "embeddings": False,
        }
        served = [
            {
                "id": model.id,
                "object": "model",
                "status": "succeeded",
                "capabilities": able,
                "context_length": model.context,
            }
            for model in await self.behind.models()
        ]
        deaf = {"id": "whisper-001", "object": "model", "capabilities": able | {"chat_completion": False}}
        return web.json_response({"object": "list", "data": [*served, deaf]})

    async def chat(self, request: web.Request) -> web.StreamResponse:
        body = await self.read(request)
        if body is None:
            return self.refused("bad_key", Fault("bad_key"), None)
        writer: Writer = Whole(body["model"])
        if body.get("stream"):
            writer = Filtered(body["model"], body.get("stream_options", {}).get("include_usage", False))
        most = body.get("max_completion_tokens", body.get("max_tokens", 100))
        return await self.answer(request, body, request_of(body | {"max_tokens": most}), writer)

    async def completions(self, request: web.Request) -> web.StreamResponse:
        body = await self.read(request)
        if body is None:
            return self.refused("bad_key", Fault("bad_key"), None)
        return await self.answer(request, body, raw_request_of(body), Completions(body["model"], True))

    async def read(self, request: web.Request) -> dict[str, Any] | None:
        """The body, with the deployment for a model; None where the key is wrong."""
        body: dict[str, Any] = loads(await request.read())
        return (
            body | {"model": request.match_info.get("deployment", body.get("model"))} if self.welcome(request) else None
        )

    def welcome(self, request: web.Request) -> bool:
        if "/openai/v1/" not in request.path and "api-version" not in request.query:
            raise web.HTTPNotFound  # {"error":{"code":"404","message":"Resource not found"}}
        given = request.headers.get("api-key"), request.headers.get("authorization")
        return not self.keyed or given in {(self.key, None), (None, f"Bearer {self.token}")}
