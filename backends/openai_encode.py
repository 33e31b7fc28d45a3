"""OpenAI's own chat completions: where their requests differ from those of compatible servers. Pure."""

from backends import chat_encode
from backends.chat_encode import Json
from backends.openai_models import fitted
from backends.request import Request


def encode(request: Request, model: str = "", *, old_limit: bool = False) -> Json:
    """The body of a streamed completion. `model` is the one that runs, where the request names a deployment of it.

    `old_limit`: the bound of the answer is called `max_tokens`, as before models that reason.
    """
    body = chat_encode.encode(fitted(request, model or request.model))
    if request.prompt is None and not old_limit:
        body["max_completion_tokens"] = body.pop("max_tokens")
    return body
