"""Writes docs/events.md from the types of the events, so that neither can drift. Pure."""

from collections.abc import Iterable

from proxy.reference.client_events import CLIENT_EVENTS, Ack, CreateEvent
from proxy.reference.event_shapes import SERVER_EVENTS, Event
from proxy.reference.events import WHO, document, name_of
from proxy.reference.members import SHARED, Member, ignored, members
from proxy.reference.openapi import first_paragraph

_HEAD = """\
# Which events does the socket know?

<!-- Written by scripts/docs from the types in proxy/reference. Change those, then run it again. -->

Every frame is one event: a JSON object with `type`. A gateway shows the same at `/docs`, and the JSON schema of each
event at `/events.json`. How they follow one another: [What does the socket speak?](socket.md)

A member with `?` may be missing. Who asked for our extensions with `sl_ext`, or has a session (`sl_session`), gets and
may send more than OpenAI defines; everybody else never sees it.

Not repeated below: each event of a response has its `sequence_number`, from 0 and rising; merged deltas have that of
the last of them. What belongs to a named lane has its `stream_id`. On connections with a session each frame of the
gateway's has its own number, `sl_seq`.

"""


def events_page() -> str:
    """The whole page, in the order of the tables."""
    schemas = document()
    create = schemas["client"][name_of(CreateEvent)]
    taken = "".join(f"| {cell(each)} | {kind(each)} |\n" for each in members(create))
    shared = "".join(
        f"| `{name}` | {', '.join(cell(each) for each in members(schema))} | {about(schema)} |\n"
        for name, schema in schemas["$defs"].items()
        if not name.startswith("Create")
    )
    return (
        f"{_HEAD}## Of the client\n\n{table(CLIENT_EVENTS)}\n"
        f"### What `response.create` takes\n\n| member | |\n|---|---|\n{taken}\n"
        f"Accepted without effect: {', '.join(f'`{name}`' for name in ignored(create))}.\n\n"
        f"## Of the gateway\n\n{table(SERVER_EVENTS)}\n"
        f"## What they hold\n\n| type | members | |\n|---|---|---|\n{shared}"
    )


def table(events: Iterable[type[Event] | type[CreateEvent]]) -> str:
    """One row per event."""
    schemas = document()
    rows = "".join(row(each, schemas) for each in events)
    return f"| event | who | members | what it says |\n|---|---|---|---|\n{rows}"


def row(event: type[Event] | type[CreateEvent], schemas: dict[str, dict[str, dict[str, object]]]) -> str:
    """One event."""
    name = name_of(event)
    told = schemas["client" if name in schemas["client"] else "server"][name]
    own = [cell(each) for each in members(told) if each.name not in SHARED or event is Ack]
    shown = "below" if event is CreateEvent else ", ".join(own)
    return f"| `{name}` | {WHO[event.seen_by]} | {shown} | {first_paragraph(event)} |\n"


def cell(member: Member) -> str:
    """A member's name."""
    return f"`{member.name}`" + ("" if member.required else "?")


def kind(member: Member) -> str:
    """What a member is, for a cell of a table."""
    told = member.kind.replace("[", "").replace("]", "").replace(" | ", " or ")
    return f"{told}. {member.about}".rstrip(" .") + "."


def about(schema: dict[str, object]) -> str:
    return str(schema.get("description", "")).replace("\n", " ")
