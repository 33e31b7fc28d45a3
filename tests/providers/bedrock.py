"""A server that speaks Amazon Bedrock's Converse and InvokeModel as AWS documents them, and checks who signed.

Source: docs.aws.amazon.com/bedrock (API reference of the runtime and of the control plane, troubleshooting) and the
service models of botocore 1.44, read in November 2026.
"""

import re
from collections.abc import Mapping
from typing import Any, ClassVar

from aiohttp import web
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from backends.errors import BackendError, ContextLengthExceeded, ModelNotFound
from backends.events import (
    Citation,
    Event,
    Finished,
    ReasoningDelta,
    Signature,
    TextDelta,
    ToolCallDelta,
    ToolCallStart,
    Usage,
)
from backends.fake import FakeBackend, words_in
from backends.json import dumps, loads
from tests.providers import anthropic, anthropic_words
from tests.providers.base import Fault, Provider, Refusal, Writer
from tests.providers.bedrock_frames import Chunks, exception, frame
from tests.providers.bedrock_words import Refused, request_of

REGION = "us-east-1"
ACCESS, SECRET = "AKIDPROVIDER", "a-secret-of-the-provider"
REDACTED = "redacted."
VERSIONS = {  # of Messages, and what each takes
    "bedrock-2023-05-31": anthropic_words.MEMBERS,
    "2026-10-21": anthropic_words.MEMBERS - anthropic_words.SAMPLING,
}
REASONS = {"stop": "end_turn", "length": "max_tokens", "content_filter": "guardrail_intervened"}
SIGNED = re.compile(r"AWS4-HMAC-SHA256 Credential=([^/]+)/(\S+), SignedHeaders=(\S+), Signature=([0-9a-f]{64})")
ARN = f"arn:aws:bedrock:{REGION}::foundation-model/"
THEIRS = "The model returned the following errors: "
REFUSALS: Mapping[Refusal, tuple[int, str, str]] = {  # status, exception, message
    "rate_limited": (429, "ThrottlingException", "Too many requests, please wait before trying again."),
    "overloaded": (503, "ServiceUnavailableException", "Bedrock is unable to process your request."),
    "server_error": (500, "InternalServerException", "The system encountered an unexpected error."),
    "context_overflow": (
        400,
        "ValidationException",
        THEIRS + "prompt is too long: {prompt} tokens > {context} maximum",
    ),
    "content_filter": (400, "ValidationException", THEIRS + "Output blocked by content filtering policy"),
    "prefill_refused": (
        400,
        "ValidationException",
        THEIRS + "This model does not support assistant message prefill. "
        "The conversation must end with a user message.",
    ),
    "bad_key": (403, "UnrecognizedClientException", "The security token included in the request is invalid."),
    "unknown_model": (400, "ValidationException", "The provided model identifier is invalid."),
    "spent": (400, "ServiceQuotaExceededException", "Your request exceeds the service quota for your account."),
}


class Events(Writer):
    """A streamed answer: blocks, of which only calls begin by a message of their own."""

    def __init__(self) -> None:
        self._index, self._open, self._called = -1, "", False
        self._usage: Usage | None = None

    def begin(self) -> bytes:
        return said("messageStart", role="assistant")

    def event(self, event: Event) -> bytes:
        match event:
            case TextDelta(text):
                return self._delta("text", text=text)
            case ReasoningDelta(text):
                return self._delta("reasoning", reasoningContent={"text": text})
            case Signature(_, data) if data.startswith(REDACTED):
                hidden = self._delta("redacted", reasoningContent={"redactedContent": data.removeprefix(REDACTED)})
                return hidden + self._stop()
            case Signature(_, data):
                return self._delta("reasoning", reasoningContent={"signature": data}) + self._stop()
            case Citation():
                return self._delta("text", citation=located(event))
            case ToolCallStart(index, call_id, name):
                self._called = True
                start = {"toolUse": {"toolUseId": call_id, "name": name}}
                return self._in(f"call {index}") + said("contentBlockStart", contentBlockIndex=self._index, start=start)
            case ToolCallDelta(index, arguments):
                return self._delta(f"call {index}", toolUse={"input": arguments})
        return b""

    def finish(self, event: Finished) -> bytes:
        self._usage = event.usage
        return self._stop() + said("messageStop", stopReason=stop_reason(event, self._called))

    def done(self) -> bytes:
        return said("metadata", usage=counts(self._usage), metrics={"latencyMs": 5})

    def error(self) -> bytes:
        return exception("serviceUnavailableException", "Bedrock is unable to process your request.")

    def rubbish(self) -> bytes:
        return said("contentBlockDelta", contentBlockIndex=0, delta={"text": "?"})[:-1] + b"?"

    def _in(self, kind: str) -> bytes:
        """In a block of this kind: the one that is open, or a new one."""
        if self._open == kind:
            return b""
        last = self._stop()
        self._index, self._open = self._index + 1, kind
        return last

    def _delta(self, kind: str, **delta: Any) -> bytes:
        last = self._in(kind)
        return last + said("contentBlockDelta", contentBlockIndex=self._index, delta=delta)

    def _stop(self) -> bytes:
        if not self._open:
            return b""
        self._open = ""
        return said("contentBlockStop", contentBlockIndex=self._index)


