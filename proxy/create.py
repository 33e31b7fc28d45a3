"""One response that a client asks for, whichever API it came by. Pure values; `proxy/wire` makes them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from backends.request import Request


@dataclass(frozen=True, slots=True, kw_only=True)
class Create:
    """`request` holds this turn alone: neither instructions nor the turns before it.

    `items` are the input as the Responses API shows and stores it, each with an id. `shown` are the members of the
    response object that repeat what was asked (tools, text, metadata …). `custom_tools` are those of the request's
    tools that take free text at the client: models see a function of one string instead, and the composer unwraps it.
    `namespaces` are those that tools belong to, by the names that models see (proxy/wire/tool_names.py).
    `include` names what else the client wants to see.
    """

    request: Request
    instructions: str | None = None
    items: tuple[Mapping[str, Any], ...] = ()
    shown: Mapping[str, Any] = field(default_factory=dict)
    custom_tools: frozenset[str] = frozenset()
    namespaces: Mapping[str, str] = field(default_factory=dict)
    include: frozenset[str] = frozenset()
    previous_response_id: str | None = None
    store: bool = True
    generate: bool = True
    background: bool = False
    event_id: str | None = None

    @property
    def model(self) -> str:
        """The name that was asked for."""
        return self.request.model
