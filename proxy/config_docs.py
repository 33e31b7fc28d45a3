"""Writes the commented file and the reference page, both from the schema, that is from the types' own descriptions."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from backends import registry
from proxy.config import settings, variable
from proxy.config_schema import schema
from proxy.config_show import toml_value

Schema = dict[str, Any]

KINDS = sorted(registry.KINDS, key=lambda kind: (kind == "fake", kind))  # what one wants first, first

_EXAMPLES: dict[tuple[str, str], Any] = {  # where a default says nothing and the type has no example
    ("anthropic", "name"): "anthropic",
    ("anthropic", "api_key"): "${ANTHROPIC_API_KEY}",
    ("anthropic", "models"): ["claude-sonnet-4-5"],
    ("azure_openai", "name"): "azure",
    ("azure_openai", "api_key"): "${AZURE_OPENAI_API_KEY}",
    ("azure_openai", "models"): ["chat"],
    ("bedrock", "name"): "bedrock",
    ("bedrock", "api_key"): "${AWS_BEARER_TOKEN_BEDROCK}",
    ("bedrock", "models"): ["amazon.nova-lite-v1:0"],
    ("cohere", "name"): "cohere",
    ("cohere", "api_key"): "${CO_API_KEY}",
    ("cohere", "models"): ["command-a-03-2025"],
    ("fake", "name"): "demo",
    ("fake", "context"): 4096,
    ("fake", "slots"): 8,
    ("gemini", "name"): "gemini",
    ("gemini", "api_key"): "${GEMINI_API_KEY}",
    ("gemini", "models"): ["gemini-2.5-flash"],
    ("llama_cpp", "name"): "local",
    ("localai", "name"): "localai",
    ("localai", "api_key"): "${LOCALAI_API_KEY}",
    ("ollama", "name"): "ollama",
    ("ollama", "api_key"): "${OLLAMA_API_KEY}",
    ("ollama", "models"): ["llama3.2"],
    ("ollama", "num_ctx"): 8192,
    ("openai", "name"): "openai",
    ("openai", "api_key"): "${OPENAI_API_KEY}",
    ("openai", "models"): ["gpt-4.1-mini"],
    ("openai_compatible", "name"): "other",
    ("openai_compatible", "api_key"): "${GROQ_API_KEY}",
    ("openai_compatible", "models"): ["llama-3.3-70b-versatile"],
    ("server", "api_keys"): ["${STREAMLANE_KEY}"],
    ("vertex", "name"): "google",
    ("vertex", "api_key"): "${GOOGLE_API_KEY}",
    ("vertex", "models"): ["gemini-2.5-flash"],
    ("vllm", "name"): "gpu",
    ("vllm", "api_key"): "${VLLM_API_KEY}",
}

_ELSEWHERE = {"ladder", "rules", "when"}  # tables within tables, which have a heading of their own

_NAMED = {  # tables that the user names or repeats, and what is inside them
    "BackendLoad": "## `[load.backends.NAME]`",
    "Account": "## `[[accounts]]`",
    "AccountLimit": "### Each of an account's `limits`",
    "Rates": "### Each of its `prices`",
    "Alias": "## `[models.NAME]`",
    "Abilities": '## `[capabilities."BACKEND/MODEL"]`',
    "Pricing": '## `[prices."BACKEND/MODEL"]`',
    "Step": "### Each `[[router.ladder]]`",
    "Profile": "### `[router.profiles.NAME]`",
    "Rule": "### Each `[[router.rules]]`",
    "When": "### `[router.rules.when]`",
    "Facts": "## `[catalog.PROVIDER]`",
    "Limit": "### Each of a provider's `limits`",
    "ModelFacts": '### `[catalog.PROVIDER.models."ID"]`',
}

_HEAD = """\
# Streamlane's configuration. A line "# key = value" shows a default, or an example: remove the "#" to set the key.
# "${NAME}" in a string is replaced by that environment variable. Check this file with: streamlane config check
"""
_FOUND = """\
# What was found when this file was written. While a backend is named here, nothing else is looked for. The keys stay in
# the environment: a variable that is not set any more is an error, and its backend must go too.
"""
_PAGE = """\
# Configuration

