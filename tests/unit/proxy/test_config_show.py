"""What `config show` prints: effective values, origins, and no secret."""

import tomllib
from pathlib import Path

import pytest

from proxy.config_load import Loaded, load
from proxy.config_show import as_data, as_text, mask, toml_value

KEY = "sk-sl-0123456789abcdefghijklmnopqrstuv"
TEXT = """
server.api_keys = ["${MAIN_KEY}", "short-but-enough"]
[[backends]]
kind = "openai_compatible"
name = "gpu"
base_url = "http://${SECRET_TOKEN}.example/v1"
api_key = "upstream-secret"
api_key_header = "X-API-Key"
[models."gpt-4.1"]
targets = ["gpu/a", "gpu/b"]
instructions = 'Say "hi".'
max_output_tokens = 100
"""


@pytest.fixture
def loaded(tmp_path: Path) -> Loaded:
    (tmp_path / "streamlane.toml").write_text(TEXT)
    environ = {"HOME": "/home/streamlane", "MAIN_KEY": KEY, "SECRET_TOKEN": "hidden", "STREAMLANE_OPS_PORT": "0"}
    return load(None, environ, tmp_path)


def test_the_text_is_toml_with_the_values_in_effect(loaded: Loaded) -> None:
    shown = tomllib.loads(as_text(loaded))
    assert shown["ops"]["port"] == 0
    assert shown["deadlines"]["total"] == 1800
    assert shown["data_dir"] == str(loaded.config.data_dir)
    assert shown["backends"][0]["kind"] == "openai_compatible"
    assert shown["models"]["gpt-4.1"] == {
        "targets": ["gpu/a", "gpu/b"],
        "strategy": "ordered",
        "weights": [],
        "sticky": "none",
        "instructions": 'Say "hi".',
        "max_output_tokens": 100,
    }


def test_each_line_ends_with_its_origin(loaded: Loaded) -> None:
    lines = as_text(loaded).splitlines()
    assert "port = 0            # STREAMLANE_OPS_PORT" in lines
    assert 'level  = "info"  # default' in lines
    assert 'targets           = ["gpu/a", "gpu/b"]  # streamlane.toml' in lines


def test_no_secret_is_shown(loaded: Loaded) -> None:
    for shown in (as_text(loaded), str(as_data(loaded))):
        assert "sk-sl-…uv" in shown
        for secret in (KEY, "short-but-enough", "upstream-secret", "hidden"):
            assert secret not in shown
        assert "X-API-Key" in shown


def test_data_names_the_file_and_keeps_keys_without_a_value(loaded: Loaded) -> None:
    data = as_data(loaded)
    assert data["file"] == str(loaded.path)
    assert data["config"]["models"]["gpt-4.1"]["temperature"] is None
    assert data["origins"]['models."gpt-4.1".targets'] == "streamlane.toml"


@pytest.mark.parametrize(
    ("secret", "shown"), [("", "****"), ("0123456789abcdef", "****"), ("a" * 23, "****"), (KEY, "sk-sl-…uv")]
)
def test_of_a_short_secret_nothing_is_shown(secret: str, shown: str) -> None:
    assert mask(secret) == shown


@pytest.mark.parametrize(
    "value", ["", 'a"b\\c\n\t\x7f\x00é😀', True, 0, 1.5, 1e300, [], ["a", ["b"]], {"a b": 1, "c": {"d": "e"}}, {}]
)
def test_values_survive_toml(value: object) -> None:
    assert tomllib.loads(f"key = {toml_value(value)}")["key"] == value
