"""Each mistake gets its sentence: with its place, what was expected, and the nearest known name."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from backends.registry import kinds
from proxy.config_error import ConfigError
from proxy.config_load import load

KNOWN = f"Known kinds: {', '.join(kinds())}."
HOME = {"HOME": "/home/streamlane"}
FAKE = '[[backends]]\nkind = "fake"\nname = "gpu"\n'


def problems(folder: Path, text: str, environ: Mapping[str, str] = {}) -> tuple[str, ...]:
    (folder / "streamlane.toml").write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        load(None, {**HOME, **environ}, folder)
    return caught.value.problems


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        # unknown keys
        ("[sever]", 'sever: unknown key. Did you mean "server"?'),
        ("server.prot = 1", 'server.prot: unknown key. Did you mean "port"?'),
        ("api_keys = []", 'api_keys: unknown key. Did you mean "server.api_keys"?'),
        ("log.x1 = 1", "log.x1: unknown key. Known keys: level, format."),
        (f"{FAKE}modles = []", 'backends[0].modles: unknown key. Did you mean "models"?'),
        (f"{FAKE}[models.m]\ntargets = ['gpu/m']\ntop-p = 1", 'models.m.top-p: unknown key. Did you mean "top_p"?'),
        # types and ranges
        ('server.port = "x"', "server.port: expected a whole number, got text"),
        ("server.port = true", "server.port: expected a whole number, got true or false"),
        ("server.port = 65536", "server.port: expected a whole number <= 65535"),
        ("server.allowed_hosts = ['a', 1]", "server.allowed_hosts[1]: expected text, got a whole number"),
        ("server = 1", "server: expected a table [server], got a whole number"),
        ("data_dir = 1", "data_dir: expected a path in quotes"),
        ("data_dir = ''", "data_dir: expected a path in quotes"),
        ("deadlines.idle = 0", "deadlines.idle: expected a number > 0"),
        ("deadlines.idle = nan", "deadlines.idle: expected a number > 0"),
        ("deadlines.idle = inf", "deadlines.idle: expected a number <= 86400"),
        (
            f"{FAKE}[privacy]\nown_backends = ['gpus']",
            'privacy.own_backends[0]: no backend is named "gpus". Did you mean "gpu"? Backends: gpu.',
        ),
        ("health.error_share = 0", "health.error_share: expected a number > 0"),
        ("limits.lanes = 0", "limits.lanes: expected a whole number >= 1"),
        ("log.format = 'xml'", 'log.format: expected one of "auto", "pretty", "json", got "xml"'),
        (
            "log.level = 'warn'",
            'log.level: expected one of "debug", "info", "warning", "error", got "warn". Did you mean "warning"?',
        ),
        # listeners
        ("ops.port = 8765", "ops.port: 8765 is the server's port too. Choose another."),
        (
            "server.allowed_origins = ['https://a.example/']",
            (
                "server.allowed_origins[0]: expected scheme://host[:port] without a path, "
                'such as "https://chat.example.com", got "https://a.example/"'
            ),
        ),
        (
            "server.allowed_hosts = ['https://a.example']",
            'server.allowed_hosts[0]: expected a host name such as "llm.example.com", got "https://a.example"',
        ),
        (
            "server.api_keys = ['a key with spaces']",
            "server.api_keys[0]: a key holds only ASCII letters, digits and signs, no space, no comma.",
        ),
        # backends
        ("[backends.gpu]", "backends: expected tables [[backends]], with two brackets, got a table"),
        ("backends = [1]", "backends[0]: expected a table, got a whole number"),
        (
            "[[backends]]\nname = 'a'",
            f"backends[0].kind: missing. {KNOWN}",
        ),
        (
            "[[backends]]\ntype = 'vllm'",
            (f'backends[0].type: unknown key. Did you mean "kind"? {KNOWN}'),
        ),
        (
            "[[backends]]\nknid = 'vllm'",
            (f'backends[0].knid: unknown key. Did you mean "kind"? {KNOWN}'),
        ),
        (
            "[[backends]]\nkind = 1",
            (f"backends[0].kind: expected text, got a whole number. {KNOWN}"),
        ),
        (
            "[[backends]]\nkind = 'teletype'",
            f'backends[0].kind: unknown kind "teletype". {KNOWN}',
        ),
        (
            "[[backends]]\nkind = 'azure'",
            f'backends[0].kind: unknown kind "azure". Did you mean "azure_openai"? {KNOWN}',
        ),
        (
            "[[backends]]\nkind = 'groq'",
            f'backends[0].kind: unknown kind "groq". Write kind = "openai_compatible", preset = "groq". {KNOWN}',
        ),
        ("[[backends]]\nkind = 'bedrock'\nname = 'b'", "backends[0].region: missing. Add it."),
        (
            "[[backends]]\nkind = 'openai'\nname = 'o'\napi_key = ''",
            'backends[0] "o".api_key: it is empty. Set it, or leave it out',
        ),
        (
            "[[backends]]\nkind = 'vertex'\nname = 'v'",
            'backends[0] "v".project: expected the id of a project; without one, an api_key of express mode',
        ),
        (
            "[[backends]]\nkind = 'llamacpp'",
            (f'backends[0].kind: unknown kind "llamacpp". Did you mean "llama_cpp"? {KNOWN}'),
        ),
        ("[[backends]]\nkind = 'fake'", "backends[0].name: missing. Add it."),
        (FAKE + FAKE, 'backends[1].name: "gpu" is already the name of backends[0]. Choose another.'),
        (
            "[[backends]]\nkind = 'fake'\nname = 'a/b'",
            'backends[0].name: expected letters, digits, ".", "_" and "-", got "a/b"',
        ),
        # aliases
        ("models = []", "models: expected tables [models.NAME], got a list"),
        ("[models]\nfast = 'gpu/m'", "models.fast: expected a table [models.fast], got text"),
        ("[models.fast]", "models.fast.targets: missing. Add it."),
        ("[models.fast]\ntargets = []", "models.fast.targets: expected at least 1 item"),
        (
            '[models."gpt-4.1"]\ntargets = ["a/b"]',
            'models."gpt-4.1".targets[0]: no backend is named "a". There are no [[backends]].',
        ),
        (
            f"{FAKE}[models.fast]\ntargets = ['gpo/m']",
            'models.fast.targets[0]: no backend is named "gpo". Did you mean "gpu"? Backends: gpu.',
        ),
        (f"{FAKE}[models.fast]\ntargets = ['gpu']", 'models.fast.targets[0]: expected "BACKEND/MODEL", got "gpu"'),
        (
            f"{FAKE}[prices.'gpo/m']\ninput = 0\noutput = 0",
            'prices."gpo/m": no backend is named "gpo". Did you mean "gpu"? Backends: gpu.',
        ),
        (
            f"{FAKE}[models.fast]\ntargets = ['gpu/m', 'gpu/m']",
            'models.fast.targets[1]: "gpu/m" is there twice. Remove one.',
        ),
        (
            f"{FAKE}[models.a]\ntargets = ['gpu/m']\n[models.b]\ntargets = ['a']",
            'models.b.targets[0]: "a" is an alias. Targets are backends\' models, written "BACKEND/MODEL".',
        ),
        (
            f"{FAKE}[models.gpu]\ntargets = ['gpu/m']",
            'models.gpu: hides models of the backend "gpu", which are addressed as "gpu/MODEL". Rename the alias.',
        ),
        (f'{FAKE}[models.""]\ntargets = ["gpu/m"]', 'models."": an alias needs a name.'),
        (f"{FAKE}[models.m]\ntargets = ['gpu/m']\ntemperature = 3", "models.m.temperature: expected a number <= 2"),
        # references
        (
            "server.allowed_hosts = ['${NOPE}']",
            "server.allowed_hosts[0]: the environment variable NOPE is not set. Set it, or remove ${NOPE}.",
        ),
        (
            "[[backends]]\nkind = 'openai_compatible'\nname = 'a'\nbase_url = 'http://x'\napi_key = '${NOPE}'",
            "backends[0].api_key: the environment variable NOPE is not set. Set it, or remove ${NOPE}.",
        ),
        (
            f"{FAKE}text = '${{A'",
            'backends[0].text: expected ${NAME} after "$". A dollar sign itself is written $$.',
        ),
        # the file itself
        ("server.port == 1", "not valid TOML: Invalid value (at line 1, column 14)"),
    ],
)
def test_one_mistake_gets_one_sentence(tmp_path: Path, text: str, problem: str) -> None:
    assert problems(tmp_path, text) == (f"streamlane.toml: {problem}",)


@pytest.mark.parametrize(
    ("environ", "problem"),
    [
        ({"STREAMLANE_SERVER_PORT": "x"}, "STREAMLANE_SERVER_PORT: expected a whole number, got text"),
        (
            {"STREAMLANE_SERVER_PROT": "1"},
            "STREAMLANE_SERVER_PROT: unknown variable. Did you mean STREAMLANE_SERVER_PORT?",
        ),
        ({"STREAMLANE_PORT": "1"}, "STREAMLANE_PORT: unknown variable. Did you mean STREAMLANE_SERVER_PORT?"),
        ({"STREAMLANE_DATADIR": "x"}, "STREAMLANE_DATADIR: unknown variable. Did you mean STREAMLANE_DATA_DIR?"),
        (
            {"STREAMLANE_LOG_FILE": "x"},
            "STREAMLANE_LOG_FILE: unknown variable. Known here: STREAMLANE_LOG_LEVEL, STREAMLANE_LOG_FORMAT.",
        ),
        ({"STREAMLANE_OPS_PORT": "8765"}, "STREAMLANE_OPS_PORT: 8765 is the server's port too. Choose another."),
    ],
)
def test_a_mistake_in_the_environment_names_its_variable(tmp_path: Path, environ: dict[str, str], problem: str) -> None:
    assert problems(tmp_path, "", environ) == (problem,)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("STREAMLANE_TEST_SERVER_PORT", "1"),
        ("STREAMLANE_SERVICE_HOST", "10.0.0.1"),
        ("STREAMLANE_SERVICE_PORT", "8765"),
        ("STREAMLANE_PORT", "tcp://10.0.0.1:8765"),
        ("STREAMLANE_PORT_8765_TCP_ADDR", "10.0.0.1"),
        ("STREAMLANE_OPS_SERVICE_PORT_HTTP", "8766"),
        ("STREAMLANE_ZZZ", "1"),
    ],
)
def test_variables_that_are_not_meant_for_us_are_left_alone(tmp_path: Path, name: str, text: str) -> None:
    assert load(None, {**HOME, name: text}, tmp_path).config.server.port == 8765


def test_everything_that_is_wrong_is_told_at_once(tmp_path: Path) -> None:
    text = f"{FAKE}slots = 'x'\n[server]\nprot = 1\n[models.a]\ntargets = ['b/c']"
    found = problems(tmp_path, text, {"STREAMLANE_OPS_PORT": "x"})
    assert [problem.partition(": ")[0] for problem in found] == [
        "streamlane.toml",
        "STREAMLANE_OPS_PORT",
        *["streamlane.toml"] * 2,
    ]


@pytest.mark.parametrize("table", ["server", "ops"])
@pytest.mark.parametrize("host", ["0.0.0.0", "::", "", "10.1.2.3", "llm.example.com"])
def test_without_a_key_only_loopback_is_listened_on(tmp_path: Path, table: str, host: str) -> None:
    [problem] = problems(tmp_path, f'{table}.host = "{host}"')
    assert problem.startswith(f'streamlane.toml: {table}.host: "{host}" can be reached from other machines')
    assert "token_urlsafe(32)" in problem


def test_a_short_key_is_refused_without_showing_it(tmp_path: Path) -> None:
    [problem] = problems(tmp_path, 'server.api_keys = ["hunter2"]')
    assert problem.startswith("streamlane.toml: server.api_keys[0]: expected at least 16 characters. Make one with")
    assert "hunter2" not in problem


def test_a_password_in_a_url_is_not_repeated(tmp_path: Path) -> None:
    text = '[[backends]]\nkind = "openai_compatible"\nname = "a"\nbase_url = "http://me:hunter2@x/v1"'
    [problem] = problems(tmp_path, text)
    assert problem.startswith('streamlane.toml: backends[0] "a".base_url: expected an http(s) URL')
    assert "hunter2" not in problem


def test_a_named_file_must_exist(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"^a\.toml: no such file\. Write one with: streamlane config init a\.toml$"):
        load(Path("a.toml"), HOME, tmp_path)
    with pytest.raises(ConfigError, match=r"^a\.toml: no such file \(named by STREAMLANE_CONFIG\)"):
        load(None, {**HOME, "STREAMLANE_CONFIG": "a.toml"}, tmp_path)


def test_a_file_that_cannot_be_read_says_why(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read: Is a directory"):
        load(tmp_path, HOME, tmp_path)
    (tmp_path / "latin.toml").write_bytes(b"# caf\xe9\n")
    with pytest.raises(ConfigError, match=r"^latin\.toml: not UTF-8 at byte 5\. Save it as UTF-8\.$"):
        load(Path("latin.toml"), HOME, tmp_path)
