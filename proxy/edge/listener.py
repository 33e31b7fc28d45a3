"""An address to listen on: taken before anything else starts, and answering only once everything has."""

import errno
import os
import socket
from contextlib import ExitStack

from aiohttp import web

ABSENT = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)  # "localhost" is also ::1, which a machine without IPv6 lacks


def bind(host: str, port: int) -> list[socket.socket]:
    """Take every address of `host`. Until `serve` connections are refused. Raises OSError."""
    taken: list[socket.socket] = []
    absent: OSError | None = None
    with ExitStack() as stack:
        for info in dict.fromkeys(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)):
            try:
                taken.append(stack.enter_context(_bound(*info)))
            except OSError as error:
                if error.errno not in ABSENT:
                    raise
                absent = error
        if absent and not taken:
            raise absent
        stack.pop_all()
    return taken


def _bound(family: int, kind: int, protocol: int, _: str, address: tuple[str | int, ...]) -> socket.socket:
    with ExitStack() as stack:
        taken = stack.enter_context(socket.socket(family, kind, protocol))
        if os.name == "posix":  # elsewhere it would take the port from whoever has it
            taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            taken.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        taken.bind(address)
        stack.pop_all()
    return taken


async def serve(app: web.Application, taken: list[socket.socket]) -> web.AppRunner:
    """Answer at the addresses of `bind` until the runner's cleanup. Raises OSError."""
    runner = web.AppRunner(
        app,
        handle_signals=False,
        handler_cancellation=True,  # otherwise a client that leaves while nothing is sent would not be noticed
        auto_decompress=False,  # proxy/edge/bodies.py does it, within a bound
        access_log=None,
        shutdown_timeout=1.0,
    )
    await runner.setup()
    try:
        for each in taken:
            await web.SockSite(runner, each, backlog=1024).start()
    except OSError:  # Linux lets two take one port, and refuses the one that answers later
        await runner.cleanup()
        raise
    return runner
