"""The reference is made from the types: nothing that a parser reads is missing, and nothing in it leads nowhere."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from proxy.errors import ProxyError
from proxy.reference import events, openapi
from proxy.reference.events_page import events_page
from proxy.reference.operations import OPERATIONS
from proxy.reference.page import page
from proxy.reference.requests import (
    CHAT,
    COMPLETIONS,
    COUNT,
    CREATE,
    EMBEDDINGS,
    MESSAGES,
    RESPONSES,
    Asked,
    schemas_of,
)
from proxy.session import CLIENT_EVENTS, EXTENSIONS, Limits, Refuse, Session
from proxy.wire import (
    chat_request,
    completions_request,
    embeddings,
    messages_request,
    responses_params,
)

ROOT = Path(__file__).parents[3]
TAKEN = [
    (RESPONSES, responses_params.KNOWN - {*responses_params.REFUSED}),
    (CREATE, responses_params.KNOWN - {*responses_params.REFUSED}),
    (CHAT, chat_request.KNOWN - {*chat_request.REFUSED}),
    (COMPLETIONS, completions_request.KNOWN - {*completions_request.REFUSED}),
    (EMBEDDINGS, embeddings.KNOWN),
    (MESSAGES, messages_request.KNOWN - {*messages_request.REFUSED}),
    (COUNT, messages_request.KNOWN - {*messages_request.REFUSED}),
]
SENT: dict[str, dict[str, Any]] = {
    "response.create": {"model": "m", "input": "hi", "stream_id": "a", "event_id": "e"},
    "response.cancel": {"response_id": "resp_1"},
    "response.steer": {"previous_response_id": "resp_1", "input": []},
    "response.processed": {"response_id": "resp_1"},
    "streamlane:ping": {"id": 7},
    "streamlane:session.ack": {"sl_seq": 1},
    "streamlane:flow.set": {"window": 256},
    "streamlane:session.resume": {"sl_session": "k" * 20, "sl_after": 0, "epoch": "e"},
}


def refs(document: object) -> set[str]:
    return set(re.findall(r'"#/(?:components/schemas|\$defs)/([^"]+)"', json.dumps(document)))


def test_the_page_of_events_is_current() -> None:
    assert (ROOT / "docs" / "events.md").read_text(encoding="utf-8") == events_page(), "run scripts/docs"


@pytest.mark.parametrize(("asked", "known"), TAKEN, ids=[asked.name for asked, _ in TAKEN])
def test_a_body_shows_every_member_that_its_parser_takes(asked: Asked, known: frozenset[str]) -> None:
    assert set(schemas_of(asked)[f"{asked.name}Request"]["properties"]) == known


def test_what_the_documents_refer_to_is_there_and_used() -> None:
    http = openapi.document()
    assert refs(http) == set(http["components"]["schemas"])
    assert refs(events.document()) == set(events.document()["$defs"])


def test_every_operation_has_its_own_name() -> None:
    assert len({each.name for each in OPERATIONS}) == len({each.key for each in OPERATIONS}) == len(OPERATIONS)


def test_links_on_the_page_lead_somewhere_and_no_id_is_there_twice() -> None:
    html = page()
    ids = re.findall(r' id="([^"]+)"', html)
    assert len(ids) == len(set(ids))
    assert set(re.findall(r'href="#([^"]*)"', html)) <= set(ids)


def test_the_page_has_nothing_inline() -> None:
    assert not re.search(r"<style|\sstyle=|\son\w+=|<script(?! src=)", page())


def test_the_client_events_are_those_that_the_socket_knows() -> None:
    assert set(events.document()["client"]) == {*CLIENT_EVENTS, *EXTENSIONS} == set(SENT)


@pytest.mark.parametrize("name", SENT)
def test_a_client_event_with_the_members_of_the_reference_is_taken(name: str) -> None:
    schema = events.document()["client"][name]
    sent = SENT[name]
    assert {"type", *sent} <= set(schema["properties"])
    assert set(schema.get("required", ())) <= {"type", *sent}
    resumable = name != "streamlane:session.resume"
    session = Session(Limits(), extended=True, resumable=resumable)
    refused = [each.error for each in session.receive(json.dumps({"type": name, **sent})) if isinstance(each, Refuse)]
    none: list[ProxyError] = []
    assert refused == none
