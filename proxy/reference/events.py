"""The events of the socket as JSON schemas, from their types. Pure.

https://json-schema.org/draft/2020-12
"""

from functools import cache
from typing import Any

import msgspec

from proxy.reference.client_events import CLIENT_EVENTS, CreateEvent
from proxy.reference.event_shapes import SERVER_EVENTS, Event, SeenBy
from proxy.reference.requests import CREATE, schemas_of

REF = "#/$defs/"
WHO: dict[SeenBy, str] = {
    "all": "everybody",
    "extended": "with `sl_ext`",
    "session": "with `sl_ext` and `sl_session`",
}


@cache
def document() -> dict[str, Any]:
    """A schema for each event, by its `type`; what they share is in `$defs`. Not to be changed."""
    own = [each for each in CLIENT_EVENTS if each is not CreateEvent]
    _, shapes = msgspec.json.schema_components((*own, *SERVER_EVENTS), ref_template=f"{REF}{{name}}")
    created = schemas_of(CREATE, REF)
    client = {name_of(each): shapes.pop(each.__name__) for each in own}
    client = {name_of(CreateEvent): {**created.pop("CreateRequest"), "description": CreateEvent.__doc__}, **client}
    server = {name_of(each): shapes.pop(each.__name__) for each in SERVER_EVENTS}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "The events of Streamlane's socket",
        "client": {name: {**schema, "title": name} for name, schema in client.items()},
        "server": {name: {**schema, "title": name} for name, schema in server.items()},
        "$defs": dict(sorted({**shapes, **created}.items())),
    }


def name_of(event: type[Event] | type[CreateEvent]) -> str:
    """Its `type`."""
    return str(event.__struct_config__.tag)