<!-- Written by scripts/docs from the types in proxy/config.py and backends/. Change those, then run it again. -->

Streamlane reads one TOML file. Without any file it runs on the defaults below, and serves
the model that was pulled last.

| Command | What it does |
|---|---|
| `streamlane config init` | writes a commented `streamlane.toml`, with the servers, models and keys that it finds |
| `streamlane config check` | prints `ok`, or every problem with its place |
| `streamlane config show` | prints the values in effect, and where each came from; secrets are masked |
| `streamlane config schema` | prints a JSON schema, for editors |

## Where values come from

The file is the one that `--config` names, else `$STREAMLANE_CONFIG`, else `streamlane.toml` in the current folder.

1. A flag on the command line (`--host`, `--port`, `--ops-port`, `--log-level`) goes before
2. an environment variable (`STREAMLANE_SERVER_PORT` for `port` in `[server]`; lists with commas), which goes before
3. the file, which goes before
4. the default.

An empty variable counts as not set. `[[backends]]`, `[[accounts]]`, `[models.NAME]`, `[capabilities."BACKEND/MODEL"]`,
`[prices."BACKEND/MODEL"]` and `[catalog.PROVIDER]` can only be set in the file.

In any string of the file, `${NAME}` is replaced by that environment variable, and `$$` is a dollar sign. Keep keys out
of the file that way: `api_key = "${VLLM_API_KEY}"`. A variable that is not set is an error.

Relative paths start at the file's folder, those in environment variables at the current folder. `~` is your own folder.

Mistakes stop every command that reads the file with exit code 2; `streamlane doctor` lists them among the rest and
exits with 1, and `streamlane chat` reads no file. All are reported together, each with its place and, where there is
one, the nearest known name: `streamlane.toml: server.prot: unknown key. Did you mean "port"?`

## Reaching it from other machines

Streamlane listens on loopback. To let other machines in, set `host` and at least one key:

```toml
[server]
host = "0.0.0.0"
api_keys = ["${STREAMLANE_KEY}"]
```

