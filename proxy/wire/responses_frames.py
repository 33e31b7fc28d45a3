"""The events of a ResponseLog as JSON frames of the Responses API. Pure; the per-token path runs through `frame`."""

from collections.abc import Callable

from backends.json import dumps, dumps_text
from proxy.response_log import Entry, Mark, ResponseLog
from proxy.wire.usage import plain


class Frames:
    """Encodes one log for one reader. `stream_id` stands on each frame if, and only if, the create had one.

    `extended` says whether the reader asked for our extensions: only then the end says what it cost.
    """

    __slots__ = ("_extended", "_heads", "_lane", "_log")

    def __init__(self, log: ResponseLog, stream_id: str | None, extended: Callable[[], bool] = lambda: False) -> None:
        self._log = log
        self._extended = extended
        self._lane: dict[str, object] = {} if stream_id is None else {"stream_id": stream_id}
        self._heads: list[bytes] = []  # by part: all of a delta's frame that does not change

    def frame(self, entry: Entry) -> bytes:
        """One event as one JSON object."""
        number, part, event = entry
        if not isinstance(event, Mark):
            return self.delta(number, part, event)
        fields = event.fields
        if event.terminal and not self._extended():
            fields = {**fields, "response": plain(fields["response"])}  # type: ignore[arg-type]  # that is what it holds
        return dumps({"type": event.type, "sequence_number": number, **self._lane, **fields})

    def delta(self, number: int, part: int, text: str) -> bytes:
        """Text that was added to a part."""
        heads = self._heads
        while len(heads) < part:
            heads.append(self._head(len(heads)))
        return b'%b%d,"delta":%b}' % (heads[part - 1], number, dumps_text(text))

    def _head(self, index: int) -> bytes:
        part = self._log.parts[index]
        return dumps({"type": part.type, **self._lane, **part.fields})[:-1] + b',"sequence_number":'
