"""A server that speaks chat completions, in front of a fake model: what a real one would send, without its weights.

It speaks as OpenAI does, or in the words of vLLM or LocalAI, with their paths besides.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Literal, TypeAlias

from aiohttp import web

from backends.errors import BackendError, ContextLengthExceeded, ModelNotFound
from backends.events import Finished, TextDelta
from backends.fake import FakeBackend
from backends.json import dumps, loads
from backends.request import Request, said

Dialect: TypeAlias = Literal["openai", "vllm", "localai"]
METRICS = "vllm:num_requests_running {}\nvllm:num_requests_waiting 0\nvllm:kv_cache_usage_perc 0.5\n"


def request_of(body: dict[str, Any]) -> Request:
    messages = tuple(said(message["role"], message["content"]) for message in body["messages"])
    return Request(body["model"], messages, body["max_tokens"], tuple(body.get("stop", ())))


def refusal(error: BackendError, dialect: Dialect) -> web.Response:
    """Their words for it."""
    match error:
        case ModelNotFound():
            status = 404
            body = {
                "openai": openai_error("model_not_found", f"The model `{error.model}` does not exist."),
                "vllm": {"message": f"The model `{error.model}` does not exist.", "type": "NotFoundError", "code": 404},
                "localai": {"message": f'model "{error.model}" not found. To see …, call GET /v1/models', "code": 404},
            }
        case ContextLengthExceeded(prompt_tokens=prompt, context=context):
            status = 400
            maximum = f"This model's maximum context length is {context} tokens. "
            theirs = f"request ({prompt} tokens) exceeds the available context size ({context} tokens), try …"
            body = {
                "openai": openai_error(
                    "context_length_exceeded", f"{maximum}However, your messages resulted in {prompt} tokens."
                ),
                "vllm": {"message": f"{maximum}Your prompt contains at least {prompt} input tokens.", "code": 400},
                "localai": {"message": theirs, "code": 400, "type": ""},
            }
        case _:
            raise error
    return web.json_response({"error": body[dialect]}, status=status)


def openai_error(code: str, message: str) -> dict[str, Any]:
    return {"message": message, "type": "invalid_request_error", "param": None, "code": code}


def chunk(delta: dict[str, Any], reason: str | None = None) -> dict[str, Any]:
    return {"object": "chat.completion.chunk", "choices": [{"index": 0, "delta": delta, "finish_reason": reason}]}


@asynccontextmanager
async def chat_server(model: FakeBackend, dialect: Dialect = "openai") -> AsyncIterator[str]:
    """Serve `model`; yields the base URL."""

    async def models(_: web.Request) -> web.Response:
        context = "max_model_len" if dialect != "localai" else "context_size"
        served = [{"id": served.id, "object": "model", context: served.context} for served in await model.models()]
        return web.json_response({"object": "list", "data": served})

    async def ready(_: web.Request) -> web.Response:
        return web.Response()

    async def metrics(_: web.Request) -> web.Response:
        return web.Response(text=METRICS.format(model.open))

    async def completions(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"content-type": "text/event-stream"})

        async def send(message: dict[str, Any]) -> None:
            await response.write(b"data: " + dumps({"id": "chatcmpl-1", "model": "fake"} | message) + b"\n\n")

        try:
            async with model.stream(request_of(loads(await request.read()))) as batches:
                batch = await anext(batches)
                await response.prepare(request)
                await send(chunk({"role": "assistant", "content": ""}))
                while True:
                    for event in batch:
                        match event:
                            case TextDelta(text):
                                await send(chunk({"content": text}))
                            case Finished(reason, usage):
                                await send(chunk({}, reason))
                                counts = {"prompt_tokens": usage.input_tokens, "completion_tokens": usage.output_tokens}
                                await send({"object": "chat.completion.chunk", "choices": [], "usage": counts})
                                await response.write(b"data: [DONE]\n\n")
                                return response
                    batch = await anext(batches)
        except BackendError as error:
            return refusal(error, dialect)

    app = web.Application()
    app.add_routes([web.get("/v1/models", models), web.post("/v1/chat/completions", completions)])
    if dialect == "vllm":
        app.add_routes([web.get("/health", ready), web.get("/metrics", metrics)])
    elif dialect == "localai":
        app.add_routes([web.get("/readyz", ready), web.get("/v1/models/capabilities", models)])
    runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        host, port = runner.addresses[0][:2]
        yield f"http://{host}:{port}/v1"
    finally:
        await runner.cleanup()
