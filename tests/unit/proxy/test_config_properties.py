"""Whatever a file holds, it is a configuration or a ConfigError; whatever a string holds survives."""

import tomllib
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.config_error import ConfigError
from proxy.config_load import load
from proxy.config_show import as_text, toml_value
from proxy.config_source import References

TEXTS = st.text(st.characters(codec="utf-8"), max_size=20)
SCALARS = TEXTS | st.integers(-(2**63), 2**63 - 1) | st.floats() | st.booleans()
KEYS = st.sampled_from(["name", "kind", "model", "base_url", "targets", "port", "host", "api_keys", "idle", "level"])
VALUES: st.SearchStrategy[Any] = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS | TEXTS, inner, max_size=3), max_leaves=8
)
TABLES = st.sampled_from(["data_dir", "server", "ops", "log", "limits", "deadlines", "backends", "models", "x"])
KINDS = st.sampled_from(["fake", "llama_cpp", "openai_compatible", "y"])
BACKENDS = st.lists(st.dictionaries(KEYS, VALUES, max_size=4).flatmap(lambda t: KINDS.map(lambda k: {**t, "kind": k})))


@settings(max_examples=40)
@given(st.dictionaries(TABLES, VALUES, max_size=4), BACKENDS)
def test_any_file_loads_or_is_refused_with_sentences(tables: dict[str, Any], backends: list[dict[str, Any]]) -> None:
    if backends:
        tables["backends"] = backends
    text = "\n".join(f"{key} = {toml_value(value)}" for key, value in tables.items())
    with TemporaryDirectory() as folder:
        (Path(folder) / "streamlane.toml").write_text(text, encoding="utf-8", newline="")
        problems: tuple[str, ...] | None = None
        try:
            shown = as_text(load(None, {"HOME": "/home/streamlane"}, Path(folder)))
        except ConfigError as error:
            problems = error.problems
    if problems is None:
        tomllib.loads(shown)
    else:
        assert problems
        assert all(problem.startswith("streamlane.toml: ") for problem in problems)


@given(TEXTS)
def test_a_string_with_its_dollars_doubled_stays_itself(text: str) -> None:
    references = References({})
    assert references.expand(text.replace("$", "$$")) == text
    assert not references.problems


@given(VALUES)
def test_values_survive_toml(value: Any) -> None:
    again = tomllib.loads(f"key = {toml_value(value)}")["key"]
    assert repr(again) == repr(value)  # by its text, because nan is not equal to itself
