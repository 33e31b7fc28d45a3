"""Autobahn's cases (RFC 6455) against our own socket, by kosoku: everything but its client, which echoes here."""

from collections import Counter
from typing import Any, cast

from aiohttp import web
from kosoku import FailureError, run_fuzzingclient

from proxy.client import Outlet
from proxy.clients import Clients
from proxy.edge import listener
from proxy.edge.ws import SocketDeadlines, Sockets
from proxy.outcome import ANONYMOUS

BINARY = "Binary frames are no part of this protocol: their data reaches nobody, so nothing comes back."
COMPRESSION = "Compression is never offered."
EXCLUDED = {
    "1.2.*": BINARY, "9.2.*": BINARY, "9.4.*": BINARY, "9.6.*": BINARY, "9.8.*": BINARY,
    "12.*": COMPRESSION, "13.*": COMPRESSION,
}  # fmt: skip
FAILS = {"7.9.5": "aiohttp takes a close frame with the code 1006, which nobody may send, and answers with it."}
CONFORMS = {"OK", "NON-STRICT", "INFORMATIONAL"}  # non-strict: a wrong byte of UTF-8 is told at the message's end


class Echo:
    """The client of one socket: says again what it hears."""

    def __init__(self) -> None:
        self.outlet: Outlet | None = None

    def receive(self, frame: bytes, _: object) -> None:
        assert self.outlet is not None
        self.outlet.write([frame])

    def receive_binary(self) -> None:
        pass

    def drained(self) -> None:
        pass

    def leave(self, outlet: Outlet) -> None:
        self.outlet = None


class Echoes:
    """Makes them."""

    def plain(self, *_: Any) -> Echo:
        return Echo()


async def test_autobahns_cases() -> None:
    sockets = Sockets(clients=cast(Clients, Echoes()), deadlines=SocketDeadlines(), max_frame_bytes=32 * 1024 * 1024)

    async def serve(request: web.Request) -> web.StreamResponse:
        return await sockets.serve(request, ANONYMOUS)

    app = web.Application()
    app.add_routes([web.get("/{rest:.*}", serve)])
    runner = await listener.serve(app, listener.bind("127.0.0.1", 0))
    try:
        address = f"127.0.0.1:{runner.addresses[0][1]}"
        results = await run_fuzzingclient(address, exclude_cases=list(EXCLUDED), concurrency=4)
    except FailureError as failure:
        results = failure.results
    finally:
        await runner.cleanup()
    verdicts = {result.case_id: {result.behavior.value, result.behavior_close.value} for result in results}
    assert Counter(case.partition(".")[0] for case in verdicts) > Counter({"5": 15, "6": 140, "7": 30, "9": 20})
    assert {case for case, verdict in verdicts.items() if not verdict <= CONFORMS} == set(FAILS)
