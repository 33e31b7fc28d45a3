"""What is generated about the configuration is true: the file loads, the page is current, the schema fits."""

import re
from pathlib import Path
from typing import Any

import pytest

from backends import registry
from proxy.config import settings
from proxy.config_docs import example_file, reference_page
from proxy.config_load import load
from proxy.config_schema import schema

ROOT = Path(__file__).parents[3]
ENVIRON = {"HOME": "/home/streamlane"}


def test_the_example_file_sets_nothing(tmp_path: Path) -> None:
    (tmp_path / "streamlane.toml").write_text(example_file())
    loaded = load(None, ENVIRON, tmp_path)
    assert loaded.config == load(None, ENVIRON, tmp_path / "nowhere").config
    assert set(loaded.origins.values()) == {"default"}


def test_the_example_file_is_right_when_all_of_it_is_uncommented(tmp_path: Path) -> None:
    text = re.sub(r"^# (?=\w+ = |\[)", "", example_file(), flags=re.MULTILINE)
    (tmp_path / "streamlane.toml").write_text(text)
    environ = {**ENVIRON, "STREAMLANE_KEY": "sk-sl-0123456789", "KEY_1": "y", "KEY_2": "z"}
    environ |= {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b", "AWS_SESSION_TOKEN": "c"}
    environ |= dict.fromkeys(re.findall(r"\$\{(\w+_API_KEY|AWS_BEARER_TOKEN_BEDROCK)\}", text), "x")
    loaded = load(None, environ, tmp_path)
    assert '"None"' not in text
    assert 'api_key = "${ANTHROPIC_API_KEY}"' in text
    assert not [path for path, origin in loaded.origins.items() if origin == "default"]
    assert len(loaded.config.backends) == len(registry.KINDS)


def test_the_reference_page_is_what_the_generator_writes() -> None:
    written = (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8")
    assert written == reference_page(), "run scripts/docs"


def test_the_reference_page_has_every_key_with_its_variable() -> None:
    page = reference_page()
    for path in settings():
        assert f"| `{path.rpartition('.')[2]}` |" in page
        assert f"`STREAMLANE_{path.replace('.', '_').upper()}`" in page


@pytest.mark.parametrize("path", settings())
def test_every_key_is_described(path: str) -> None:
    whole = schema([])
    table, _, key = path.rpartition(".")
    properties = whole["$defs"][table.capitalize()]["properties"] if table else whole["properties"]
    assert properties[key]["description"].endswith(".")


def test_the_schema_knows_the_keys_of_each_kind() -> None:
    whole = schema(sorted(registry.KINDS))
    options = [resolved(whole, option) for option in whole["properties"]["backends"]["items"]["anyOf"]]
    assert [each["properties"]["kind"]["enum"] for each in options] == [[kind] for kind in sorted(registry.KINDS)]
    assert all(each["additionalProperties"] is False for each in options)
    assert whole["required"] == []


def resolved(whole: dict[str, Any], reference: dict[str, str]) -> dict[str, Any]:
    found: dict[str, Any] = whole["$defs"][reference["$ref"].removeprefix("#/$defs/")]
    return found
