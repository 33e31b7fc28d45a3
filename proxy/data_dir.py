"""The folder for models and databases: where it is unless configured, and that it is ours to write."""

import os
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from proxy.config_error import ConfigError


def home(environ: Mapping[str, str]) -> Path:
    """The user's own folder."""
    named = environ.get("HOME") or environ.get("USERPROFILE")
    return Path(named) if named else Path.home()


def default_data_dir(environ: Mapping[str, str], platform: str = sys.platform) -> Path:
    """The platform's folder for a user's data."""
    if platform == "win32":
        return Path(environ.get("LOCALAPPDATA") or home(environ) / "AppData" / "Local") / "streamlane"
    if platform == "darwin":
        return home(environ) / "Library" / "Application Support" / "streamlane"
    # XDG Base Directory Specification: a path there that is not absolute is to be ignored.
    xdg = Path(environ.get("XDG_DATA_HOME", ""))
    return (xdg if xdg.is_absolute() else home(environ) / ".local" / "share") / "streamlane"


def ensure_data_dir(path: Path) -> None:
    """Make `path` with mode 0700, or check that we can write to it. Raises ConfigError.

    A folder that already holds something keeps its mode: it may be anything, even /tmp.
    """
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise ConfigError([f"data_dir: {path} is not a folder. Remove the file, or set another data_dir."]) from None
    except OSError as error:
        raise ConfigError([f"data_dir: cannot make {path}: {error.strerror}. Set another data_dir."]) from None
    with suppress(OSError):  # a volume may belong to another user; what counts is whether we can write
        if not any(path.iterdir()):
            path.chmod(0o700)
    if not os.access(path, os.R_OK | os.W_OK | os.X_OK):
        raise ConfigError([f"data_dir: cannot write to {path}. Give this user the right, or set another data_dir."])
