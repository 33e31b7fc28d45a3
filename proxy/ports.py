"""The addresses of the two listeners: ours from the start on, served until the end."""

import errno
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager
from socket import socket

from aiohttp import web

from proxy.config import Ops, Server, variable
from proxy.edge import listener


class StartError(Exception):
    """The gateway cannot start. Says why, and what to do."""


class PortTaken(StartError):
    """Something else listens at `host`:`port`."""

    def __init__(self, message: str, host: str, port: int) -> None:
        self.host, self.port = host, port
        super().__init__(message)


def bound(stack: AsyncExitStack, table: str, options: Server | Ops) -> list[socket]:
    """The address of a listener, ours until the stack is left. Raises StartError."""
    with listening(table, options):
        taken = listener.bind(options.host, options.port)
    for each in taken:
        stack.callback(each.close)
    return taken


async def serving(
    stack: AsyncExitStack, app: web.Application, taken: list[socket], table: str, options: Server | Ops
) -> str:
    """Serve `app` there until the stack is left; its URL. Raises StartError."""
    with listening(table, options):
        runner = await listener.serve(app, taken)
    stack.push_async_callback(runner.cleanup)
    host, port = options.host, runner.addresses[0][1]
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


@contextmanager
def listening(table: str, options: Server | Ops) -> Iterator[None]:
    """Raises StartError where listening fails."""
    try:
        yield
    except OSError as error:
        flag = {"server": "--port", "ops": "--ops-port"}[table]
        message = (
            f"cannot listen on {options.host}:{options.port} ({error.strerror or error}). "
            f"Free the port, or set another {table}.port ({flag}, {variable(f'{table}.port')})."
        )
        if error.errno == errno.EADDRINUSE:
            raise PortTaken(message, options.host, options.port) from None
        raise StartError(message) from None
