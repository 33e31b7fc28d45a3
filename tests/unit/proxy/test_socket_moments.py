"""The socket in moments that a network seldom gives: in its handshake, just replaced, about to close for a restart."""

import asyncio
import json
from contextlib import suppress
from typing import Any

import pytest
from aiohttp import WSMessage, WSMsgType, web
from aiohttp.test_utils import make_mocked_request

from proxy.edge.ws import SocketDeadlines, Sockets
from tests.unit.proxy.session_world import KEY, ME, World, create


class Pipe(asyncio.Transport):
    """A transport that takes everything."""

    def __init__(self) -> None:
        super().__init__()
        self.aborted = asyncio.Event()

    def write(self, data: bytes | bytearray | memoryview) -> None:
        pass

    def get_write_buffer_size(self) -> int:
        return 0

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        pass

    def is_closing(self) -> bool:
        return self.aborted.is_set()

    def abort(self) -> None:
        self.aborted.set()


class Peer:
    """Stands for what aiohttp knows of a client: `frames` are what it sends, `closed` the code it was closed with."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, world: World) -> None:
        self.pipe = Pipe()
        self.frames: asyncio.Queue[WSMessage] = asyncio.Queue()
        self.handshakes = asyncio.Event()
        self.shakes_hands = asyncio.Event()
        self.shakes_hands.set()
        self.closed: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self.sockets = Sockets(clients=world.clients, deadlines=SocketDeadlines(), max_frame_bytes=1 << 20)
        monkeypatch.setattr(web.WebSocketResponse, "prepare", self._prepare)
        monkeypatch.setattr(web.WebSocketResponse, "receive", self.frames.get)
        monkeypatch.setattr(web.WebSocketResponse, "close", self._close)

    async def _prepare(self, _: web.BaseRequest) -> None:
        self.handshakes.set()
        await self.shakes_hands.wait()

    async def _close(self, *, code: int, message: bytes) -> None:
        self.closed.set_result(code)

    def send(self, **event: Any) -> None:
        self.frames.put_nowait(WSMessage(WSMsgType.TEXT, json.dumps(event).encode(), None))

    def leave(self) -> None:
        self.frames.put_nowait(WSMessage(WSMsgType.CLOSED, None, None))

    async def connect(self, query: str) -> None:
        """Until the connection has ended."""
        await self.sockets.serve(make_mocked_request("GET", f"/v1/responses{query}", transport=self.pipe), ME)


async def test_a_socket_can_be_cut_in_its_handshake(monkeypatch: pytest.MonkeyPatch) -> None:
    peer = Peer(monkeypatch, World())
    peer.shakes_hands.clear()
    connected = asyncio.create_task(peer.connect(""))
    await peer.handshakes.wait()
    peer.sockets.cut()
    peer.shakes_hands.set()
    await connected
    assert peer.pipe.aborted.is_set()


async def test_what_a_replaced_socket_still_says_is_not_obeyed(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World()
    line, client = world.attach()
    create(client)
    client.leave(line)
    peer = Peer(monkeypatch, world)
    connected = asyncio.create_task(peer.connect(f"?sl_session={KEY}&sl_after=0"))
    peer.send(type="streamlane:ping")  # unknown without extensions, but read
    while not world.refused:
        await asyncio.sleep(0)
    world.attach(0)
    peer.send(type="response.cancel")
    async with asyncio.timeout(10):
        await connected
    assert not world.answers.all[0].cancelled
    assert await peer.closed == 4409


@pytest.mark.parametrize("first_frame", [False, True])
async def test_a_drain_waits_for_the_lanes_of_a_session_that_has_just_come(
    first_frame: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World()
    line, client = world.attach()
    create(client, stream_id="a")
    world.answers.all[0].finish()
    create(client, stream_id="b")
    client.leave(line)
    peer = Peer(monkeypatch, world)
    peer.shakes_hands.clear()
    connected = asyncio.create_task(peer.connect("?sl_ext=1" if first_frame else f"?sl_session={KEY}&sl_after=0"))
    await peer.handshakes.wait()
    if first_frame:
        peer.send(type="streamlane:session.resume", sl_session=KEY, sl_after=0)
    drained = asyncio.create_task(peer.sockets.drain(5))
    await asyncio.sleep(0)
    peer.shakes_hands.set()
    while world.clients.sessions["away"]:
        await asyncio.sleep(0)
    for _ in range(10):
        await asyncio.sleep(0)
    assert not peer.closed.done()
    world.answers.all[1].finish()
    assert await peer.closed == 1012
    peer.leave()
    with suppress(asyncio.CancelledError):
        await connected
    await drained
