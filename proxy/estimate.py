"""How much of each pool a request may take at most, and how much it took in the end. Pure.

What is reserved is an upper bound, so that no pool goes below zero whatever the answer: a byte-level tokenizer never
makes more tokens of a text than it has UTF-8 bytes. What is not known in the end is charged, never given back.
"""

from collections.abc import Iterator, Mapping
from math import ceil
from typing import Literal, TypeAlias

from msgspec import Struct
from msgspec.structs import replace

from backends.capabilities import GUIDES
from backends.events import Usage
from backends.json import dumps
from backends.request import (
    Audio,
    EmbeddingRequest,
    File,
    Image,
    Message,
    Part,
    Reasoning,
    Refusal,
    Request,
    Text,
    ToolCall,
    ToolResult,
)
from proxy.metered import Draw, Metered
from quota.ledger import Headroom

TEMPLATE = 128  # of every request: what chat templates say by themselves, as the date; gpt-oss's has some 70 tokens
PER_MESSAGE = 8  # the marks around one; ChatML has 5, Harmony up to 7
TOOLS = 530  # once with any tool: the longest preamble in Anthropic's table of tool use
PER_TOOL = 32  # what is written around a function: its type, the names of its fields
IMAGES: Mapping[str, int] = {
    "anthropic": 4_784,  # the most that its vision page names for one image
    "gemini": 4_128,  # 16 tiles of 258 tokens
    "openai": 48_169,  # gpt-4o-mini in high detail: 2,833 and 5,667 for each of 8 tiles
}
IMAGE = 16_384  # elsewhere: the most that Qwen's vision models make of one, and more than Llama's and Gemma's
AUDIO = 32  # tokens per second at Gemini; Voxtral takes 12.5, OpenAI 10
AUDIO_BYTES: Mapping[str, int] = {"wav": 8_000, "pcm16": 16_000, "mp3": 1_000}  # per second, at the poorest quality
AUDIO_LEAST = 500  # per second of any other format; Opus has 750 at 6 kbit/s
EMBEDDED: Mapping[str, int] = {"cohere": 96, "gemini": 100}  # texts in one request; more are several
BASE64 = (3, 4)  # bytes of so many characters
LEAST_OUTPUT = 256  # tokens; a default is not lowered below it, for such an answer is of no use
MILLION = 1_000_000

Ended: TypeAlias = Literal["answered", "refused", "broken"]
"""How an attempt ended: with its last event; refused before any work (429 and other 4xx); or by a 5xx, a deadline, a
cut or our own leaving, after which nobody knows what the provider counted.
"""


class Size(Struct, frozen=True):
    """What a request brings, measured once. `bytes` are those of its texts, `marks` the tokens around them.

    `output` is the longest answer, in tokens.
    """

    bytes: int
    marks: int
    images: int = 0
    heard: int = 0  # tokens of recordings
    files: int = 0  # tokens, and one image each
    output: int = 0
    texts: int = 0  # to be embedded

    def prompt(self, provider: str, ratio: float = 1.0) -> int:
        """The most tokens that this can be at `provider`, if a byte of text is at most `ratio` tokens."""
        text = self.bytes if ratio >= 1.0 else ceil(self.bytes * ratio)
        return text + self.marks + self.heard + self.files + self.images * IMAGES.get(provider, IMAGE)


class Estimate(Struct, frozen=True):
    """The most tokens that a prompt and its answer can be, and how many requests of the provider's it takes."""

    prompt: int
    output: int
    calls: int = 1


class TooLarge(Struct, frozen=True):
    """A request never fits this pool: it needs `amount` of it, and there are `cap`."""

    draw: Draw
    amount: int
    cap: int


