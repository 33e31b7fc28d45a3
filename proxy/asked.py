"""What one candidate is asked: the request under its own name, with what the request leaves open. Pure."""

from typing import TypeVar

from msgspec.structs import replace

from backends.base import Model
from backends.request import EmbeddingRequest, Request, said
from proxy.runtime import NO_ALIAS, Candidate, Route

R = TypeVar("R", Request, EmbeddingRequest)


def completed(request: Request, route: Route, default_max_output_tokens: int) -> Request:
    """The request for the route's first candidate, with the alias's defaults where it is silent."""
    alias = route.alias
    model, bound = route.candidates[0].model, request.max_output_tokens
    if alias is NO_ALIAS and model == request.model and bound:
        return request
    messages = request.messages
    if alias.instructions and request.prompt is None and not any(message.role == "system" for message in messages):
        messages = (said("system", alias.instructions), *messages)
    return replace(
        request,
        model=model,
        messages=messages,
        max_output_tokens=bound or alias.max_output_tokens or default_max_output_tokens,
        bounded=bound > 0,
        sampling=request.sampling.otherwise(alias.sampling),
    )


def asked_of(candidate: Candidate, request: R) -> R:
    """The request under the id by which that backend knows the model, for no more than that can say."""
    if request.model != candidate.model:
        request = replace(request, model=candidate.model)
    if isinstance(request, Request):
        return within(request, candidate.known)
    return request


def within(request: Request, known: Model) -> Request:
    """`request` for an answer that is no longer than the model can give."""
    if known.max_output is None or request.max_output_tokens <= known.max_output:
        return request
    return replace(request, max_output_tokens=known.max_output)