class Whole(Writer):
    """An answer that is not streamed: only what the tests ask of it."""

    content_type: ClassVar[str] = "application/json"

    def __init__(self) -> None:
        self._text = ""
        self._calls: list[dict[str, Any]] = []

    def event(self, event: Event) -> bytes:
        match event:
            case TextDelta(text):
                self._text += text
            case ToolCallStart(_, call_id, name):
                self._calls.append({"toolUseId": call_id, "name": name, "input": ""})
            case ToolCallDelta(index, arguments):
                self._calls[index]["input"] += arguments
        return b""

    def finish(self, event: Finished) -> bytes:
        calls = [{"toolUse": call | {"input": loads(call["input"])}} for call in self._calls]
        content = ([{"text": self._text}] if self._text else []) + calls
        end = {"stopReason": stop_reason(event, bool(calls)), "usage": counts(event.usage), "metrics": {"latencyMs": 5}}
        return dumps({"output": {"message": {"role": "assistant", "content": content}}, **end})

    def error(self) -> bytes:
        return b"{}"


class Bedrock(Provider):
    """Bedrock's runtime and, on the same port, its control plane. It takes its API key, or a signature."""

    prefix = ""
    content_type = "application/vnd.amazon.eventstream"

    def __init__(self, behind: FakeBackend) -> None:
        super().__init__(behind)
        self.token: str | None = None  # the session token that has to come with the signature

    def routes(self) -> list[web.RouteDef]:
        return [
            web.post("/model/{model}/converse-stream", self.converse),
            web.post("/model/{model}/converse", self.converse),
            web.post("/model/{model}/invoke-with-response-stream", self.invoke),
            web.post("/model/{model}/invoke", self.invoke),
            web.post("/model/{model}/count-tokens", self.count_tokens),
            web.get("/foundation-models", self.foundation_models),
            web.get("/inference-profiles", self.inference_profiles),
        ]

    def refusal(self, kind: Refusal, fault: Fault, error: BackendError | None) -> tuple[int, Any]:
        status, name, words = REFUSALS[kind]
        numbers = {"context": 512, "prompt": 600}
        if isinstance(error, ContextLengthExceeded):
            numbers |= {"context": error.context, "prompt": error.prompt_tokens}
        return status, {"message": words.format(**numbers), "__type": name}

    def refused(self, kind: Refusal, fault: Fault, error: BackendError | None) -> web.Response:
        response = super().refused(kind, fault, error)
        response.headers["x-amzn-errortype"] = (
            f"{REFUSALS[kind][1]}:http://internal.amazon.com/coral/com.amazon.bedrock/"
        )
        return response

    async def converse(self, request: web.Request) -> web.StreamResponse:
        raw = await request.read()
        if not self.welcome(request, raw):
            return self.refused("bad_key", Fault("bad_key"), None)
        body = loads(raw)
        try:
            asked = request_of(request.match_info["model"], body)
        except Refused as error:
            return invalid(error)
        writer = Events() if request.path.endswith("-stream") else Whole()
        return await self.answer(request, body, asked, writer)

    async def invoke(self, request: web.Request) -> web.StreamResponse:
        """A Claude by the body of Messages: the model and whether it streams are in the path, the version inside."""
        raw = await request.read()
        if not self.welcome(request, raw):
            return self.refused("bad_key", Fault("bad_key"), None)
        body, model = loads(raw), request.match_info["model"]
        members = VERSIONS[body["anthropic_version"]] - {"model", "stream"}
        asked = {name: value for name, value in body.items() if name not in {"anthropic_version", "anthropic_beta"}}
        try:
            for name in asked.keys() - members:
                raise Refused(f"{name}: Extra inputs are not permitted")
            call = anthropic_words.request_of({**asked, "model": model}, members | {"model"})
        except Refused as error:
            return invalid(error)
        streamed = request.path.endswith("-stream")
        writer = Chunks(model, words_in(call)) if streamed else anthropic.Whole(model)
        return await self.answer(request, body, call, writer)

    async def count_tokens(self, request: web.Request) -> web.StreamResponse:
        raw = await request.read()
        if not self.welcome(request, raw):
            return self.refused("bad_key", Fault("bad_key"), None)
        converse = loads(raw)["input"]["converse"]
        try:
            asked = request_of(request.match_info["model"], converse | {"inferenceConfig": {"maxTokens": 1}})
            return web.json_response({"inputTokens": await self.behind.count_tokens(asked)})
        except Refused as error:
            return invalid(error)
        except ModelNotFound as error:
            return self.refused("unknown_model", Fault("unknown_model"), error)

    async def foundation_models(self, request: web.Request) -> web.StreamResponse:
        if not self.welcome(request, b""):
            return self.refused("bad_key", Fault("bad_key"), None)
        assert request.query["byOutputModality"] == "TEXT"
        first, *others = await self.behind.models()
        summaries = [summary(first.id, "ON_DEMAND"), *(summary(model.id, "INFERENCE_PROFILE") for model in others)]
        return web.json_response({"modelSummaries": summaries})

    async def inference_profiles(self, request: web.Request) -> web.StreamResponse:
        """One on a page."""
        if not self.welcome(request, b""):
            return self.refused("bad_key", Fault("bad_key"), None)
        others = list(await self.behind.models())[1:]
        at = int(request.query.get("nextToken", "0"))
        page = [
            {"inferenceProfileId": f"us.{model.id}", "status": "ACTIVE", "models": [{"modelArn": ARN + model.id}]}
            for model in others[at : at + 1]
        ]
        more = {"nextToken": str(at + 1)} if at + 1 < len(others) else {}
        return web.json_response({"inferenceProfileSummaries": page, **more})

    def welcome(self, request: web.Request, body: bytes) -> bool:
        """Whether it has the API key, or is signed with the secret."""
        given = request.headers.get("authorization", "")
        if (found := SIGNED.fullmatch(given)) is None:
            return given == f"Bearer {self.key}"
        access, scope, names, signature = found.groups()
        headers = {name: request.headers[name] for name in names.split(";") if name != "host"}
        assert scope == f"{headers['x-amz-date'][:8]}/{REGION}/bedrock/aws4_request"
        again = AWSRequest(request.method, f"http://{request.host}{request.raw_path}", headers, body)
        again.context["timestamp"] = headers["x-amz-date"]
        auth = SigV4Auth(Credentials(ACCESS, SECRET), "bedrock", REGION)
        expected = auth.signature(auth.string_to_sign(again, auth.canonical_request(again)), again)
        return (access, signature, headers.get("x-amz-security-token")) == (ACCESS, expected, self.token)


