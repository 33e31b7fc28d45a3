"""What can be said of one request without asking anybody, in microseconds. Pure."""

import re
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime

from backends.request import Audio, File, Image, Part, Request, Text
from proxy.choice_words import Kind
from proxy.estimate import Size, measured, parts
from proxy.free_memory import conversation_of
from proxy.learned.question import capped
from proxy.outcome import Call
from proxy.routing.values import Facts
from proxy.wire.extras import wish_of

BYTES_PER_TOKEN = 4  # of text in UTF-8: English has 4 to 5, Chinese 3 to 4, Cyrillic 4 to 6
IMAGE_TOKENS = 1_000  # of one at most models
KINDS: Mapping[type[Part], Kind] = {Image: "image", Audio: "audio", File: "file"}
JSON_GUIDES = frozenset({"guided_json", "structured_outputs"})
NO_GROUPS: frozenset[str] = frozenset()

CODE_BEGINS = (
    "def ", "class ", "import ", "#include", "function ", "const ", "let ", "var ", "public ", "private ", "fn ",
    "func ", "return ", "SELECT ", "INSERT INTO ", "CREATE TABLE ", "</", "$ ", ">>> ",
)  # fmt: skip
CODE_ENDS = (";", "{", "}", "=>", "):", "/>")
CODE_LINES = 2  # lines that look like code make some; a single one may be prose

_MATH = re.compile(
    r"\$(?!\s)[^$\n]{1,200}(?<!\s)\$(?!\d)"  # TeX, by Pandoc's rule: "$5 or $6" is none
    r"|\\(?:frac|sqrt|sum|int|begin|cdot|left|pi|theta)\b|\\[(\[]"
    r"|[∑∫√∂∞≤≥≠±π\u00d7÷]|\d *[*/^=+] *\(?\d|\b[a-z]\^\d|\b[xyz] *= *\d"
)


def facts_of(
    request: Request,
    call: Call,
    *,
    model: str,
    at: datetime,
    groups: Mapping[str, frozenset[str]],
    language: Callable[[str], str | None] | None = None,
) -> Facts:
    """The facts of `request`, which was asked for as `model`. `at` is now, in the operator's time zone; `groups` are by
    principal. `language` tells a text's: given only where a rule asks for it, for it is the slowest part.
    """
    question = question_of(request)
    wish = wish_of(request)
    user = call.principal.id
    return Facts(
        model=model,
        question=question,
        tokens=likely_tokens(measured(request)),
        output_tokens=request.max_output_tokens,
        turns=sum(1 for message in request.messages if message.role == "user" and has_text(message.parts)),
        kinds=frozenset(kinds_of(request, question)),
        language=None if language is None or not question else language(question),
        tools=bool(request.tools) and request.tool_choice != "none",
        user=user,
        groups=groups.get(user, NO_GROUPS),
        headers=call.headers,
        at=at,
        work=wish.work,
        data=wish.data,
        conversation=conversation_of(user, request),
        deadline=None if wish.deadline_ms is None else wish.deadline_ms / 1000,
        max_cost=wish.max_cost_usd_micros,
    )


def question_of(request: Request) -> str:
    """The text of the last user's message that has any, cut down to what the learned router reads.

    A tool's result is no question: it is what a program answered.
    """
    if request.prompt is not None:
        return capped(request.prompt.text)
    for message in reversed(request.messages):
        if message.role == "user" and has_text(message.parts):
            return capped("\n".join(part.text for part in message.parts if isinstance(part, Text)))
    return ""


def has_text(parts: tuple[Part, ...]) -> bool:
    """Whether somebody says something there."""
    return any(isinstance(part, Text) and part.text for part in parts)


def likely_tokens(size: Size) -> int:
    """About how many tokens a prompt is; no bound of it, as proxy/estimate.py has one."""
    text = -(-(size.bytes + size.files) // BYTES_PER_TOKEN)
    return text + size.heard + size.images * IMAGE_TOKENS


def kinds_of(request: Request, question: str) -> Iterator[Kind]:
    """What all of the conversation holds, and what its question looks like."""
    for part in parts(request.messages):
        if (kind := KINDS.get(type(part))) is not None:
            yield kind
    if has_code(question):
        yield "code"
    if _MATH.search(question):
        yield "math"
    if request.format is not None or not JSON_GUIDES.isdisjoint(request.extras):
        yield "json"


def has_code(text: str) -> bool:
    """Whether source code is in it: fenced, or lines that begin or end as code does."""
    if "```" in text:
        return True
    found = 0
    for line in map(str.strip, text.splitlines()):
        found += line.startswith(CODE_BEGINS) or line.endswith(CODE_ENDS)
        if found >= CODE_LINES:
            return True
    return False
