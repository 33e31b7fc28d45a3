"""What the types alone cannot say: whether parts of the configuration fit together. Pure."""

import re
from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from ipaddress import ip_address
from typing import TypeAlias
from urllib.parse import urlsplit

from backends.forward_proxy import forward_proxy, valid_entry
from backends.http_options import HttpOptions, looks_like_a_placeholder
from proxy.config import BackendOptions, Ops, Server, Transport
from proxy.config_source import join

Problem: TypeAlias = tuple[str, str]  # path, what is wrong there and what to do

NEW_KEY = "python -c \"import secrets; print('sk-sl-' + secrets.token_urlsafe(32))\""

_BACKEND_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_HOST = re.compile(r"\[[0-9a-fA-F:.]+\](:\d+)?|[^\s/:@]+(:\d+)?")
_KEY = re.compile(r"[!-+\--~]+")  # what fits in a header and in a list with commas: ASCII without space and comma


def nearest(word: str, known: Sequence[str]) -> str:
    """A question with the nearest known word, after a space; empty when none is near."""
    near = get_close_matches(word, known, n=1)
    return f' Did you mean "{near[0]}"?' if near else ""


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach a listener on `host`. A name that we do not know may be anything."""
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def listeners(server: Server, ops: Ops) -> Iterator[Problem]:
    """The two listeners are apart, and a key stands before what others can reach."""
    for path, host in (("server.host", server.host), ("ops.host", ops.host)):
        if not is_loopback(host) and not server.api_keys:
            reason = f'"{host}" can be reached from other machines, but server.api_keys is empty.'
            remedy = f"Add a key made with {NEW_KEY} (or set STREAMLANE_SERVER_API_KEYS), or listen on 127.0.0.1."
            yield path, f"{reason} {remedy}"
    if server.port == ops.port != 0:
        yield "ops.port", f"{ops.port} is the server's port too. Choose another."


def server(server: Server) -> Iterator[Problem]:
    """Keys, origins and hosts are written so that they can ever match."""
    for index, key in enumerate(server.api_keys):
        if not _KEY.fullmatch(key):
            yield f"server.api_keys[{index}]", "a key holds only ASCII letters, digits and signs, no space, no comma."
    for index, origin in enumerate(server.allowed_origins):
        try:
            parts = urlsplit(origin)
        except ValueError:  # a bracket that does not close
            parts = urlsplit("")
        if not parts.scheme or not parts.netloc or origin != f"{parts.scheme}://{parts.netloc}":
            yield (
                f"server.allowed_origins[{index}]",
                f'expected scheme://host[:port] without a path, such as "https://chat.example.com", got "{origin}"',
            )
    for index, host in enumerate(server.allowed_hosts):
        if not _HOST.fullmatch(host):
            yield f"server.allowed_hosts[{index}]", f'expected a host name such as "llm.example.com", got "{host}"'


def transport(transport: Transport) -> Iterator[Problem]:
    """The proxy is one, and what is asked past it can match."""
    if transport.proxy is not None:
        try:
            forward_proxy(transport.proxy)
        except ValueError as error:
            yield "transport.proxy", f"{error}."
    for index, entry in enumerate(transport.no_proxy):
        if not valid_entry(entry):
            yield (
                f"transport.no_proxy[{index}]",
                'expected a host name, an address or a network, such as "example.com" or "10.0.0.0/8", without a port',
            )


def placeholders(backends: Sequence[BackendOptions]) -> Iterator[str]:
    """The names of backends with a key that was not filled in."""
    for options in backends:
        if isinstance(options, HttpOptions) and any(map(looks_like_a_placeholder, options.keys())):
            yield options.name


def names(names: Mapping[str, str]) -> Iterator[Problem]:
    """Each name of a backend or an account is a word of its own. `names` is by the table's path."""
    first: dict[str, str] = {}
    lower: dict[str, str] = {}
    for table, name in names.items():
        path = f"{table}.name"
        if not _BACKEND_NAME.fullmatch(name):
            yield path, f'expected letters, digits, ".", "_" and "-", got "{name}"'
        if name in first:
            yield path, f'"{name}" is already the name of {first[name]}. Choose another.'
        elif (other := lower.get(name.lower())) is not None:  # headers name backends, and know no case
            yield path, f'"{name}" differs from "{other}" only in case. Choose another.'
        first.setdefault(name, table)
        lower.setdefault(name.lower(), name)


def addressed(table: str, models: Sequence[str], names: Sequence[str]) -> Iterator[Problem]:
    """Each [TABLE."BACKEND/MODEL"] is of a model of a backend that there is."""
    for model in models:
        if fault := address_fault(model, names):
            yield join(table, model), fault


def own_backends(own: Sequence[str], names: Sequence[str]) -> Iterator[Problem]:
    """Each of [privacy] is a backend that there is: a confidential text must not depend on a slip of the pen."""
    for index, name in enumerate(own):
        if name not in names:
            have = f"Backends: {', '.join(names)}." if names else "There are no [[backends]]."
            yield f"privacy.own_backends[{index}]", f'no backend is named "{name}".{nearest(name, names)} {have}'


def loaded(names_in_load: Sequence[str], names: Sequence[str]) -> Iterator[Problem]:
    """Each [load.backends.NAME] is a backend that there is, where any is named."""
    for name in names_in_load:
        if names and name not in names:
            have = f"Backends: {', '.join(names)}."
            yield f"load.backends.{name}", f'no backend is named "{name}".{nearest(name, names)} {have}'


def address_fault(model: str, names: Sequence[str]) -> str | None:
    """What is wrong with a "BACKEND/MODEL"; None when nothing is."""
    backend, slash, rest = model.partition("/")
    if not (backend and slash and rest):
        return f'expected "BACKEND/MODEL", got "{model}"'
    if backend not in names:
        have = f"Backends: {', '.join(names)}." if names else "There are no [[backends]]."
        return f'no backend is named "{backend}".{nearest(backend, names)} {have}'
    return None


def aliases(models: Mapping[str, Mapping[int, str]], names: Sequence[str]) -> Iterator[Problem]:
    """Each target leads to a backend, once, and no alias hides a backend's models. `models` holds targets by index."""
    for alias, targets in models.items():
        path = join("models", alias)
        if not alias.strip():
            yield path, "an alias needs a name."
        if (first := alias.partition("/")[0]) in names:
            yield (
                path,
                f'hides models of the backend "{first}", which are addressed as "{first}/MODEL". Rename the alias.',
            )
        seen: set[str] = set()
        for index, target in targets.items():
            place = f"{path}.targets[{index}]"
            if target in models:
                yield place, f'"{target}" is an alias. Targets are backends\' models, written "BACKEND/MODEL".'
            elif fault := address_fault(target, names):
                yield place, fault
            if target in seen:
                yield place, f'"{target}" is there twice. Remove one.'
            seen.add(target)
