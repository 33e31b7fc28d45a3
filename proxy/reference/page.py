"""Writes the page at /docs: every operation and every event, as HTML that needs no script. Pure."""

import re
from collections.abc import Iterable, Mapping
from html import escape
from typing import Any

import proxy
from proxy.reference import events, openapi
from proxy.reference.client_events import CLIENT_EVENTS, Ack, CreateEvent
from proxy.reference.event_shapes import SERVER_EVENTS, Event
from proxy.reference.events import WHO, name_of
from proxy.reference.members import SHARED, Member, ignored, members
from proxy.reference.operations import OPERATIONS, Operation

_HEAD = """\
<!doctype html>
<html lang="en">
<head>
  <meta charset="utf-8">
  <meta name="viewport" content="width=device-width, initial-scale=1">
  <title>Streamlane API</title>
  <link rel="icon" href="static/icon.svg" type="image/svg+xml">
  <link rel="stylesheet" href="static/base.css">
  <link rel="stylesheet" href="static/reference.css">
  <script src="static/theme.js"></script>
  <script src="static/reference.js" defer></script>
</head>
<body>
<a class="skip" href="#main">Skip to the text</a>
"""
_BEGIN = """\
<section id="begin">
<h2>Begin</h2>
<p>Give an SDK this origin with <code>/v1</code>: OpenAI's for everything but messages, Anthropic's for messages (the
origin alone). Where keys are configured, send one as <code>Authorization: Bearer KEY</code> or
<code>x-api-key: KEY</code>.</p>
<pre tabindex="0" aria-label="Over HTTP"><code>curl <span class="origin">http://localhost:8765</span>/v1/responses \\
  -H 'Content-Type: application/json' \\
  -d '{"model": "<span class="model">MODEL</span>", "input": "Hello", "stream": true}'</code></pre>
<pre tabindex="0" aria-label="Over a socket"><code>from openai import OpenAI

client = OpenAI(base_url="<span class="origin">http://localhost:8765</span>/v1", api_key="KEY")
with client.responses.connect() as connection:
    connection.response.create(model="<span class="model">MODEL</span>", input="Hello")
    for event in connection:
        print(event.type)
        if event.type in ("response.completed", "response.incomplete", "response.failed", "error"):
            break</code></pre>
<p>Errors have one shape: <a href="#schema-ErrorBody">ErrorBody</a>; under <code>/v1/messages</code> it is
<a href="#schema-MessagesError">MessagesError</a>. Retry what is 429 or 5xx; nothing else gets better by that.</p>
<p>For programs: <a href="openapi.json">openapi.json</a> (OpenAPI 3.1) and <a href="events.json">events.json</a> (a JSON
schema for each event of the socket).</p>
</section>
"""
_EVENTS = """\
<section id="events">
<h2>Events of the socket</h2>
<p>Connect to <code>GET /v1/responses</code>. Every frame is one JSON object with a <code>type</code>. Each event of a
response has its <code>sequence_number</code>, from 0 and rising; what belongs to a named lane has its
<code>stream_id</code>; on connections with a session each frame of the gateway's has its number, <code>sl_seq</code>.
These three are not repeated below.</p>
<p>Who asked for our extensions (<code>sl_ext</code>) or has a session (<code>sl_session</code>) gets and may send more
than OpenAI defines.</p>
"""


def page() -> str:
    """The whole page."""
    names = dict.fromkeys(each.group for each in OPERATIONS)
    groups = [(name, [each for each in OPERATIONS if each.group == name]) for name in names]
    http = openapi.document()["components"]["schemas"]
    socket = events.document()
    shared = {**socket["$defs"], **http}
    sections = "".join(group(name, operations) for name, operations in groups)
    return (
        f'{_HEAD}{navigation(groups)}<main id="main" tabindex="-1">\n'
        f"<h1>API of this gateway <small>{escape(proxy.__version__)}</small></h1>\n"
        f"{_BEGIN}{sections}{_EVENTS}"
        f'<h3 id="client-events">What a client sends</h3>\n{told(CLIENT_EVENTS, socket["client"])}'
        f'<h3 id="server-events">What the gateway sends</h3>\n{told(SERVER_EVENTS, socket["server"])}</section>\n'
        f'<section id="schemas">\n<h2>Types</h2>\n{schemas(shared)}</section>\n'
        "</main>\n</body>\n</html>\n"
    )


def navigation(groups: Iterable[tuple[str, list[Operation]]]) -> str:
    """The contents; a narrow screen shows their first level."""
    lists = "".join(
        f'<li><a href="#{anchor(name)}">{escape(name)}</a><ul>'
        + "".join(
            f'<li><a href="#{each.name}"><span class="method">{each.method.upper()}</span> '
            f"{escape(each.path.removeprefix('/v1')).replace('/', '<wbr>/')}</a></li>"
            for each in operations
        )
        + "</ul></li>"
        for name, operations in groups
    )
    return (
        '<nav class="contents" aria-label="Contents"><p>Streamlane API</p><ul>'
        f'<li><a href="#begin">Begin</a></li>{lists}'
        '<li><a href="#events">Events of the socket</a><ul><li><a href="#client-events">What a client sends</a></li>'
        '<li><a href="#server-events">What the gateway sends</a></li></ul></li>'
        '<li><a href="#schemas">Types</a></li><li><a href="./">Chat page</a></li></ul></nav>\n'
    )


