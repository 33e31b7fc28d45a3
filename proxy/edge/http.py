"""The HTTP side of the origin: routes, the checks before each, and errors as JSON."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Any, Protocol

import structlog
from aiohttp import web

from backends.errors import BackendError
from proxy.edge.brought import Reads
from proxy.edge.cors import is_preflight, preflight, share
from proxy.edge.guard import OPEN, Guard
from proxy.edge.lost import where_instead
from proxy.edge.replies import error_response, json_response, plain_error
from proxy.edge.request_facts import BROUGHT, PRINCIPAL, REQUEST_ID, brought, give_back, request_id
from proxy.edge.tickets import Tickets
from proxy.edge.ws import Sockets
from proxy.errors import Draining, ForbiddenHost, ForbiddenOrigin, ProxyError
from proxy.reader import Unanswered
from proxy.runtime import Listed, Runtime
from proxy.wire_errors import wire

log = structlog.get_logger()
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
SOCKET = "/v1/responses"
NO_READS = Reads()


class Routed(Protocol):
    """A part of the API."""

    def routes(self) -> list[web.RouteDef]:
        """Its paths, and who answers them."""


class Health:
    """What the health routes say. `ready` is set once everything has started and unset when draining begins.

    `report` says more to who may know more; its `status` is "unavailable" when nobody can be served.
    """

    def __init__(self, report: Callable[[bool], Mapping[str, Any]]) -> None:
        self._report = report
        self.ready = False

    async def live(self, _: web.Request) -> web.Response:
        """The process answers."""
        return json_response({"status": "ok"})

    async def answer_ready(self, _: web.Request) -> web.Response:
        """New clients are welcome."""
        if self.ready:
            return json_response({"status": "ok"})
        return json_response({"status": "unavailable"}, 503, {"Retry-After": "1"})

    async def answer(self, _: web.Request) -> web.Response:
        """The state of each component."""
        report = self._report(self.ready)
        return json_response(report, 503 if report["status"] == "unavailable" else 200)

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/health", self.answer),
            web.get("/health/live", self.live),
            web.get("/health/ready", self.answer_ready),
        ]


class Api:
    """The routes under /v1."""

    def __init__(
        self, *, runtime: Callable[[], Runtime], sockets: Sockets, tickets: Tickets, health: Health, started_at: int
    ) -> None:
        self._runtime = runtime
        self._sockets = sockets
        self._tickets = tickets
        self._health = health
        self._started_at = started_at

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get(SOCKET, self.responses),
            web.post("/v1/ws-tickets", self.ticket),
            web.get("/v1/models", self.models),
            web.get("/v1/models/{id:.+}", self.model),
        ]

    async def responses(self, request: web.Request) -> web.StreamResponse:
        """The socket."""
        if not self._health.ready:
            raise Draining
        if request.headers.get("Upgrade", "").lower() != "websocket":
            return plain_error(
                426,
                "upgrade_required",
                "Here is a WebSocket: connect with ws://, or with the SDK's client.responses.connect(). "
                "Over HTTP, POST to this path, or GET /v1/responses/ID.",
                {"Upgrade": "websocket", "Connection": "Upgrade"},
            )
        return await self._sockets.serve(request, request[PRINCIPAL], brought(request))

    async def ticket(self, request: web.Request) -> web.Response:
        """A ticket for one socket."""
        if not self._health.ready:
            raise Draining
        ticket = self._tickets.issue(request[PRINCIPAL])
        body = {"object": "ws_ticket", "ticket": ticket, "expires_in": self._tickets.seconds}
        return json_response(body, headers={"Cache-Control": "no-store"})

    async def models(self, _: web.Request) -> web.Response:
        """Every name that can be asked for, in the configuration's order."""
        return json_response({"object": "list", "data": [self._model(listed) for listed in self._runtime().listed()]})

    async def model(self, request: web.Request) -> web.Response:
        """One of them, by the name in the list or as BACKEND/ID. Raises UnknownModel or AmbiguousModel."""
        return json_response(self._model(self._runtime().described(request.match_info["id"])))

    def _model(self, listed: Listed) -> dict[str, Any]:
        """OpenAI's members, and ours where they are known: what is not known is not there."""
        known: dict[str, Any] = {
            "id": listed.id,
            "object": "model",
            "created": self._started_at,
            "owned_by": listed.owner or "streamlane",
        }
        if listed.targets:
            known["targets"] = list(listed.targets)
        if listed.model and listed.model.context is not None:
            known["context_length"] = listed.model.context
        if listed.model and listed.model.max_output is not None:
            known["max_output_tokens"] = listed.model.max_output
        if listed.model and (abilities := listed.model.capabilities.known()):
            known["capabilities"] = abilities
        return known


