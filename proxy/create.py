"""One response that a client asks for, whichever API it came by. Pure values; `proxy/wire` makes them."""

from collections.abc import Mapping
from typing import Any

from msgspec import Struct, structs

from backends.request import NOTHING, Request, Secret


class Brought(Struct, frozen=True):
    """What came beside a body: the caller's own keys by backend, and the headers that rules name, in lower case."""

    keys: Mapping[str, Secret] = NOTHING
    headers: Mapping[str, str] = NOTHING


NOTHING_BROUGHT = Brought()


class Create(Struct, frozen=True, kw_only=True):
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
    shown: Mapping[str, Any] = {}
    custom_tools: frozenset[str] = frozenset()
    namespaces: Mapping[str, str] = {}
    include: frozenset[str] = frozenset()
    previous_response_id: str | None = None
    store: bool = True
    generate: bool = True
    background: bool = False
    event_id: str | None = None
    headers: Mapping[str, str] = NOTHING

    def bringing(self, brought: Brought) -> "Create":
        """This, asked with the caller's own keys, and with the headers that rules look at."""
        create = structs.replace(self, headers=brought.headers) if brought.headers else self
        if not brought.keys:
            return create
        return structs.replace(create, request=structs.replace(create.request, keys=brought.keys))

    @property
    def model(self) -> str:
        """The name that was asked for."""
        return self.request.model
