"""The settings that every backend over HTTP has: where it is, and whose key it is sent. Pure."""

import re
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta

from backends.keys import Keys, Source

PLACEHOLDER = re.compile(
    r"your[-_ ]|change[-_]?me|replace[-_]?me|placeholder|insert[-_]|example|dummy|todo|xxx|\.\.\.|[<>{}$]",
    re.IGNORECASE,
)
HEADER_NAME = re.compile(r"(?!content-|host$|accept)[a-z][a-z0-9-]{0,63}", re.IGNORECASE)  # none that we set


class WrongKey(ValueError):
    """What is wrong with one key of a table, said by the check of the whole."""

    def __init__(self, key: str, text: str) -> None:
        self.key = key
        super().__init__(text)


class HttpOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a kind's Options are made of. A kind gives `base_url` its default, or leaves it to the user."""

    name: str
    base_url: Annotated[str, Meta(description="Where its API begins.")]
    api_key: Annotated[
        str | None, Meta(description="The key that it is sent. Unset: nothing is sent.", examples=["${GPU_API_KEY}"])
    ] = None
    api_keys: Annotated[
        tuple[str, ...], Meta(description="Several keys that take turns.", examples=[["${KEY_1}", "${KEY_2}"]])
    ] = ()
    api_key_file: Annotated[
        Path | None,
        Meta(description="A file with one key per line, read again when it changes.", examples=["keys.txt"]),
    ] = None
    key_source: Annotated[
        Source,
        Meta(
            description="Whose key is sent: gateway (those above), caller (the one in the caller's header "
            "X-Streamlane-Key-NAME), hybrid (the caller's, else ours)."
        ),
    ] = "gateway"
    models: Annotated[
        tuple[str, ...], Meta(description="Ids that it serves. Empty: the server is asked.", examples=[["llama-3-8b"]])
    ] = ()

    def __post_init__(self) -> None:
        if not valid_url(self.base_url):
            # What follows any of these may be a secret.
            got = "" if set("@?#") & set(self.base_url) else f", got '{self.base_url}'"
            raise WrongKey("base_url", f"expected an http(s) URL without user, query and fragment{got}")
        for name, keys in (("api_key", () if self.api_key is None else (self.api_key,)), ("api_keys", self.api_keys)):
            if not all(keys):
                raise WrongKey(name, "it is empty. Set it, or leave it out")
            if not all(map(printable, keys)):
                raise WrongKey(name, "expected a key of visible ASCII characters; it holds others, or spaces")

    def __repr__(self) -> str:
        return f"Options(name={self.name!r}, base_url={self.base_url!r})"  # not the key

    def keys(self) -> tuple[str, ...]:
        """The keys of the configuration itself, in their order."""
        return (() if self.api_key is None else (self.api_key,)) + self.api_keys


def keys_of(options: HttpOptions) -> Keys:
    """The keys that a backend is sent."""
    return Keys(options.keys(), options.key_source, options.api_key_file)


def looks_like_a_placeholder(key: str) -> bool:
    """Whether `key` stands where a real one was forgotten, as examples have them. A server without keys takes any."""
    return bool(PLACEHOLDER.search(key)) or len(set(key)) < 3


def printable(text: str) -> bool:
    return bool(text) and text.isascii() and text.isprintable() and " " not in text


def valid_url(url: str) -> bool:
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port  # the port is checked when it is asked for
    except ValueError:
        return False
    extras = parts.query or parts.fragment or "@" in parts.netloc
    return parts.scheme in {"http", "https"} and bool(host) and not extras and printable(url)
