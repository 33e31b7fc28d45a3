"""The events of a ResponseLog as JSON frames of the Responses API. Pure; the per-token path runs through `frame`."""

from backends.json import dumps
from proxy.response_log import Delta, Mark, ResponseLog


class Frames:
    """Encodes one log for one reader. `stream_id` stands on each frame if, and only if, the create had one."""

    __slots__ = ("_heads", "_lane", "_log")

    def __init__(self, log: ResponseLog, stream_id: str | None) -> None:
        self._log = log
        self._lane: dict[str, object] = {} if stream_id is None else {"stream_id": stream_id}
        self._heads: list[bytes] = []  # by part: all of a delta's frame that does not change

    def frame(self, number: int, event: Mark | Delta) -> bytes:
        """One event as one JSON object."""
        if type(event) is Delta:
            while len(self._heads) < event.part:
                self._heads.append(self._head(len(self._heads)))
            return b'%b%d,"delta":%b}' % (self._heads[event.part - 1], number, dumps(event.text))
        assert type(event) is Mark
        return dumps({"type": event.type, "sequence_number": number, **self._lane, **event.fields})

    def _head(self, index: int) -> bytes:
        part = self._log.parts[index]
        return dumps({"type": part.type, **self._lane, **part.fields})[:-1] + b',"sequence_number":'