Make a key with `python -c "import secrets; print('sk-sl-' + secrets.token_urlsafe(32))"`. Without a key such a bind is
refused.
"""


def example_file(found: Sequence[Mapping[str, str]] = ()) -> str:
    """A streamlane.toml that shows everything and sets nothing but `found`, a table of each as [[backends]]."""
    whole = schema(KINDS)
    tables = _tables(whole)
    parts = [_HEAD, "".join(_commented("", {"data_dir": whole["properties"]["data_dir"]}))]
    for name, table in tables.items():
        about = table["description"].replace("\n", "\n# ")
        parts.append("".join([f"# {about}\n[{name}]\n", *_commented(name, table["properties"])]))
    if found:
        parts.append(_FOUND)
    parts += ["".join(["[[backends]]\n", *(f"{k} = {toml_value(v)}\n" for k, v in table.items())]) for table in found]
    for kind, options in _backends(whole):
        about = [f"# {line}\n" for line in options["description"].splitlines() if line]
        parts.append("".join([*about, "# [[backends]]\n", *_commented(kind, options["properties"])]))
    for name, heading in (("Account", "[[accounts]]"), ("Facts", "[catalog.groq]")):
        table = whole["$defs"][name]
        parts.append(
            "".join([f"# {table['description']}\n# {heading}\n", *_commented(name.lower(), table["properties"])])
        )
    alias = whole["$defs"]["Alias"]
    parts.append("".join([f"# {alias['description']}\n# [models.fast]\n", *_commented("", alias["properties"])]))
    for name, heading in (("Rule", "[[router.rules]]"), ("When", "[router.rules.when]")):
        table = whole["$defs"][name]
        parts.append("".join([f"# {table['description']}\n# {heading}\n", *_commented("", table["properties"])]))
    for name, heading in (("Abilities", "capabilities"), ("Pricing", "prices")):
        table = whole["$defs"][name]
        first = f'# {table["description"]}\n# [{heading}."local/smollm2"]\n'
        parts.append("".join([first, *_commented("", table["properties"])]))
    return "\n".join(parts)


def reference_page() -> str:
    """docs/configuration.md."""
    whole = schema(KINDS)
    parts = [_PAGE, "## Top of the file", _rows({"properties": {"data_dir": whole["properties"]["data_dir"]}}, "")]
    for name, table in _tables(whole).items():
        parts += [f"## `[{name}]`", table["description"], _rows(table, f"{name}.")]
    parts += [
        "## `[[backends]]`",
        f"{whole['properties']['backends']['description']} `kind` decides which keys it has.",
    ]
    for kind, options in _backends(whole):
        parts += [f'### `kind = "{kind}"`', options["description"], _rows(options)]
    for name, heading in _NAMED.items():
        table = whole["$defs"][name]
        parts += [heading, table["description"], _rows(table)]
    return "\n\n".join(part.strip("\n") for part in parts) + "\n"


def _tables(whole: Schema) -> dict[str, Schema]:
    """The fixed tables by name."""
    references = {name: key["$ref"] for name, key in whole["properties"].items() if "$ref" in key}
    return {name: _resolve(whole, reference) for name, reference in references.items()}


def _backends(whole: Schema) -> Iterator[tuple[str, Schema]]:
    for kind, option in zip(KINDS, whole["properties"]["backends"]["items"]["anyOf"], strict=True):
        yield kind, _resolve(whole, option["$ref"])


def _resolve(whole: Schema, reference: str) -> Schema:
    found: Schema = whole["$defs"][reference.rpartition("/")[2]]
    return found


def _commented(table: str, keys: Schema) -> Iterator[str]:
    """`# key = value  # description` for each key."""
    for name, key in keys.items():
        if name in _ELSEWHERE:
            continue
        example = key.get("examples", [None])[0]
        value = _EXAMPLES.get((table, name)) or key.get("default") or example
        value = (
            key["enum"][0] if "enum" in key and name == "kind" else key.get("default", 0) if value is None else value
        )
        about = f"  # {key['description']}" if "description" in key else ""
        yield f"# {name} = {toml_value(value)}{about}\n"


def _rows(table: Schema, path: str | None = None) -> str:
    """A table's keys as rows. `path` is what stands before them in settings; None where the environment sets none."""
    rows = ["| Key | Type | Default | Meaning |", "|---|---|---|---|"]
    for name, key in table["properties"].items():
        if name == "kind" and "enum" in key:
            continue
        default = key.get("default")
        shown = (
            "required"
            if name in table.get("required", ())
            else ""
            if default in (None, {}) or "$ref" in key
            else f"`{toml_value(default)}`"
        )
        about = [key.get("description", "")]
        if path is not None and f"{path}{name}" in settings():
            about.append(f"`{variable(f'{path}{name}')}`")
        rows.append(f"| `{name}` | {_type_words(key)} | {shown} | {' '.join(filter(None, about))} |")
    return "\n".join(rows)


def _type_words(key: Schema) -> str:
    """A JSON schema type in a few words, with its range."""
    if "anyOf" in key:
        return " or ".join(_type_words(option) for option in key["anyOf"] if option != {"type": "null"})
    if "$ref" in key:
        return "table"
    if "enum" in key:
        return ", ".join(f"`{choice}`" for choice in key["enum"])
    if key["type"] == "array":
        return (
            f"list from {_type_words(key['items'])}" if "enum" in key["items"] else f"list of {_plural(key['items'])}"
        )
    if key["type"] == "object":
        return " by name, or ".join(f"{_plural(each)}" for each in _options(key["additionalProperties"])) + " by name"
    words: str = key["type"]
    if "minimum" in key:
        words += f" from {key['minimum']}"
    if "exclusiveMinimum" in key:
        words += f" above {key['exclusiveMinimum']}"
    if "maximum" in key:
        words += f" to {key['maximum']}"
    return words


def _options(key: Schema) -> list[Schema]:
    """What a value may be."""
    found: list[Schema] = key.get("anyOf", [key])
    return found


def _plural(key: Schema) -> str:
    words = _type_words(key)
    first, _, rest = words.partition(" ")
    return f"{first}s {rest}" if rest else f"{words}s"
