"""Writes the page of presets from their data, so that neither can drift."""

from collections.abc import Iterator, Mapping

from backends.capabilities import WORDS
from backends.presets import Preset, Quirk, presets

_HEAD = """\
# Which servers and clouds are known by name?

<!-- Written by scripts/docs from backends/data/presets.json. Change that, then run it again. -->

A preset says where a server that speaks chat completions is, and what is different about it:

```toml
[[backends]]
name = "groq"                       # its models are groq/MODEL
kind = "openai_compatible"
preset = "groq"
api_key = "${GROQ_API_KEY}"
```

A `base_url` of your own goes before the preset's. Fields of a request that the server refuses are left out: they are
wishes. What it cannot do at all is refused as `unsupported_feature`, so that the next target of an alias may answer.
OpenAI, Anthropic, Gemini, Cohere, Ollama, Azure, Vertex AI and Bedrock have [kinds of their own](backends.md).
"""
QUIRKS: Mapping[Quirk, str] = {
    "comments": "comments while it waits",
    "error_in_200": "an error may come in an answer of 200",
    "usage_twice": "its usage comes twice, and counts once",
    "usage_unasked": "its usage comes without being asked for",
}


def presets_page() -> str:
    """docs/presets.md."""
    here = [preset for preset in presets().values() if preset.local]
    there = [preset for preset in presets().values() if not preset.local]
    return "\n".join(
        [
            _HEAD,
            "## In the cloud\n",
            "| `preset` | | `base_url` | Key | What is different |",
            "|---|---|---|---|---|",
            *(_row(each, ", ".join(f"`{name}`" for name in each.key_env)) for each in there),
            "\n## On this machine\n",
            "| `preset` | | `base_url` | What is different |",
            "|---|---|---|---|",
            *(_row(each) for each in here),
            "\n## Where that was read\n",
            *(f"- {each.title}: {' and '.join(each.source.split('; '))} ({each.date})" for each in presets().values()),
            "",
        ]
    )


def _row(preset: Preset, *more: str) -> str:
    return f"| {' | '.join([f'`{preset.name}`', preset.title, f'`{preset.base_url}`', *more, _words(preset)])} |"


def _words(preset: Preset) -> str:
    return "; ".join(_differences(preset))


def _differences(preset: Preset) -> Iterator[str]:
    if preset.account_env is not None:
        yield f"needs `account`, usual in `{preset.account_env}`"
    if preset.refuses:
        yield f"refuses {', '.join(f'`{name}`' for name in preset.refuses)}"
    for theirs, ours in preset.renames.items():
        yield f"`{theirs}` is `{ours}` there"
    if preset.lacks:
        yield f"has no {', '.join(WORDS[name][0] for name in preset.lacks)}"
    yield from (QUIRKS[name] for name in preset.quirks)
    if preset.wants_thoughts:
        yield "is sent back what its model thought before a call of a tool"
    if not preset.lists_models:
        yield "lists no models: name them in `models`"
