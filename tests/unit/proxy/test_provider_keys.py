"""Keys of providers in the environment: which are taken, as what, and that only their variables are ever named."""

import tomllib
from pathlib import Path

import pytest

from backends.http_options import HttpOptions
from backends.openai import Options as OpenAI
from backends.openai_compatible import Options as Compatible
from backends.presets import presets
from proxy.config_docs import example_file
from proxy.config_load import load
from proxy.provider_keys import doubts, find, left_out, told

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
    clouds = [preset.name for preset in presets().values() if not preset.local and preset.name != "huggingface"]
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
        ({"HF_TOKEN": KEY}, []),  # it is set for downloads
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


@pytest.mark.parametrize(
    ("environ", "why"),
    [
        ({"OPENAI_API_KEY": "sk-your-key-goes-here"}, "it looks like a placeholder, not like a key"),
        ({"OPENAI_API_KEY": "sk-sl-0123456789abcdefghij"}, "it is a key of a Streamlane gateway"),
        (
            {"OPENAI_API_KEY": KEY, "OPENAI_BASE_URL": "http://127.0.0.1:8765/v1"},
            "OPENAI_BASE_URL is set, so the key may be for another server",
        ),
        ({"CLOUDFLARE_API_TOKEN": KEY}, "CLOUDFLARE_ACCOUNT_ID is not set"),
        ({"CLOUDFLARE_API_TOKEN": KEY, "CLOUDFLARE_ACCOUNT_ID": "../.."}, "CLOUDFLARE_ACCOUNT_ID cannot be used"),
        ({"AZURE_OPENAI_API_KEY": KEY}, "AZURE_OPENAI_ENDPOINT is not set"),
    ],
)
def test_a_key_that_is_not_taken_is_told_with_why(environ: dict[str, str], why: str) -> None:
    assert list(left_out(environ)) == [(next(iter(environ)), why)]
    assert list(left_out({**environ, "GROQ_API_KEY": KEY, "HF_TOKEN": KEY})) == list(left_out(environ))


def test_backends_that_cannot_work_without_a_key_are_doubted() -> None:
    lacking = [OpenAI(name="a"), Compatible(name="b", preset="groq")]
    assert list(doubts(lacking)) == [
        'backends[0] "a": no api_key; api.openai.com needs one: ${OPENAI_API_KEY}',
        'backends[1] "b": no api_key; api.groq.com needs one: ${GROQ_API_KEY}',
    ]
    wrong = [OpenAI(name="a", api_key="$OPENAI_API_KEY"), OpenAI(name="b", api_key="sk-ant-...")]
    assert [each.partition(": ")[2].partition(".")[0] for each in doubts(wrong)] == [
        'its key begins with "$"',
        "its key looks like a placeholder",
    ]
    fine = [
        OpenAI(name="a", api_key=KEY),
        OpenAI(name="b", key_source="caller"),
        OpenAI(name="c", api_key_file=Path("keys.txt")),
        Compatible(name="d", base_url="http://127.0.0.1:8000/v1"),
        Compatible(name="e", base_url="http://127.0.0.1:8000/v1", api_key="dummy"),
    ]
    assert list(doubts(fine)) == []


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
