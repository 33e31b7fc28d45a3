"""Fetches a model file from the Hugging Face hub, and keeps it only when its SHA-256 is the one that the hub names."""

import hashlib
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from backends.llama_cpp.pulling import Progress, PullError

PREFIX = "hf:"
PLACE = re.compile(r"hf:(?P<repo>[^/@]+/[^/@]+)/(?P<file>[^@]+\.gguf)(?:@(?P<revision>.+))?", re.IGNORECASE)
PART = re.compile(r"-\d{5}-of-\d{5}$")  # llama.cpp's names for the pieces of a model that was split
SHA256 = re.compile(r"[0-9a-f]{64}")
CHUNK = 1024 * 1024  # bytes hashed between two words about progress
SWITCHES = {  # read by the library when it is imported
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_DISABLE_XET": "1",  # its own transfer; plain HTTP tells its progress and goes through every proxy
}


@dataclass(frozen=True, slots=True)
class Place:
    """A file on the hub. `name` is what the model will be called."""

    repo: str
    file: str
    revision: str

    @property
    def name(self) -> str:
        return Path(self.file).stem.lower()


def place(model: str) -> Place:
    """The place that `hf:ORG/REPO/FILE.gguf[@REVISION]` names. Raises PullError."""
    found = PLACE.fullmatch(model)
    if found is None or not all(part.strip(".") for part in re.split(r"[/\\]", found["file"])):
        raise PullError(
            f"'{model}' names no file. Write it as hf:ORG/REPO/FILE.gguf, or hf:ORG/REPO/FILE.gguf@REVISION."
        )
    there = Place(found["repo"], found["file"], found["revision"] or "main")
    if PART.search(there.name):
        raise PullError(f"'{there.file}' is one part of a model in several files. Pull a model that is one file.")
    return there


@dataclass(frozen=True, slots=True)
class Found:
    """What the hub says of a file: `commit` is where the revision stands now, `size` in bytes."""

    commit: str
    sha256: str
    size: int


def look(there: Place) -> Found:
    """Ask the hub for a file's facts. Raises PullError."""
    library = _library()
    with _translated(there):
        url = library.hf_hub_url(there.repo, there.file, revision=there.revision, endpoint=_endpoint())
        facts = library.get_hf_file_metadata(url, endpoint=_endpoint())
    if facts.commit_hash is None or facts.size is None or not SHA256.fullmatch(facts.etag or ""):
        raise PullError(
            f"The hub names no SHA-256 for {_full(there)}, so that it could not be checked. Nothing is kept."
        )
    return Found(facts.commit_hash, facts.etag, facts.size)


def fetch(there: Place, found: Found, folder: Path, progress: Progress) -> Path:
    """Bring the file into `folder`, which is the caller's to remove. Gives where it lies. Raises PullError."""
    library = _library()
    progress("Fetching", 0, found.size)
    done = 0

    def count(length: int) -> None:
        nonlocal done
        done += length
        progress("Fetching", done, found.size)

    with _translated(there):
        file = library.hf_hub_download(
            there.repo,
            there.file,
            revision=found.commit,
            local_dir=folder,
            endpoint=_endpoint(),
            tqdm_class=lambda **_: Bar(count),
        )
    if sha256(Path(file), progress) != found.sha256:
        raise PullError(f"What came is not {_full(there)} (its SHA-256 differs). Nothing is kept. Pull again.")
    return Path(file)


class Bar:
    """What the library takes for its progress bar. It goes on with the same one when a connection breaks."""

    def __init__(self, update: Callable[[int], None]) -> None:
        self.update = update

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None: ...


def sha256(path: Path, progress: Progress) -> str:
    """The SHA-256 of a file."""
    digest, done, size = hashlib.sha256(), 0, path.stat().st_size
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
            done += len(chunk)
            progress("Checking", done, size)
    return digest.hexdigest()


def _library() -> Any:
    for name, value in SWITCHES.items():
        os.environ.setdefault(name, value)
    try:
        import huggingface_hub  # noqa: PLC0415  # an extra, and it takes a second to load
    except ImportError:
        raise PullError("The package 'huggingface_hub' is not installed. Run: pip install 'streamlane[hf]'") from None
    return huggingface_hub


def _endpoint() -> str | None:
    return os.environ.get("HF_ENDPOINT") or None


def _full(there: Place) -> str:
    at = "" if there.revision == "main" else f"@{there.revision}"
    return f"{there.repo}/{there.file}{at}"


@contextmanager
def _translated(there: Place) -> Iterator[None]:
    """The library's errors, as sentences with a next step."""
    from huggingface_hub import errors  # noqa: PLC0415  # as _library

    try:
        yield
    except errors.GatedRepoError:
        page = f"{_endpoint() or 'https://huggingface.co'}/{there.repo}"
        raise PullError(
            f"'{there.repo}' is gated. Accept its terms at {page}, then set HF_TOKEN or run `hf auth login`, "
            "and pull again."
        ) from None
    except errors.RepositoryNotFoundError:  # the hub answers 401 for both
        raise PullError(
            f"There is no repository '{there.repo}', or it is private. Check the name; for a private one set HF_TOKEN."
        ) from None
    except errors.RevisionNotFoundError:
        raise PullError(f"'{there.repo}' has no revision '{there.revision}'. Leave it out for the newest.") from None
    except errors.LocalEntryNotFoundError:  # an EntryNotFoundError by its class only
        raise PullError("The hub cannot be reached any more, or is down. Check the network, then pull again.") from None
    except errors.EntryNotFoundError:
        raise PullError(f"'{there.repo}' has no file '{there.file}'. Its page lists what there is.") from None
    except errors.HFValidationError:
        raise PullError(f"'{there.repo}' is no name of a repository. It looks like ORG/REPO.") from None
    except errors.HfHubHTTPError as error:
        status = error.response.status_code
        token = " Check HF_TOKEN." if status in (401, 403) else " Try again later."
        raise PullError(f"The hub answered with HTTP status {status} for {_full(there)}.{token}") from None
    except (OSError, errors.HTTPError) as error:  # type: ignore[attr-defined]  # that of whichever httpx it uses
        what = str(error).strip().splitlines() or [type(error).__name__]
        raise PullError(
            f"The file could not be fetched. Check the network, then pull again. The reason: {what[0]}"
        ) from None
