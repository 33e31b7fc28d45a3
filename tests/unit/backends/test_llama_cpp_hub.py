"""Pulling from the Hugging Face hub: its own library against a small hub of ours."""

import hashlib
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from backends.llama_cpp import catalog, hub
from backends.llama_cpp.gguf_file import read_header
from backends.llama_cpp.pulling import PullError
from tests.gateway import ROOT
from tests.gguf_files import tiny_model

COMMITS = {"main": "a" * 40, "v1": "b" * 40}  # revision → commit
FILE = "hf:acme/tiny/sub/Tiny-Q8.gguf"


def ignore(step: str, done: int, total: int) -> None:
    """Progress that nobody watches."""


class Hub(ThreadingHTTPServer):
    """Serves one file of one repository the way huggingface.co does. What a test wants otherwise it says here."""

    daemon_threads = True

    def __init__(self, content: bytes) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.content = content
        self.sha256 = hashlib.sha256(content).hexdigest()
        self.breaks_after: list[int] = []  # bytes after which the next downloads break
        self.asked: list[str] = []
        self.ranges: list[str | None] = []
        self.hashed = True
        self.down_after: int | None = None  # requests after which each is answered with an error

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    """One request."""

    server: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002  # the base class's word
        """Say nothing."""

    def do_HEAD(self) -> None:
        self.answer(body=False)

    def do_GET(self) -> None:
        self.answer(body=True)

    def answer(self, body: bool) -> None:
        hub = self.server
        hub.asked.append(f"{self.command} {self.path}")
        if hub.down_after is not None and len(hub.asked) > hub.down_after:
            return self.refuse(501, "")
        repo, _, rest = self.path[1:].partition("/resolve/")
        revision, _, file = rest.partition("/")
        commit = COMMITS.get(revision) or (revision if revision in COMMITS.values() else None)
        if repo == "acme/gated":
            return self.refuse(403, "GatedRepo")
        if repo == "acme/broken":
            return self.refuse(501, "")
        if repo != "acme/tiny":
            return self.refuse(401, "RepoNotFound")
        if commit is None:
            return self.refuse(404, "RevisionNotFound")
        if file != "sub/Tiny-Q8.gguf":
            return self.refuse(404, "EntryNotFound", commit)
        wanted = self.headers.get("Range")
        start = int(wanted.removeprefix("bytes=").removesuffix("-")) if wanted else 0
        self.send_response(206 if wanted else 200)
        self.send_header("X-Repo-Commit", commit)
        if hub.hashed:
            self.send_header("X-Linked-Etag", f'"{hub.sha256}"')
        self.send_header("ETag", '"cdn"')
        self.send_header("X-Linked-Size", str(len(hub.content)))
        self.send_header("Content-Length", str(len(hub.content) - start))
        if wanted:
            self.send_header("Content-Range", f"bytes {start}-{len(hub.content) - 1}/{len(hub.content)}")
        self.end_headers()
        if body:
            hub.ranges.append(wanted)
            end = start + hub.breaks_after.pop(0) if hub.breaks_after else len(hub.content)
            self.wfile.write(hub.content[start:end])
            self.close_connection = end < len(hub.content)
        return None

    def refuse(self, status: int, code: str, commit: str | None = None) -> None:
        self.send_response(status)
        self.send_header("X-Error-Code", code)
        if commit:
            self.send_header("X-Repo-Commit", commit)
        self.send_header("Content-Length", "0")
        self.end_headers()


@pytest.fixture
def small_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    with Hub(tiny_model(tmp_path / "tiny.gguf").read_bytes()) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        monkeypatch.setenv("HF_ENDPOINT", server.url)
        monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
        for name in hub.SWITCHES:  # set by the code under test: taken back afterwards
            monkeypatch.setenv(name, "1")
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def models(tmp_path: Path) -> Path:
    return tmp_path / "data" / "models"


def test_a_file_is_fetched_once_checked_and_named_in_lower_case(small_hub: Hub, models: Path) -> None:
    steps: dict[str, tuple[int, int]] = {}
    pulled = catalog.pull(models, FILE, lambda step, done, total: steps.update({step: (done, total)}))
    size = len(small_hub.content)
    assert pulled == ("tiny-q8", True)
    assert steps == {"Fetching": (size, size), "Checking": (size, size)}
    assert (models / "tiny-q8.gguf").read_bytes() == small_hub.content
    assert list(models.iterdir()) == [models / "tiny-q8.gguf"]
    assert catalog.pull(models, FILE, ignore) == ("tiny-q8", False)
    assert len(small_hub.ranges) == 1
    assert not [line for line in small_hub.asked if "/resolve/" not in line]  # nothing about us is told


def test_the_revision_is_the_one_that_is_named(small_hub: Hub, models: Path) -> None:
    catalog.pull(models, f"{FILE}@v1", ignore)
    assert small_hub.asked[0] == "HEAD /acme/tiny/resolve/v1/sub/Tiny-Q8.gguf"
    assert small_hub.asked[-1] == f"GET /acme/tiny/resolve/{COMMITS['v1']}/sub/Tiny-Q8.gguf"


