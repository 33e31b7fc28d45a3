"""Environments of their own for clients that tests run: made once, whole or not at all, and kept in the cache."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from tests.models import cache_dir

PROGRAM = Path("Scripts/python.exe" if os.name == "nt" else "bin/python")


def python_with(*requirements: str) -> Path:
    """An interpreter in a virtual environment that holds just these, each with its version (`name==1.2.3`)."""

    def make(folder: Path) -> None:
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
        pip = [sys.executable, "-m", "pip", "--python", str(folder / PROGRAM), "install", "--quiet"]
        subprocess.run([*pip, *requirements], check=True)

    return (
        kept(f"{'-'.join(requirements).replace('==', '-')}-{sys.version_info.major}.{sys.version_info.minor}", make)
        / PROGRAM
    )


def npm_with(*packages: str) -> Path:
    """A folder whose `node_modules` holds these, each with its version (`name@1.2.3`)."""

    def make(folder: Path) -> None:
        folder.mkdir()
        (folder / "package.json").write_text('{"private": true, "type": "module"}')
        flags = ["--silent", "--no-audit", "--no-fund", "--save-exact"]
        subprocess.run(["npm", "install", *flags, *packages], cwd=folder, check=True)

    return kept("npm-" + "-".join(packages).replace("@", "-"), make)


def kept(name: str, make: Callable[[Path], None]) -> Path:
    """The folder of that name in the cache; `make` fills it on its first use."""
    folder = cache_dir() / "".join(letter if letter.isalnum() or letter in "-._" else "_" for letter in name)
    if not folder.exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent) as temporary:
            made = Path(temporary) / "made"
            make(made)
            shutil.move(made, folder)
    return folder