def measured(request: Request | EmbeddingRequest) -> Size:
    """The size of a request. It takes time in proportion to its texts."""
    if isinstance(request, EmbeddingRequest):
        text = sum(utf8(each) if isinstance(each, str) else len(each) for each in request.inputs)
        return Size(text, TEMPLATE + PER_MESSAGE * len(request.inputs), texts=len(request.inputs))
    text, marks, images, heard, files = 0, TEMPLATE + PER_MESSAGE * len(request.messages), 0, 0, 0
    if request.prompt is not None:
        text += utf8(request.prompt.text) + utf8(request.prompt.suffix or "")
    for part in parts(request.messages):
        match part:
            case Text(text=said) | Refusal(text=said):
                text += utf8(said)
            case Reasoning(text=said, opaque=opaque):
                text += utf8(said) + (0 if opaque is None else len(opaque.data))
            case ToolCall():
                text += len(part.id) + utf8(part.name) + utf8(part.arguments)
                marks += PER_MESSAGE  # templates make a message of its own of a call, and of a result
            case ToolResult():
                text += len(part.call_id)
                marks += PER_MESSAGE
            case Image():
                images += 1
            case Audio():
                heard += AUDIO * -(-raw(part.data) // AUDIO_BYTES.get(part.format, AUDIO_LEAST))
            case File():
                images += 1  # a page is read as a picture too
                files += raw(part.data) + utf8(part.name or "")
    if request.tools:
        text += sum(json_bytes([each.name, each.description, each.parameters]) for each in request.tools)
        marks += TOOLS + PER_TOOL * len(request.tools)
    if request.format is not None:
        text += json_bytes(request.format.schema) + utf8(request.format.description or "")
    text += sum(json_bytes(request.extras[name]) for name in GUIDES & request.extras.keys())
    return Size(text, marks, images, heard, files, request.max_output_tokens)


def estimated(
    metered: Metered, request: Request | EmbeddingRequest | Size, headroom: Mapping[str, Headroom], ratio: float | None
) -> Estimate:
    """The bound for this model. `ratio` is what was learned of it (proxy/calibration.py), in tokens per byte.

    What was learned may be wrong, and then the pool is overdrawn. So it is only used where the bound would not fit, and
    never where overrun costs money.
    """
    size = request if isinstance(request, Size) else measured(request)
    calls = max(1, -(-size.texts // EMBEDDED.get(metered.provider, max(1, size.texts))))
    bound = Estimate(size.prompt(metered.provider), size.output, calls)
    if ratio is None or metered.overrun != "stops" or too_large(metered, bound, headroom) is None:
        return bound
    return Estimate(size.prompt(metered.provider, ratio), size.output, calls)


def amount(draw: Draw, prompt: int, output: int) -> int:
    """What so many tokens are of one pool, rounded up."""
    metric = draw.metric
    if metric in {"requests", "concurrent_requests"}:
        return 1
    if metric == "tokens":
        return prompt + output
    if metric == "input_tokens":
        return prompt
    if metric == "output_tokens":
        return output
    return -(-(prompt * draw.input + output * draw.output) // MILLION)


def amounts(metered: Metered, estimate: Estimate) -> dict[str, int]:
    """What to reserve, by pool."""
    found: dict[str, int] = {}
    for draw in metered.draws:
        taken = amount(draw, estimate.prompt, estimate.output)
        found[draw.pool] = found.get(draw.pool, 0) + taken * (estimate.calls if draw.metric == "requests" else 1)
    return found


def used(
    metered: Metered, usage: Usage | None, estimate: Estimate, counted: int | None, ended: Ended
) -> dict[str, int]:
    """What to settle, by pool. `counted` are the UTF-8 bytes of the answer that came; None when nobody looked.

    The provider's usage counts where there is one; thoughts are in its output, cached tokens in its input. Without, it
    is the bound of the prompt and what was counted, or all that was reserved.
    """
    if ended == "refused":  # it counts as a request, and was never read
        return {draw.pool: int(draw.metric == "requests") for draw in metered.draws}
    if usage is not None and not usage.estimated:
        spent = Estimate(usage.input_tokens, max(usage.output_tokens, usage.reasoning_tokens), estimate.calls)
    elif counted is None:
        spent = estimate
    else:
        said = max(counted, usage.output_tokens if usage is not None else 0)
        spent = replace(estimate, output=min(said, estimate.output))
    running = {draw.pool: 0 for draw in metered.draws if draw.metric == "concurrent_requests"}
    return amounts(metered, spent) | running


def shortened(
    metered: Metered, estimate: Estimate, headroom: Mapping[str, Headroom], by_default: bool
) -> Estimate | TooLarge:
    """The estimate with an answer that fits every cap, or the pool that it cannot fit."""
    large = too_large(metered, estimate, headroom)
    if large is None or not by_default:
        return large or estimate
    output = min(
        (room(draw, estimate.prompt, cap_of(headroom[draw.pool])) for draw in metered.draws if draw.pool in headroom),
        default=estimate.output,
    )
    if LEAST_OUTPUT <= output < estimate.output:
        estimate = replace(estimate, output=output)
        large = too_large(metered, estimate, headroom)
    return large or estimate


def too_large(metered: Metered, estimate: Estimate, headroom: Mapping[str, Headroom]) -> TooLarge | None:
    """The first pool that this exceeds at any time."""
    for draw in metered.draws:
        if (head := headroom.get(draw.pool)) is not None:
            needed, cap = amount(draw, estimate.prompt, estimate.output), cap_of(head)
            if needed > cap:
                return TooLarge(draw, needed, cap)
    return None


def cap_of(head: Headroom) -> int:
    """The most that the pool ever grants."""
    return max(0, head.cap - head.margin)


def room(draw: Draw, prompt: int, cap: int) -> int:
    """How many tokens of answer fit into `cap` beside the prompt; very many where they are not counted."""
    if draw.metric == "tokens":
        return cap - prompt
    if draw.metric == "output_tokens":
        return cap
    if draw.output:
        return (cap * MILLION - prompt * draw.input) // draw.output
    return MILLION


def parts(messages: tuple[Message, ...]) -> Iterator[Part]:
    """All of them, with those inside of tools' results."""
    for message in messages:
        for part in message.parts:
            yield part
            if isinstance(part, ToolResult):
                yield from part.parts


def utf8(text: str) -> int:
    """Bytes of a text. Half a character is written as a whole one."""
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))


def raw(data: str) -> int:
    """Bytes that the base64 in `data` stands for, rounded up."""
    return -(-len(data) * BASE64[0] // BASE64[1])


def json_bytes(value: object) -> int:
    """Bytes of a value as JSON; what is none is written as Python has it."""
    if value is None:
        return 0
    try:
        return len(dumps(value))
    except TypeError:
        return len(repr(value)) * 4