def test_other_contents_than_the_hub_names_are_not_kept(small_hub: Hub, models: Path) -> None:
    small_hub.sha256 = "0" * 64
    with pytest.raises(PullError, match="its SHA-256 differs"):
        catalog.pull(models, FILE, ignore)
    assert list(models.iterdir()) == []


def test_what_cannot_be_checked_is_not_fetched(small_hub: Hub, models: Path) -> None:
    small_hub.hashed = False
    with pytest.raises(PullError, match=r"names no SHA-256 for acme/tiny/sub/Tiny-Q8\.gguf"):
        catalog.pull(models, FILE, ignore)
    assert small_hub.ranges == []


def test_a_download_that_breaks_goes_on_by_itself(small_hub: Hub, models: Path) -> None:
    small_hub.breaks_after = [1000]
    assert catalog.pull(models, FILE, ignore) == ("tiny-q8", True)
    assert len(small_hub.ranges) == 2
    read_header(models / "tiny-q8.gguf")


@pytest.mark.parametrize("at", ["Fetching", "Checking"])
def test_an_interrupted_pull_leaves_nothing_and_can_be_run_again(small_hub: Hub, models: Path, at: str) -> None:
    def interrupt(step: str, done: int, total: int) -> None:
        if step == at and done:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        catalog.pull(models, FILE, interrupt)
    assert list(models.iterdir()) == []
    assert catalog.pull(models, FILE, ignore) == ("tiny-q8", True)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("hf:acme/tiny/other.gguf", "'acme/tiny' has no file 'other.gguf'. Its page lists what there is."),
        (f"{FILE}@nope", "'acme/tiny' has no revision 'nope'. Leave it out for the newest."),
        (
            "hf:acme/nope/x.gguf",
            "There is no repository 'acme/nope', or it is private. Check the name; for a private one set HF_TOKEN.",
        ),
        (
            "hf:acme/gated/x.gguf",
            "'acme/gated' is gated. Accept its terms at URL/acme/gated, then set HF_TOKEN or run `hf auth login`, and pull again.",  # noqa: E501
        ),
        ("hf:acme/broken/x.gguf", "The hub answered with HTTP status 501 for acme/broken/x.gguf. Try again later."),
        ("hf:acme..x/tiny/x.gguf", "'acme..x/tiny' is no name of a repository. It looks like ORG/REPO."),
        (
            "hf:acme/tiny",
            "'hf:acme/tiny' names no file. Write it as hf:ORG/REPO/FILE.gguf, or hf:ORG/REPO/FILE.gguf@REVISION.",
        ),
        (
            "hf:acme/tiny/x-00001-of-00003.gguf",
            "'x-00001-of-00003.gguf' is one part of a model in several files. Pull a model that is one file.",
        ),
    ],
)
def test_what_cannot_be_pulled_is_a_sentence(small_hub: Hub, models: Path, model: str, message: str) -> None:
    with pytest.raises(PullError) as caught:
        catalog.pull(models, model, ignore)
    assert str(caught.value).replace(small_hub.url, "URL") == message


def test_a_hub_that_is_not_there_says_so(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(PullError, match="Check the network, then pull again"):
        catalog.pull(models, FILE, ignore)


def test_a_hub_that_goes_down_between_two_questions_does_not_lack_the_file(small_hub: Hub, models: Path) -> None:
    small_hub.down_after = 1
    with pytest.raises(PullError, match=r"or is down\. Check the network, then pull again"):
        catalog.pull(models, FILE, ignore)
    assert list(models.iterdir()) == []


def test_a_file_that_is_no_model_is_not_kept(small_hub: Hub, models: Path) -> None:
    small_hub.content = b"<html>"
    small_hub.sha256 = hashlib.sha256(b"<html>").hexdigest()
    with pytest.raises(Exception, match="is not a GGUF model file"):
        catalog.pull(models, FILE, ignore)
    assert list(models.iterdir()) == []


def test_a_name_that_is_taken_is_not_taken_away(small_hub: Hub, models: Path) -> None:
    models.mkdir(parents=True)
    (models / "tiny-q8.gguf").write_bytes(b"precious")
    with pytest.raises(PullError, match="already called 'tiny-q8'"):
        catalog.pull(models, FILE, ignore)
    assert (models / "tiny-q8.gguf").read_bytes() == b"precious"


def test_without_the_extra_it_says_how_to_get_it(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    for name in hub.SWITCHES:
        monkeypatch.setenv(name, "1")
    with pytest.raises(PullError, match=r"Run: pip install 'streamlane\[hf\]'"):
        catalog.pull(models, FILE, ignore)


def test_the_command_says_that_the_hash_was_checked(small_hub: Hub, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "proxy", "models", "pull", FILE],
        cwd=ROOT,
        env={**os.environ, "STREAMLANE_DATA_DIR": str(tmp_path / "data")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[-1] == (
        f"tiny-q8 is ready, in {tmp_path / 'data' / 'models'}. Its SHA-256 is the one that the hub names."
    )
