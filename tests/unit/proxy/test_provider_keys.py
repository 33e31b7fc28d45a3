"""Keys of providers in the environment: which are taken, as what, and that only their variables are ever named."""

import tomllib
from pathlib import Path

import pytest

from backends.http_options import HttpOptions
from backends.presets import presets
from proxy.config_docs import example_file
from proxy.config_load import load
from proxy.provider_keys import find, told

KEY = "gsk-0123456789abcdefghij"
EVERY = {
    **{name: KEY for preset in presets().values() for name in preset.key_env[:1]},
    **{preset.account_env: "0123abc" for preset in presets().values() if preset.account_env},
    "OPENAI_API_KEY": KEY,
    "ANTHROPIC_API_KEY": KEY,
    "GEMINI_API_KEY": KEY,
    "CO_API_KEY": KEY,
    "AZURE_OPENAI_API_KEY": KEY,
    "AZURE_OPENAI_ENDPOINT": "https://me.openai.azure.com",
}


def names(environ: dict[str, str]) -> list[str]:
    return [key.name for key in find(environ)]


def test_every_provider_is_found_and_could_be_asked() -> None:
    keys = find(EVERY)
    clouds = [preset.name for preset in presets().values() if not preset.local]
    assert [key.name for key in keys] == ["openai", "anthropic", "gemini", "cohere", "azure_openai", *clouds]
    for key in keys:
        options = key.options(EVERY)
        assert isinstance(options, HttpOptions)
        assert (options.name, options.keys()) == (key.name, (KEY,))
        assert options.base_url.startswith("https://")
    assert KEY not in repr(keys) + told(keys) + str([key.table() for key in keys])


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({"GOOGLE_API_KEY": KEY}, ["gemini"]),
        ({"COHERE_API_KEY": KEY}, ["cohere"]),
        ({"GEMINI_API_KEY": "", "GOOGLE_API_KEY": KEY}, ["gemini"]),
        ({"HF_TOKEN": KEY}, ["huggingface"]),
        ({"OPENAI_API_KEY": ""}, []),
        ({"OPENAI_API_KEY": "none-needed"}, []),
        ({"OPENAI_API_KEY": "sk-your-key-goes-here"}, []),
        ({"OPENAI_API_KEY": "sk-0123456789 with spaces"}, []),
        ({"OPENAI_API_KEY": "sk-sl-0123456789abcdefghij"}, []),  # ours
        ({"OPENAI_API_KEY": KEY, "OPENAI_BASE_URL": "http://127.0.0.1:8765/v1"}, []),  # for another server, maybe us
        ({"AZURE_OPENAI_API_KEY": KEY}, []),
        ({"AZURE_OPENAI_API_KEY": KEY, "AZURE_OPENAI_ENDPOINT": "not a url"}, []),
        ({"CLOUDFLARE_API_TOKEN": KEY}, []),
        ({"CLOUDFLARE_API_TOKEN": KEY, "CLOUDFLARE_ACCOUNT_ID": "../.."}, []),
        ({"CLOUDFLARE_API_TOKEN": KEY, "CLOUDFLARE_ACCOUNT_ID": "0123abc"}, ["cloudflare"]),
    ],
)
def test_what_is_a_key_that_can_be_used(environ: dict[str, str], expected: list[str]) -> None:
    assert names(environ) == expected


def test_a_line_for_a_person() -> None:
    assert told(find({"OPENAI_API_KEY": KEY, "GROQ_API_KEY": KEY})) == (
        "Found in the environment: OPENAI_API_KEY, GROQ_API_KEY. Asked only for models named openai/MODEL, groq/MODEL"
    )


def test_a_file_that_is_made_of_them_refers_to_the_variables(tmp_path: Path) -> None:
    text = example_file([key.table() for key in find(EVERY)])
    assert KEY not in text
    assert tomllib.loads(text)["backends"][0] == {"name": "openai", "kind": "openai", "api_key": "${OPENAI_API_KEY}"}
    (tmp_path / "streamlane.toml").write_text(text)
    config = load(None, {"HOME": "/home/streamlane", **EVERY}, tmp_path).config
    assert list(config.backends) == [key.options(EVERY) for key in find(EVERY)]
