"""What is read of a request's headers for who answers it: the caller's own keys, and what rules look at. Pure."""

from collections.abc import Collection, Mapping

from proxy.create import NOTHING_BROUGHT, Brought
from proxy.edge.caller_keys import CallerKeys


class Reads:
    """`keys` reads the callers' keys; `headers` are the names that rules look at, in lower case. No others are read."""

    def __init__(self, keys: CallerKeys | None = None, headers: Collection[str] = ()) -> None:
        self._keys = CallerKeys(()) if keys is None else keys
        self._headers = tuple(headers)

    def read(self, headers: Mapping[str, str]) -> Brought:
        """What was brought. `headers` are found by any case. Raises BadParameter for a key that has no place."""
        keys = self._keys.read(headers)
        found = {name: headers[name] for name in self._headers if name in headers}
        return Brought(keys, found) if keys or found else NOTHING_BROUGHT
