"""An address to listen on: taken before anything else starts, and answering only once everything has."""

import asyncio
import errno
import os
import socket
from contextlib import ExitStack

import structlog
from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from proxy.edge.replies import plain_error
from proxy.edge.request_facts import ANTHROPIC_HEADER, HEADER, new_request_id

log = structlog.get_logger()
MALFORMED = (
    "This is no HTTP request that the gateway can read. A header line may have 8 KB, and a request 128 of them; "
    "the path counts as one."
)
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
    runner = Runner(app, handle_signals=False, shutdown_timeout=1.0)
    await runner.setup()
    try:
        for each in taken:
            await web.SockSite(runner, each, backlog=1024).start()
    except OSError:  # Linux lets two take one port, and refuses the one that answers later
        await runner.cleanup()
        raise
    return runner


class Runner(web.AppRunner):
    """Runs an application whose answers are JSON, also where no request reaches it."""

    async def _make_server(self) -> web.Server:
        made = await super()._make_server()
        return Server(
            made.request_handler,
            request_factory=made.request_factory,
            handler_cancellation=True,  # otherwise a client that leaves while nothing is sent would not be noticed
        )


class Server(web.Server):
    """Makes connections."""

    def __call__(self) -> web.RequestHandler:
        return Connection(
            self,
            loop=asyncio.get_running_loop(),
            auto_decompress=False,  # proxy/edge/bodies.py does it, within a bound
            access_log=None,  # type: ignore[arg-type]  # its type forgot that aiohttp takes None for none
        )


class Connection(web.RequestHandler):
    """One connection. What is no HTTP is answered without quoting it: it may hold a key."""

    __slots__ = ()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """The answer where no route could answer. Raises ConnectionError when a part of one was sent."""
        if not isinstance(exc, HttpProcessingError) or request.writer.output_size > 0:
            return super().handle_error(request, status, exc, message)
        request_id = new_request_id()
        log.info("malformed_request", request_id=request_id, reason=type(exc).__name__)
        headers = {HEADER: request_id, ANTHROPIC_HEADER: request_id}
        response = plain_error(status, "malformed_request", MALFORMED, headers)
        response.force_close()
        return response
