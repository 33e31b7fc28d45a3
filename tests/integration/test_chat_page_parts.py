"""The chat page without a browser: its pure modules in Node, its types, its weight, and words for every error."""

import gzip
import re
import subprocess
from pathlib import Path

import pytest

from proxy.wire_errors import WIRE
from tests.conftest import NODE
from tests.gateway import ROOT

WEB = ROOT / "clients" / "web"
OURS = sorted(path for path in WEB.iterdir() if path.suffix in {".js", ".css", ".html", ".svg"})
NEVER_SEEN = {  # by someone who uses the page: it sends no such thing, or its client deals with it
    "conversation_too_long", "host_not_allowed", "invalid_body", "invalid_event", "invalid_session_key",
    "invalid_stream_id", "invalid_ticket", "origin_not_allowed", "previous_response_not_ended",
    "previous_response_not_found", "request_too_large", "response_cancelled", "response_not_found", "session_away",
    "sl_resume_gap", "store_failed", "unsupported_feature", "unsupported_media_type", "websocket_stream_limit_reached",
}  # fmt: skip


@pytest.mark.needs("node")
def test_the_tree_and_what_events_make_of_a_message() -> None:
    done = subprocess.run(
        ["node", "--test", "chat_page.test.mjs"], cwd=NODE, capture_output=True, text=True, timeout=100, check=False
    )
    assert done.returncode == 0, done.stdout


@pytest.mark.needs("node")
def test_the_types_in_our_modules_hold() -> None:
    command = ["node", "node_modules/typescript/bin/tsc", "--pretty", "false", "-p", str(WEB)]
    done = subprocess.run(command, cwd=NODE, capture_output=True, text=True, timeout=100, check=False)
    complaints = [line for line in done.stdout.splitlines() if re.match(r"\S+\(\d+,\d+\): error", line)]
    assert complaints, "the vendored libraries are checked along: a run without any complaint did not look"
    assert [line for line in complaints if "/vendor/" not in line] == []


def test_every_error_that_a_person_may_meet_has_words() -> None:
    known = set(re.findall(r"^  ([a-z_]+): \[", (WEB / "words.js").read_text(), re.MULTILINE))
    assert {row.code for row in WIRE.values()} - known == NEVER_SEEN


def test_the_page_is_light() -> None:
    """60 KB compressed of our own, and 60 KB of libraries at the start."""
    assert sum(packed(path) for path in OURS) < 60_000
    at_start = [WEB / "vendor" / name for name in ("smd.js", "idb-keyval.js")]
    assert sum(packed(path) for path in at_start) < 60_000


@pytest.mark.parametrize("path", OURS, ids=lambda path: path.name)
def test_a_file_has_one_job_and_nothing_that_the_policy_forbids(path: Path) -> None:
    text = path.read_text()
    assert len(text.splitlines()) <= 400
    if path.suffix == ".js":
        assert text.startswith("/*"), "a module begins with a comment that says its job"
        assert not re.search(
            r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b|new Function|DOMParser", text
        )
    if path.suffix == ".html":
        assert not re.search(r"<style|\sstyle=|\son\w+=|<script(?![^>]*\ssrc=)", text)


def packed(path: Path) -> int:
    return len(gzip.compress(path.read_bytes()))