def group(name: str, operations: Iterable[Operation]) -> str:
    """The operations of one API."""
    shown = "".join(operation(each) for each in operations)
    return f'<section id="{anchor(name)}">\n<h2>{escape(name)}</h2>\n{shown}</section>\n'


def operation(given: Operation) -> str:
    """One operation."""
    parts = [f"<p>{rich(f'{given.summary} {given.about}'.strip())}</p>"]
    if given.parameters:
        parts.append(
            "<h4>Parameters</h4>" + rows(Member(p.name, "", p.place == "path", p.about) for p in given.parameters)
        )
    taken = [f"Body: {link(f'{given.asked.name}Request')}."] if given.asked else []
    given_back = [f"Answer: {link(given.answer.__name__)}."] if given.answer else []
    if taken or given_back:
        parts.append(f"<p>{' '.join(taken + given_back)}</p>")
    if given.stream:
        parts.append(f"<p>As a stream: {rich(given.stream)}</p>")
    codes = openapi.codes(given)
    listed = "".join(
        f"<div><dt><code>{status}</code> <code>{code}</code></dt><dd>{rich(when)}</dd></div>"
        for code, (status, when) in sorted(codes.items(), key=lambda each: each[1][0])
    )
    parts.append(f'<details><summary>{len(codes)} error codes</summary><dl class="members">{listed}</dl></details>')
    return (
        f'<article id="{given.name}"><h3><span class="method">{given.method.upper()}</span> '
        f"<code>{breakable(given.path)}</code></h3>{''.join(parts)}</article>\n"
    )


def told(kinds: Iterable[type[Event] | type[CreateEvent]], schemas: Mapping[str, Mapping[str, Any]]) -> str:
    """Events, each with its members."""
    return "".join(event(each, schemas[name_of(each)]) for each in kinds)


def event(kind: type[Event] | type[CreateEvent], schema: Mapping[str, Any]) -> str:
    """One event."""
    name = name_of(kind)
    own = [each for each in members(schema) if each.name not in SHARED or kind is Ack]
    who = "" if kind.seen_by == "all" else f'<p class="who">Only {rich(WHO[kind.seen_by])}.</p>'
    return (
        f'<article id="event-{escape(name)}"><h4><code>{breakable(name)}</code></h4>{who}'
        f"<p>{rich(openapi.first_paragraph(kind))}</p>{rows(own)}{unused(schema)}</article>\n"
    )


def schemas(named: Mapping[str, Mapping[str, Any]]) -> str:
    """Types that operations and events have in common."""
    return "".join(
        f'<article id="schema-{escape(name)}"><h3>{escape(name)}</h3>'
        f"<p>{rich(' '.join(str(schema.get('description', '')).split()))}</p>"
        f"{rows(members(schema))}{unused(schema)}</article>\n"
        for name, schema in sorted(named.items())
    )


def rows(given: Iterable[Member]) -> str:
    """Members with what they may be."""
    listed = "".join(
        f"<div><dt><code>{escape(each.name)}</code>{'' if each.required else ' <span class=soft>optional</span>'}</dt>"
        f"<dd>{linked(each.kind)}{' <br>' if each.kind and each.about else ''}{rich(each.about)}</dd></div>"
        for each in given
    )
    return f'<dl class="members">{listed}</dl>' if listed else ""


def unused(schema: Mapping[str, Any]) -> str:
    """What has no effect."""
    names = ", ".join(f"<code>{escape(name)}</code>" for name in ignored(schema))
    return f'<p class="soft">Accepted without effect: {names}.</p>' if names else ""


def linked(kind: str) -> str:
    """The kind of a member, with links to the types in it."""
    return re.sub(
        r"\[(\w+)\]", lambda found: link(found[1]), f'<span class="kind">{escape(kind)}</span>' if kind else ""
    )


def link(name: str) -> str:
    """To a type."""
    return f'<a href="#schema-{name}">{name}</a>'


def rich(text: str) -> str:
    """Plain text with `code` and [links](#anchor)."""
    shown = re.sub(r"`([^`]+)`", r"<code>\1</code>", escape(text))
    return re.sub(r"\[([^\]]+)\]\((#[\w-]+)\)", r'<a href="\2">\1</a>', shown)


def breakable(name: str) -> str:
    """A long name that a narrow screen may break where it is read in pieces."""
    return re.sub(r"([/._:])(?=\w)", r"\1<wbr>", escape(name))


def anchor(name: str) -> str:
    """A heading as the end of a URL."""
    return re.sub(r"\W+", "-", name.lower()).strip("-")
