"""Asks one backend: whether it is there and takes its keys, how soon it answers, what it has, and what that can do."""

import asyncio
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from msgspec.structs import replace

from backends.base import Model, Remote
from backends.capabilities import CAPABILITIES
from backends.errors import (
    AuthenticationFailed,
    BackendError,
    CallerKeyNeeded,
    DeadlineExceeded,
    EngineUnavailable,
    NotReady,
    Overloaded,
    RateLimited,
    Unreachable,
)
from backends.http_options import HttpOptions
from backends.key_file import KeyFile, KeyFileUnusable
from backends.presets import presets
from backends.registry import Parts
from proxy.app import build
from proxy.backend_state import trouble
from proxy.config import BackendOptions
from proxy.doctor.finding import Finding
from proxy.runtime import Runtime

ANSWER = 10.0  # seconds for a backend to name its models
SHOWN = 5  # models of one backend
# What a server without a list does not do.
SILENT = (Unreachable, AuthenticationFailed, NotReady, DeadlineExceeded, EngineUnavailable)
PASSING = (NotReady, RateLimited, Overloaded, CallerKeyNeeded)  # nothing that the operator must fix


class Reply(NamedTuple):
    """What a backend said to one key: the models it names, or why not; and how long that took, None on no network."""

    models: tuple[Model, ...] = ()
    trouble: BackendError | TimeoutError | None = None
    url: str | None = None
    seconds: float | None = None


async def ask(
    options: BackendOptions, parts: Parts, facts: Mapping[str, Model]
) -> tuple[Finding, Sequence[Model] | None]:
    """What is to be said of one backend, and the models that it has; None when it could not be asked.

    With several keys it is asked with each. `facts` are the operator's, as in Runtime.
    """
    about = f"Backend {options.name}"
    # A server that is not asked for its models because the configuration names them is asked here all the same.
    named: tuple[str, ...] = options.models if isinstance(options, HttpOptions) else ()
    if named and lists_none(options):
        return Finding(about, "ok", f"Not asked, since it lists no models. Named are {counted(named)}."), None
    try:
        attempts = each_key(options)
    except KeyFileUnusable as error:
        return Finding(about, "fix", f"Its api_key_file cannot be used: {error}.", "One key per line."), None
    replies = await asyncio.gather(*(reply(each, parts, facts) for each in attempts))
    told = min(replies, key=worth)
    if told.trouble is not None:
        if not named or isinstance(told.trouble, (*SILENT, TimeoutError)):
            reason = trouble(options.name, told.url, told.trouble)
            return Finding(about, "note" if isinstance(told.trouble, PASSING) else "fix", reason), None
        told = told._replace(models=tuple(Model(name) for name in named))
    ids = [model.id for model in told.models]
    if absent := sorted(set(named) - set(ids)):
        step = f"Its own list has: {shown(ids)}."
        return Finding(about, "note", f"It does not list what it would be asked for: {', '.join(absent)}.", step), None
    up = "Up" if told.seconds is None else f"Up in {told.seconds * 1000:.0f} ms"
    if not ids:
        return Finding(about, "note", f"{up}, but it has no model.", "Load one there."), ()
    text = f"{up}, with {counted(ids)}.{able(told.models)}"
    refused = [place for place, each in enumerate(replies, 1) if isinstance(each.trouble, AuthenticationFailed)]
    if refused:
        text += f" It takes {len(replies) - len(refused)} of its {len(replies)} keys."
        step = f"Correct or remove no. {', '.join(map(str, refused))}, in the order api_key, api_keys, api_key_file."
        return Finding(about, "note", text, step), told.models
    if len(replies) > 1:
        text += f" It takes all of its {len(replies)} keys."
    return Finding(about, "ok", text), told.models


def each_key(options: BackendOptions) -> list[BackendOptions]:
    """The same backend with each of its keys alone, in their order. Raises KeyFileUnusable."""
    if not isinstance(options, HttpOptions):
        return [options]
    file = () if options.api_key_file is None else KeyFile(options.api_key_file, time.monotonic).news() or ()
    keys = list(dict.fromkeys((*options.keys(), *file)))
    alone = replace(options, models=())
    if len(keys) < 2 or options.key_source == "caller":
        return [alone]
    return [replace(alone, api_key=key, api_keys=(), api_key_file=None) for key in keys]


async def reply(options: BackendOptions, parts: Parts, facts: Mapping[str, Model]) -> Reply:
    """What it says. Its models are known as well as a gateway would know them."""
    backend = build(options, parts)
    url = backend.url if isinstance(backend, Remote) else None
    try:
        async with asyncio.timeout(ANSWER):
            await backend.start()
            began = time.perf_counter()
            found = await backend.models()
            took = time.perf_counter() - began
    except (BackendError, TimeoutError) as error:
        return Reply(trouble=error, url=url)
    finally:
        await backend.close()
    known = Runtime({options.name: backend}, facts=facts).serving(options.name, found).models[options.name]
    return Reply(known, url=url, seconds=None if url is None else took)


def worth(reply: Reply) -> int:
    """What it says of the backend, less first: that of a key that it refuses is of the key alone."""
    return 0 if reply.trouble is None else 2 if isinstance(reply.trouble, AuthenticationFailed) else 1


def able(models: Sequence[Model]) -> str:
    """What is known that they can do, and how many of them where it is not all. Empty when nothing is known."""
    counts = Counter(name for model in models for name, can in model.capabilities.known().items() if can)
    told = [
        name if counts[name] == len(models) else f"{name} ({counts[name]} of {len(models)})"
        for name in CAPABILITIES
        if counts[name]
    ]
    return f" Known to have: {', '.join(told)}." if told else ""


def lists_none(options: BackendOptions) -> bool:
    """Whether it is a server that is known to have no list."""
    preset = getattr(options, "preset", None)
    return preset is not None and not presets()[preset].lists_models


def counted(ids: Sequence[str]) -> str:
    return f"1 model: {ids[0]}" if len(ids) == 1 else f"{len(ids)} models: {shown(ids)}"


def shown(ids: Sequence[str]) -> str:
    """Some names, and how many there are."""
    more = f" and {len(ids) - SHOWN} more" if len(ids) > SHOWN else ""
    return f"{', '.join(ids[:SHOWN])}{more}" or "none"
