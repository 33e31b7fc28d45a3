"""Where data goes unless configured, and that the folder is ours alone."""

import os
import stat
from collections.abc import Mapping
from pathlib import Path

import pytest

from proxy.config_error import ConfigError
from proxy.data_dir import default_data_dir, ensure_data_dir


@pytest.mark.parametrize(
    ("platform", "environ", "folder"),
    [
        ("linux", {"HOME": "/home/streamlane"}, "/home/streamlane/.local/share/streamlane"),
        ("linux", {"HOME": "/home/streamlane", "XDG_DATA_HOME": "/data"}, "/data/streamlane"),
        ("linux", {"HOME": "/home/streamlane", "XDG_DATA_HOME": "data"}, "/home/streamlane/.local/share/streamlane"),
        ("darwin", {"HOME": "/home/streamlane"}, "/home/streamlane/Library/Application Support/streamlane"),
        ("win32", {"LOCALAPPDATA": "/local"}, "/local/streamlane"),
        ("win32", {"USERPROFILE": "/a"}, "/a/AppData/Local/streamlane"),
    ],
)
def test_each_platform_has_its_folder(platform: str, environ: Mapping[str, str], folder: str) -> None:
    assert default_data_dir(environ, platform) == Path(folder)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_new_folder_is_ours_alone(tmp_path: Path) -> None:
    ensure_data_dir(tmp_path / "a" / "b")
    assert mode(tmp_path / "a" / "b") == 0o700


def test_an_empty_folder_becomes_ours_alone(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    ensure_data_dir(tmp_path)
    assert mode(tmp_path) == 0o700


def test_a_folder_that_holds_something_keeps_its_mode(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    tmp_path.chmod(0o755)
    ensure_data_dir(tmp_path)
    assert mode(tmp_path) == 0o755


def test_a_file_in_its_place_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    for path in (file, file / "below"):
        with pytest.raises(ConfigError, match=r"is not a folder\. Remove the file, or set another data_dir\."):
            ensure_data_dir(path)


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root can write everywhere")
def test_a_folder_that_we_cannot_write_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    tmp_path.chmod(0o500)
    with pytest.raises(ConfigError, match="cannot write to"):
        ensure_data_dir(tmp_path)
    with pytest.raises(ConfigError, match="cannot make"):
        ensure_data_dir(tmp_path / "below")
    tmp_path.chmod(0o700)