def checks(
    guard: Guard,
    on_refused: Callable[[Exception], None],
    there: Callable[[str], str],
    reads: Reads = NO_READS,
) -> Any:
    """The middleware that lets a request in, or says why not. `there` says what one may look for instead of a path."""

    @web.middleware
    async def check(request: web.Request, handler: Handler) -> web.StreamResponse:
        request[REQUEST_ID] = request_id(request)
        structlog.contextvars.bind_contextvars(request_id=request[REQUEST_ID])
        try:
            if is_preflight(request):
                guard.check(request.headers)
                return preflight(request)
            resource = request.match_info.route.resource
            if resource is not None and resource.canonical in OPEN:
                note_foreign_page(guard, request)
            else:
                guard.check(request.headers)
                ticket = request.query.get("ticket") if request.path == SOCKET else None
                request[PRINCIPAL] = guard.principal(request.headers, ticket)
                request[BROUGHT] = reads.read(request.headers)
            return await handler(request)
        except ProxyError as error:
            on_refused(error)
            if isinstance(error, ForbiddenOrigin | ForbiddenHost):
                note_refusal(error, request)
            return error_response(error, request)
        except (Unanswered, BackendError) as error:
            return error_response(error.error if isinstance(error, Unanswered) else error, request)
        except web.HTTPMethodNotAllowed as error:
            allowed = ", ".join(sorted(error.allowed_methods))
            message = f"{request.method} is not possible here. Possible: {allowed}."
            return plain_error(405, "method_not_allowed", message, {"Allow": allowed}, request)
        except web.HTTPNotFound:
            return plain_error(
                404, "not_found", f"There is nothing at this path. {there(request.path)}", request=request
            )
        except web.HTTPException as error:
            return plain_error(error.status, "http_error", f"{error.reason}.", request=request)
        except Exception as error:
            log.exception("request_failed", path=request.path)
            return error_response(error, request)

    return check


def note_refusal(error: ForbiddenOrigin | ForbiddenHost, request: web.Request) -> None:
    """For the operator: a browser hides the reason from its page."""
    where = {name: request.headers.get(name, "")[:200] for name in ("Origin", "Host")}
    log.warning("refused", code=wire(error).code, hint=str(error), **where)


def note_foreign_page(guard: Guard, request: web.Request) -> None:
    """What is open is given to everybody, but the browser keeps it from a page of another origin: say so as well."""
    try:
        guard.check(request.headers)
    except ForbiddenOrigin as error:
        note_refusal(error, request)
    except ForbiddenHost:  # probes come by any name
        pass


def application(
    guard: Guard,
    routed: Sequence[Routed],
    on_refused: Callable[[Exception], None],
    reads: Reads = NO_READS,
) -> web.Application:
    """The public listener. `on_refused` is told each error that a request was refused with."""
    routes = [route for each in routed for route in each.routes()]
    known = frozenset(route.path.split("/")[2] for route in routes if route.path.startswith("/v1/"))
    app = web.Application(middlewares=[checks(guard, on_refused, partial(where_instead, known=known), reads)])
    app.add_routes(routes)
    share(app, guard)
    give_back(app)
    return app
