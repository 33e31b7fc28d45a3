"""The house rules that no linter knows: file length, first lines, silent imports, documents that cannot drift."""

import ast
import os
import re
import subprocess
import sys
import tomllib
from fnmatch import fnmatch
from pathlib import Path

import pytest

import proxy

ROOT = Path(__file__).parent.parent
ROOMS = ("proxy", "backends", "quota")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


def python_files(*folders: str) -> list[Path]:
    files = [path for folder in folders for path in (ROOT / folder).rglob("*.py")]
    return sorted(path for path in files if "node_modules" not in path.parts)


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def module(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def docstring(path: Path) -> str:
    return ast.get_docstring(ast.parse(path.read_text())) or ""


CLIENT = ROOT / "clients/python/streamlane_client"
ALL = python_files(*ROOMS, "tests", "scripts", "clients/python")
OURS = python_files(*ROOMS)


@pytest.mark.parametrize("path", ALL, ids=name)
def test_a_file_has_one_job_said_in_its_first_line(path: Path) -> None:
    lines = path.read_text().splitlines()
    assert len(lines) <= 400, f"{len(lines)} lines; split it by job"
    first = docstring(path).split("\n\n")[0].replace("\n", " ")
    assert first, "a module begins with a docstring that says its job"
    assert docstring(path).splitlines()[0].rstrip()[-1] in ".:", f"not a whole sentence: {first}"


def test_files_that_call_themselves_pure_are_held_to_it() -> None:
    [listed] = [c["source_modules"] for c in PROJECT["tool"]["importlinter"]["contracts"] if c["type"] == "forbidden"]
    patterns = [pattern for entry in listed for pattern in (entry, f"{entry}.*")]
    pure = {module(path) for path in OURS if re.search(r"\bPure\b", docstring(path).split("\n\n")[0])}
    unlisted = {file for file in pure if not any(fnmatch(file, pattern) for pattern in patterns)}
    assert pure
    assert not unlisted, "add them to source_modules of the contract 'Pure files' in pyproject.toml"


def test_the_python_client_stands_on_websockets_alone() -> None:
    imported = {
        name.partition(".")[0]
        for path in CLIENT.glob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in ([node.module or ""] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names])
    }
    assert imported - sys.stdlib_module_names == {"websockets", CLIENT.name}


def test_orjson_has_one_door() -> None:
    importers = {
        name(path) for path in OURS if re.search(r"^\s*(import|from) orjson\b", path.read_text(), re.MULTILINE)
    }
    assert importers == {"backends/json.py"}


IMPORT_ALL = """
import os, sys, threading
from importlib import import_module

seen = []

def watch(event, arguments):
    if event.startswith("socket."):
        seen.append(f"{event} {arguments!r}")
    kept = not str(arguments[0]).endswith((".pyc", os.devnull)) if event == "open" else False
    if kept and set(str(arguments[1] or "")) & set("wax+"):
        seen.append(f"open {arguments[0]} to write")

sys.addaudithook(watch)
for name in sys.argv[1:]:
    try:
        import_module(name)
    except ModuleNotFoundError as error:
        if error.name.partition(".")[0] not in OPTIONAL:
            raise
    seen += [f"thread {thread.name}" for thread in threading.enumerate() if thread is not threading.main_thread()]
    if seen:
        sys.exit(f"importing {name}: {seen}")
"""


def test_importing_anything_opens_nothing(tmp_path: Path) -> None:
    """No socket, no file to write, no thread, and no need of HOME or any variable of ours."""
    optional = {"llama_cpp", "xllamacpp", "gguf"}
    modules = [module(path) for path in OURS if path.name != "__main__.py"]
    modules += [f"{CLIENT.name}.{path.stem}" for path in CLIENT.glob("[!_]*.py")]
    done = subprocess.run(
        [sys.executable, "-c", f"OPTIONAL = {optional}\n{IMPORT_ALL}", *modules],
        cwd=ROOT,
        env={
            "PYTHONPATH": f"{ROOT}{os.pathsep}{CLIENT.parent}",
            "PATH": os.environ["PATH"],
            "PYTHONDONTWRITEBYTECODE": "1",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_every_dependency_has_its_reason() -> None:
    project = PROJECT["project"]
    wanted = [*project["dependencies"], *(d for extra in project["optional-dependencies"].values() for d in extra)]
    names = {re.match(r"[\w.-]+(\[\w+\])?", requirement).group() for requirement in wanted}
    documented = set(re.findall(r"^\| `([^`]+)`", (ROOT / "docs/dependencies.md").read_text(), re.MULTILINE))
    assert names == documented


def test_the_version_is_the_same_everywhere() -> None:
    version = PROJECT["project"]["version"]
    assert proxy.__version__ == version
    assert re.search(rf"^## \[(Unreleased|{re.escape(version)})\]", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)


def test_the_readme_names_the_one_test_command() -> None:
    assert "scripts/test" in (ROOT / "README.md").read_text()


def test_no_file_knows_the_machine_it_was_written_on() -> None:
    private = re.compile(rb"(?<![\w.-])/(Users|root|work|workspace|home/(?!streamlane))/?\w")
    skipped = {"node_modules", "dist", Path(__file__).name}
    found = {}
    for folder, folders, files in os.walk(ROOT):
        folders[:] = [entry for entry in folders if entry not in skipped and (entry[0] not in "._" or entry == ".ci")]
        for path in (Path(folder, file) for file in files if file not in skipped):
            if path.stat().st_size < 1_000_000 and (match := private.search(path.read_bytes())):
                found[name(path)] = match.group().decode()
    assert not found
