"""The keys of their own that callers send for backends, one header each. Pure."""

from collections.abc import Collection, Mapping

from backends.request import NOTHING, Secret
from proxy.errors import BadParameter

PREFIX = "X-Streamlane-Key-"
LONGEST = 512  # characters
NAMES = 16  # characters; a key that stands in the name by mistake is longer


class CallerKeys:
    """Reads them. `names` are the backends that take them: their configuration's key_source is caller or hybrid.

    A key is for that one backend, for what the request or the socket asks, and is kept nowhere.
    """

    def __init__(self, names: Collection[str]) -> None:
        self._names = {name.lower(): name for name in names}

    def read(self, headers: Mapping[str, str]) -> Mapping[str, Secret]:
        """By backend. Raises BadParameter, which says nothing of what was sent."""
        found: dict[str, Secret] = {}
        for header, key in headers.items():  # also those that were sent twice
            if not header.lower().startswith(PREFIX.lower()):
                continue
            backend = self._names.get(header[len(PREFIX) :].lower())
            if backend is None:
                name = header if len(header) < len(PREFIX) + NAMES else f"{PREFIX}NAME"
                raise BadParameter(
                    f"The header {name} names no backend that takes its callers' keys. Leave it out, or correct it. "
                    "The operator decides which do, with key_source.",
                    name,
                )
            name = f"{PREFIX}{backend}"
            if backend in found:
                raise BadParameter(f"The header {name} was sent twice. Send one key.", name)
            if not 0 < len(key) <= LONGEST or not key.isascii() or not key.isprintable() or " " in key:
                raise BadParameter(
                    f"The header {name} holds no key: send 1 to {LONGEST} visible ASCII characters.", name
                )
            found[backend] = Secret(key)
        return found or NOTHING
