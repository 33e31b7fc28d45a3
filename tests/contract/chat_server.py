"""A server that speaks chat completions, in front of a fake model: what a real one would send, without its weights.

It speaks as OpenAI does, or in the words of vLLM or LocalAI, with their paths besides.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, Literal, TypeAlias

from aiohttp import web

from backends.errors import BackendError, ContextLengthExceeded, ModelNotFound
from backends.events import Event, Finished
from backends.fake import FakeBackend
from backends.json import dumps, loads
from backends.request import EmbeddingRequest, Request
from tests.contract.chat_words import chat_choice, counts, encoded, raw_request_of, request_of, text_choice, texts

Dialect: TypeAlias = Literal["openai", "vllm", "localai"]
METRICS = "vllm:num_requests_running {}\nvllm:num_requests_waiting 0\nvllm:kv_cache_usage_perc 0.5\n"


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

    async def chat(request: web.Request) -> web.StreamResponse:
        return await stream(request, request_of(loads(await request.read())), chat_choice, "chat.completion.chunk")

    async def completions(request: web.Request) -> web.StreamResponse:
        return await stream(request, raw_request_of(loads(await request.read())), text_choice, "text_completion")

    async def stream(
        request: web.Request, asked: Request, choice: Callable[[Event], dict[str, Any]], kind: str
    ) -> web.StreamResponse:
        response = web.StreamResponse(headers={"content-type": "text/event-stream"})

        async def send(message: dict[str, Any]) -> None:
            common = {"id": "cmpl-1", "object": kind, "created": 1, "model": "fake"}
            await response.write(b"data: " + dumps(common | message) + b"\n\n")

        try:
            async with model.stream(asked) as batches:
                batch = await anext(batches)
                await response.prepare(request)
                if kind == "chat.completion.chunk":
                    await send({"choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}}]})
                while True:
                    for event in batch:
                        await send({"choices": [choice(event)]})
                        if isinstance(event, Finished):
                            await send({"choices": [], "usage": counts(event.usage)})
                            await response.write(b"data: [DONE]\n\n")
                            return response
                    batch = await anext(batches)
        except BackendError as error:
            return refusal(error, dialect)

    async def embeddings(request: web.Request) -> web.Response:
        body = loads(await request.read())
        asked = EmbeddingRequest(body["model"], texts(body["input"]), body.get("dimensions"))
        try:
            answer = await model.embed(asked)
        except BackendError as error:
            return refusal(error, dialect)
        data = [
            {"object": "embedding", "index": index, "embedding": encoded(vector, body.get("encoding_format"))}
            for index, vector in enumerate(answer.vectors)
        ]
        usage = {"prompt_tokens": answer.input_tokens, "total_tokens": answer.input_tokens}
        return web.json_response({"object": "list", "model": asked.model, "data": data, "usage": usage})

    async def tokenize(request: web.Request) -> web.Response:
        body = {"max_tokens": 1} | loads(await request.read())
        asked = raw_request_of(body) if "prompt" in body else request_of(body)
        try:
            tokens = await model.count_tokens(asked)
        except BackendError as error:
            return refusal(error, dialect)
        return web.json_response({"count": tokens, "max_model_len": 512, "tokens": [0] * tokens})

    app = web.Application()
    app.add_routes([web.get("/v1/models", models), web.post("/v1/chat/completions", chat)])
    app.add_routes([web.post("/v1/completions", completions), web.post("/v1/embeddings", embeddings)])
    if dialect == "vllm":
        app.add_routes([web.get("/health", ready), web.get("/metrics", metrics), web.post("/tokenize", tokenize)])
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
