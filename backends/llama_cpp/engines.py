"""Which engines there are, and which one loads a model."""

from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from typing import Literal, TypeAlias, cast

from backends.errors import EngineUnavailable
from backends.llama_cpp.engine import Engine, Setup

EngineName: TypeAlias = Literal["auto", "xllamacpp", "llama-cpp-python"]

NO_ENGINE = (
    "No llama.cpp engine is installed. Install one with: pip install 'streamlane[llama-batched]', or where that has no "
    "wheel, pip install 'streamlane[llama]', which compiles for some ten minutes."
)


@dataclass(frozen=True, slots=True)
class Kind:
    """One engine: the package that carries llama.cpp, the extra that installs it, and our module with `load`."""

    package: str
    extra: str
    module: str


ENGINES = {  # in the order in which "auto" takes them
    "xllamacpp": Kind("xllamacpp", "llama-batched", "backends.llama_cpp.xllamacpp"),
    "llama-cpp-python": Kind("llama_cpp", "llama", "backends.llama_cpp.llama_cpp_python"),
}


def load_engine(name: EngineName, setup: Setup) -> Engine:
    """The model in the engine `name`; "auto" is the first that is installed. Raises EngineUnavailable."""
    wanted = ENGINES if name == "auto" else (name,)
    found = next((engine for engine in wanted if find_spec(ENGINES[engine].package)), None)
    if found is None:
        raise EngineUnavailable(NO_ENGINE if name == "auto" else missing(name))
    try:
        module = import_module(ENGINES[found].module)
    except (ImportError, OSError, RuntimeError) as error:  # a library that it was built against is not here
        raise EngineUnavailable(
            f"The engine '{found}' is installed but cannot be loaded ({error}). Install what it misses, or "
            "install the engine again."
        ) from None
    return cast(Engine, module.load(setup))


def missing(name: str) -> str:
    """What to say when the engine that was asked for is not installed."""
    others = " or ".join(f'"{other}"' for other in ("auto", *ENGINES) if other != name)
    return (
        f"The engine '{name}' is not installed. Install it with: pip install 'streamlane[{ENGINES[name].extra}]', or "
        f"set `engine` to {others}."
    )
