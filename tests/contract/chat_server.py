"""A server that speaks chat completions, in front of a fake model: what a real one would send, without its weights."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web

from backends.errors import BackendError, ContextLengthExceeded, ModelNotFound
from backends.events import Finished, TextDelta
from backends.fake import FakeBackend
from backends.json import dumps, loads
from backends.request import Message, Request


def request_of(body: dict[str, Any]) -> Request:
    messages = tuple(Message(message["role"], message["content"]) for message in body["messages"])
    return Request(body["model"], messages, body["max_tokens"], tuple(body.get("stop", ())))


def refusal(error: BackendError) -> web.Response:
    """OpenAI's words for it."""
    match error:
        case ModelNotFound():
            status, code, message = 404, "model_not_found", f"The model `{error.model}` does not exist."
        case ContextLengthExceeded():
            message = f"maximum context length is {error.context} tokens. However, your messages resulted in "
            message = f"This model's {message}{error.prompt_tokens} tokens."
            status, code = 400, "context_length_exceeded"
        case _:
            raise error
    body = {"error": {"message": message, "type": "invalid_request_error", "param": None, "code": code}}
    return web.json_response(body, status=status)


def chunk(delta: dict[str, Any], reason: str | None = None) -> dict[str, Any]:
    return {"object": "chat.completion.chunk", "choices": [{"index": 0, "delta": delta, "finish_reason": reason}]}


@asynccontextmanager
async def chat_server(model: FakeBackend) -> AsyncIterator[str]:
    """Serve `model`; yields the base URL."""

    async def models(_: web.Request) -> web.Response:
        served = [
            {"id": served.id, "object": "model", "max_model_len": served.context} for served in await model.models()
        ]
        return web.json_response({"object": "list", "data": served})

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
            return refusal(error)

    app = web.Application()
    app.add_routes([web.get("/v1/models", models), web.post("/v1/chat/completions", completions)])
    runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        host, port = runner.addresses[0][:2]
        yield f"http://{host}:{port}/v1"
    finally:
        await runner.cleanup()
