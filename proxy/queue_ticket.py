"""What a request is to the line before a backend: whose, how urgent, how large, and how long it may wait. Pure."""

from backends.request import EmbeddingRequest, Part, Reasoning, Refusal, Request, Text, ToolCall, ToolResult
from proxy.outcome import Call
from proxy.queueing import Ticket
from proxy.wire.extras import wish_of

CHARACTERS = 4  # of a token, about
OTHER = 4000  # characters that a picture, a recording or a file stands for


def ticket_of(call: Call, model: str, request: Request | EmbeddingRequest, waited: float) -> Ticket:
    """The ticket of a request to `model` that has been here for `waited` seconds. Its size is a cheap estimate."""
    name = call.response_id or call.request_id
    if isinstance(request, EmbeddingRequest):
        read = sum(len(each) if isinstance(each, str) else CHARACTERS * len(each) for each in request.inputs)
        read //= CHARACTERS
        return Ticket(call.principal.id, tokens=1 + read, kind=(model, read.bit_length()), id=name)
    read = sum(characters(part) for message in request.messages for part in message.parts) // CHARACTERS
    if request.prompt is not None:
        read += len(request.prompt.text) // CHARACTERS
    wish = wish_of(request)
    return Ticket(
        who=call.principal.id,
        work=wish.work,
        tokens=1 + read + request.max_output_tokens,
        deadline=None if wish.deadline_ms is None else max(0.0, wish.deadline_ms / 1000 - waited),
        kind=(model, read.bit_length()),
        id=name,
    )


def characters(part: Part) -> int:
    """How much of a prompt a part is, about."""
    match part:
        case Text() | Refusal() | Reasoning():
            return len(part.text)
        case ToolCall():
            return len(part.arguments)
        case ToolResult():
            return sum(map(characters, part.parts))
    return OTHER
