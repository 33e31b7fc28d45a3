"""Reads the JSON body of a request: bounded in bytes (after inflation too), in depth, and in how long it may stop.

The listener must hand bodies over as they came (`auto_decompress=False`), so that what inflates is bounded here.
"""

import asyncio
import zlib
from typing import Any

from aiohttp import web
from aiohttp.http_exceptions import BadHttpMessage

from backends.json import JsonError, loads
from proxy.errors import BadBody, BodyTooLarge, UnsupportedMediaType

WINDOWS = {"gzip": 31, "x-gzip": 31, "deflate": zlib.MAX_WBITS}  # RFC 9110 8.4.1: "deflate" is the zlib format


class Bodies:
    """`max_bytes` bounds a body and what it inflates to; `silence` how long a client may send nothing, in seconds."""

    def __init__(self, *, max_bytes: int, silence: float = 30) -> None:
        self._max_bytes = max_bytes
        self._silence = silence

    async def json_object(self, request: web.Request) -> dict[str, Any]:
        """The object in the body. Raises BadBody, BodyTooLarge or UnsupportedMediaType."""
        if "Content-Type" in request.headers and not is_json(request.content_type):
            raise UnsupportedMediaType(
                f"The body's type is '{request.content_type[:100]}'. Send JSON, as 'Content-Type: application/json'."
            )
        data = await self.read(request)
        if not data:
            raise BadBody("The body is empty. Send a JSON object.")
        try:
            value = loads(data)
        except JsonError as error:
            raise BadBody(f"The body is not JSON: {error.msg}.") from None
        if not isinstance(value, dict):
            raise BadBody("The body must be a JSON object.")
        return value

    async def read(self, request: web.Request) -> bytes:
        """The whole body, inflated. Raises BadBody, BodyTooLarge or UnsupportedMediaType."""
        inflate = inflater(request.headers.get("Content-Encoding", ""))
        if (request.content_length or 0) > self._max_bytes:
            raise BodyTooLarge(self._max_bytes)
        body, received = bytearray(), 0
        while piece := await self._piece(request):
            received += len(piece)  # a body may also inflate to nothing, for ever
            # One byte more than there may be, so that too much can be told from just enough.
            body += piece if inflate is None else inflated(inflate, piece, self._max_bytes + 1 - len(body))
            if max(received, len(body)) > self._max_bytes:
                raise BodyTooLarge(self._max_bytes)
        if inflate is not None and received and not inflate.eof:
            raise BadBody("The compressed body is cut short.")
        return bytes(body)

    async def _piece(self, request: web.Request) -> bytes:
        try:
            async with asyncio.timeout(self._silence):
                return await request.content.readany()
        except TimeoutError:
            raise BadBody(f"The body stopped: nothing came for {self._silence:g} seconds.") from None
        except (web.RequestPayloadError, BadHttpMessage):
            raise BadBody("The body is not what its HTTP headers say.") from None


def is_json(content_type: str) -> bool:
    return content_type == "application/json" or content_type.endswith("+json")


def inflater(encoding: str) -> "zlib._Decompress | None":
    """What undoes a `Content-Encoding`; None for a body as it is. Raises UnsupportedMediaType."""
    encoding = encoding.strip().lower()
    if encoding in ("", "identity"):
        return None
    if encoding not in WINDOWS:
        raise UnsupportedMediaType(
            f"The body is encoded as '{encoding[:100]}'. Send it as it is, or with gzip or deflate."
        )
    return zlib.decompressobj(WINDOWS[encoding])


def inflated(inflate: "zlib._Decompress", piece: bytes, max_bytes: int) -> bytes:
    """The next bytes, never more than `max_bytes`. Raises BadBody."""
    try:
        data = inflate.decompress(piece, max_bytes)
    except zlib.error:
        raise BadBody("The body is not compressed as its Content-Encoding says.") from None
    if inflate.unused_data:
        raise BadBody("There is more after the end of the compressed body.")
    return data