def invalid(error: Refused) -> web.Response:
    headers = {"x-amzn-errortype": "ValidationException:http://internal.amazon.com/coral/com.amazon.bedrock/"}
    return web.json_response({"message": str(error)}, status=400, headers=headers)


def summary(model: str, inference: str) -> dict[str, Any]:
    modalities = {"inputModalities": ["TEXT", "IMAGE"], "outputModalities": ["TEXT"]}
    names = {"modelId": model, "modelArn": ARN + model, "modelName": model, "providerName": "Fake"}
    return names | modalities | {"responseStreamingSupported": True, "inferenceTypesSupported": [inference]}


def located(event: Citation) -> dict[str, Any]:
    content = [{"text": event.text}]
    return {"title": event.title, "sourceContent": content, "location": {"web": {"url": event.source, "domain": "x"}}}


def stop_reason(event: Finished, called: bool) -> str:
    return "tool_use" if called and event.reason == "stop" else REASONS[event.reason]


def counts(usage: Usage | None) -> dict[str, int]:
    assert usage is not None
    fresh = usage.input_tokens - usage.cached_tokens
    total = usage.input_tokens + usage.output_tokens
    counted = {"inputTokens": fresh, "outputTokens": usage.output_tokens, "totalTokens": total}
    return counted | ({"cacheReadInputTokens": usage.cached_tokens} if usage.cached_tokens else {})


def said(name: str, **members: Any) -> bytes:
    """An event; `p` is there to hide its length, in all of them."""
    headers = {":event-type": name, ":content-type": "application/json", ":message-type": "event"}
    return frame(headers, dumps(members | {"p": "abcdefgh"}))
