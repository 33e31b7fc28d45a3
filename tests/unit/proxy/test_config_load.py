"""What a file, the environment and flags become, and where each value came from."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from backends.llama_cpp.backend import Options as LlamaCpp
from backends.openai_compatible import Options as OpenAICompatible
from proxy.config import Config
from proxy.config_error import ConfigError
from proxy.config_load import Loaded, load

HOME = {"HOME": "/home/streamlane"}
LONG = "sk-sl-0123456789abcdefghij"
EXAMPLE = """
data_dir = "data"
[server]
host = "127.0.0.1"
port = 9000
api_keys = []
[ops]
port = 9001
[log]
level = "debug"
[[backends]]
name = "gpu"
kind = "openai_compatible"
base_url = "http://127.0.0.1:8000/v1"
api_key = "${VLLM_API_KEY}"
models = ["llama-3-8b"]
[[backends]]
name = "local"
kind = "llama_cpp"
model = "smollm2"
parallel = 4
[models.fast]
targets = ["local/smollm2", "gpu/llama-3-8b"]
instructions = "Be brief."
temperature = 0.5
"""


def read(folder: Path, text: str, environ: Mapping[str, str] = {}) -> Loaded:
    (folder / "streamlane.toml").write_text(text, encoding="utf-8")
    return load(None, {**HOME, **environ}, folder)


def test_without_a_file_everything_has_its_default(tmp_path: Path) -> None:
    loaded = load(None, HOME, tmp_path)
    assert loaded.path is None
    assert loaded.config == Config(data_dir=loaded.config.data_dir)
    assert set(loaded.origins.values()) == {"default"}
    assert loaded.config.server.port == 8765
    assert loaded.config.ops.port == 8766
    assert loaded.config.limits.default_max_output_tokens == 4096


def test_a_file_becomes_typed_values(tmp_path: Path) -> None:
    config = read(tmp_path, EXAMPLE, {"VLLM_API_KEY": "secret"}).config
    assert (config.server.port, config.ops.port, config.log.level) == (9000, 9001, "debug")
    assert config.data_dir == tmp_path / "data"
    assert config.backends == (
        OpenAICompatible(name="gpu", base_url="http://127.0.0.1:8000/v1", api_key="secret", models=("llama-3-8b",)),
        LlamaCpp(name="local", model="smollm2", parallel=4),
    )
    assert config.models["fast"].targets == ("local/smollm2", "gpu/llama-3-8b")
    assert config.models["fast"].temperature == 0.5


def test_each_value_says_where_it_came_from(tmp_path: Path) -> None:
    (tmp_path / "streamlane.toml").write_text(EXAMPLE)
    environ = {**HOME, "VLLM_API_KEY": "secret", "STREAMLANE_OPS_PORT": "7001"}
    origins = load(None, environ, tmp_path, {"log.level": ("--log-level", "error")}).origins
    assert origins["server.port"] == "streamlane.toml"
    assert origins["server.allowed_hosts"] == "default"
    assert origins["ops.port"] == "STREAMLANE_OPS_PORT"
    assert origins["log.level"] == "--log-level"
    assert origins["backends[0].api_key"] == "streamlane.toml (${VLLM_API_KEY})"
    assert origins["backends[1].context"] == "default"
    assert origins["models.fast.targets"] == "streamlane.toml"


def test_a_named_file_goes_before_the_variable_and_that_before_the_folder(tmp_path: Path) -> None:
    for name, port in (("streamlane.toml", 1001), ("variable.toml", 1002), ("flag.toml", 1003)):
        (tmp_path / name).write_text(f"server.port = {port}")
    environ = {**HOME, "STREAMLANE_CONFIG": "variable.toml"}
    assert load(None, HOME, tmp_path).config.server.port == 1001
    assert load(None, environ, tmp_path).config.server.port == 1002
    assert load(Path("flag.toml"), environ, tmp_path).config.server.port == 1003


def test_a_flag_goes_before_the_environment_and_that_before_the_file(tmp_path: Path) -> None:
    (tmp_path / "streamlane.toml").write_text("server.port = 1001")
    environ = {**HOME, "STREAMLANE_SERVER_PORT": "1002"}
    assert load(None, environ, tmp_path).config.server.port == 1002
    assert load(None, environ, tmp_path, {"server.port": ("--port", "1003")}).config.server.port == 1003


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("STREAMLANE_SERVER_API_KEYS", f"{LONG}, {LONG}2", (LONG, f"{LONG}2")),
        ("STREAMLANE_SERVER_ALLOWED_ORIGINS", "https://a.example", ("https://a.example",)),
        ("STREAMLANE_SERVER_ALLOWED_HOSTS", "", ()),
        ("STREAMLANE_SERVER_PORT", "", 8765),
        ("STREAMLANE_SERVER_PORT", "tcp://10.0.0.1:8765", 8765),  # Kubernetes, for a Service named streamlane-server
        ("STREAMLANE_DEADLINES_IDLE", "1.5", 1.5),
        ("STREAMLANE_LOG_LEVEL", "warning", "warning"),
        ("STREAMLANE_LIMITS_QUEUED_CREATES", "0", 0),
    ],
)
def test_the_environment_sets_the_key_it_names(tmp_path: Path, name: str, text: str, value: object) -> None:
    table, _, key = name.removeprefix("STREAMLANE_").lower().partition("_")
    config = load(None, {**HOME, name: text}, tmp_path).config
    assert getattr(getattr(config, table), key) == value


def test_an_empty_variable_does_not_take_the_keys_away(tmp_path: Path) -> None:
    config = read(tmp_path, f'server.api_keys = ["{LONG}"]', {"STREAMLANE_SERVER_API_KEYS": ""}).config
    assert config.server.api_keys == (LONG,)


def test_relative_paths_start_where_they_were_written(tmp_path: Path) -> None:
    folder = tmp_path / "etc"
    folder.mkdir()
    file = folder / "s.toml"
    file.write_text(
        'data_dir = "data"\n[[backends]]\nkind = "llama_cpp"\nname = "a"\nmodel = "models/m.gguf"\n'
        '[[backends]]\nkind = "llama_cpp"\nname = "b"\nmodel = "~/m.gguf"\n'
    )
    config = load(file, HOME, tmp_path).config
    assert config.data_dir == folder / "data"
    assert [options.model for options in config.backends] == [str(folder / "models/m.gguf"), "/home/streamlane/m.gguf"]
    assert load(file, {**HOME, "STREAMLANE_DATA_DIR": "here"}, tmp_path).config.data_dir == tmp_path / "here"
    assert load(file, {**HOME, "STREAMLANE_DATA_DIR": "~"}, tmp_path).config.data_dir == Path("/home/streamlane")


def test_references_are_replaced_in_any_string_and_a_double_dollar_is_one(tmp_path: Path) -> None:
    text = """
    server.allowed_hosts = ["${A}.example", "b"]
    [[backends]]
    kind = "fake"
    name = "x"
    text = "$$5, ${A}${A}, $A, 5$, $${A}"
    """
    config = read(tmp_path, text, {"A": "$$a"}).config
    assert config.server.allowed_hosts == ("$$a.example", "b")
    assert config.backends[0].text == "$5, $$a$$a, $A, 5$, ${A}"  # what a variable holds is taken as it is


def test_a_variable_of_our_prefix_may_be_referred_to(tmp_path: Path) -> None:
    config = read(tmp_path, 'server.api_keys = ["${STREAMLANE_SERVER_KEY}"]', {"STREAMLANE_SERVER_KEY": LONG}).config
    assert config.server.api_keys == (LONG,)


def test_a_mark_that_windows_editors_write_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "streamlane.toml").write_bytes(b"\xef\xbb\xbfserver.port = 1001\r\n")
    assert load(None, HOME, tmp_path).config.server.port == 1001


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "localhost"])
def test_loopback_needs_no_key(tmp_path: Path, host: str) -> None:
    assert read(tmp_path, f'server.host = "{host}"').config.server.api_keys == ()


def test_with_a_key_others_may_be_let_in(tmp_path: Path) -> None:
    text = f'server = {{ host = "0.0.0.0", api_keys = ["{LONG}"] }}\nops.host = "::"'
    assert read(tmp_path, text).config.server.host == "0.0.0.0"


def test_both_listeners_may_take_a_free_port(tmp_path: Path) -> None:
    assert read(tmp_path, "server.port = 0\nops.port = 0").config.ops.port == 0


def test_an_alias_may_have_a_models_own_name(tmp_path: Path) -> None:
    text = (
        '[[backends]]\nkind = "fake"\nname = "a"\n[models."meta-llama/Llama-3.1"]\ntargets = ["a/meta-llama/Llama-3.1"]'
    )
    assert list(read(tmp_path, text).config.models) == ["meta-llama/Llama-3.1"]


def test_a_configuration_cannot_be_changed(tmp_path: Path) -> None:
    config = load(None, HOME, tmp_path).config
    with pytest.raises(AttributeError):
        config.server.port = 1  # type: ignore[misc]  # that is the test


def test_an_error_lists_its_problems_one_a_line() -> None:
    assert str(ConfigError(["a: b", "c: d"])) == "a: b\nc: d"
