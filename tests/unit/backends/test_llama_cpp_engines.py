"""Which engine loads a model, and what is said when there is none. The packages are stand-ins."""

import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

from backends.errors import EngineUnavailable
from backends.llama_cpp.engine import Setup
from backends.llama_cpp.engines import ENGINES, load_engine

SETUP = Setup(Path("model.gguf"), 1, 256, 1)


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch):
    """Makes it look as if exactly these engines were installed. Each loads its own name."""

    def only(*names: str) -> None:
        for name, kind in ENGINES.items():
            package = ModuleType(kind.package)
            package.__spec__ = SimpleNamespace(name=kind.package)
            monkeypatch.setitem(sys.modules, kind.package, package if name in names else None)
            monkeypatch.setitem(sys.modules, kind.module, SimpleNamespace(load=lambda _, name=name: name))

    return only


@pytest.mark.parametrize(
    ("names", "wanted", "loaded"),
    [
        (("xllamacpp", "llama-cpp-python"), "auto", "xllamacpp"),
        (("xllamacpp",), "auto", "xllamacpp"),
        (("llama-cpp-python",), "auto", "llama-cpp-python"),
        (("xllamacpp", "llama-cpp-python"), "llama-cpp-python", "llama-cpp-python"),
        (("xllamacpp", "llama-cpp-python"), "xllamacpp", "xllamacpp"),
    ],
)
def test_the_engine_that_was_asked_for_loads_the_model(installed, names, wanted, loaded) -> None:
    installed(*names)
    assert load_engine(wanted, SETUP) == loaded


def test_without_an_engine_it_says_how_to_install_one(installed) -> None:
    installed()
    with pytest.raises(EngineUnavailable) as refused:
        load_engine("auto", SETUP)
    assert str(refused.value) == (
        "No llama.cpp engine is installed. Install one with: pip install 'streamlane[llama-batched]', or where that "
        "has no wheel, pip install 'streamlane[llama]', which compiles for some ten minutes."
    )


@pytest.mark.parametrize(
    ("here", "wanted", "extra"),
    [("xllamacpp", "llama-cpp-python", "llama"), ("llama-cpp-python", "xllamacpp", "llama-batched")],
)
def test_an_engine_that_is_not_installed_is_named(installed, here, wanted, extra) -> None:
    installed(here)
    with pytest.raises(EngineUnavailable) as refused:
        load_engine(wanted, SETUP)
    assert str(refused.value) == (
        f"The engine '{wanted}' is not installed. Install it with: pip install 'streamlane[{extra}]', or set `engine` "
        f'to "auto" or "{here}".'
    )


def test_an_engine_that_is_broken_says_what_it_misses(installed, monkeypatch: pytest.MonkeyPatch) -> None:
    """A container without OpenMP has the package, and not what it was linked to."""
    installed("llama-cpp-python")
    missing = "libgomp.so.1: cannot open shared object file"

    def broken(name: str) -> ModuleType:
        raise RuntimeError(missing)

    monkeypatch.setattr("backends.llama_cpp.engines.import_module", broken)
    with pytest.raises(EngineUnavailable, match=f"'llama-cpp-python' is installed but cannot be loaded .{missing}"):
        load_engine("auto", SETUP)
