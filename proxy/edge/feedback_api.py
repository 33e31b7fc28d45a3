"""Feedback over HTTP: whether an answer was good, from the key that asked for it."""

from collections.abc import Callable

from aiohttp import web

from proxy.edge.bodies import Bodies
from proxy.edge.replies import json_response
from proxy.edge.request_facts import PRINCIPAL
from proxy.errors import BadParameter, ProxyError, Unsupported
from proxy.history.history import History
from proxy.runtime import Runtime
from proxy.wire.feedback import feedback_object, parse_feedback, response_id, taken_back

PATH = "/v1/feedback"


class FeedbackApi:
    """`history` is None where none is kept; `runtime` says which models there are."""

    def __init__(self, *, history: History | None, runtime: Callable[[], Runtime], bodies: Bodies) -> None:
        self._history = history
        self._runtime = runtime
        self._bodies = bodies

    def routes(self) -> list[web.RouteDef]:
        return [web.post(PATH, self.rate), web.delete(PATH + "/{response_id}", self.take_back)]

    async def rate(self, request: web.Request) -> web.Response:
        """Keep what the caller thinks of one of its answers; the newest word counts."""
        given = parse_feedback(await self._bodies.json_object(request))
        preferred = given.preferred_model and self._target(given.preferred_model)
        await self._kept().rate(request[PRINCIPAL].id, response_id(given.response_id), given.rating, preferred)
        return json_response(feedback_object(given))

    async def take_back(self, request: web.Request) -> web.Response:
        """As if the answer had never been rated."""
        shown = request.match_info["response_id"]
        await self._kept().take_back(request[PRINCIPAL].id, response_id(shown))
        return json_response(taken_back(shown))

    def _kept(self) -> History:
        if self._history is None:
            raise Unsupported("Feedback", "response_id", "The operator can set [history] enabled = true.")
        return self._history

    def _target(self, name: str) -> str:
        """BACKEND/MODEL. Raises UnknownModel, AmbiguousModel or BadParameter."""
        try:
            route = self._runtime().resolve(name)
        except ProxyError as error:
            error.param = "preferred_model"
            raise
        candidates = route.candidates
        if route.ask is not None or len(candidates) != 1:
            raise BadParameter(f"'preferred_model' must be one model, and '{name}' may be several.", "preferred_model")
        return f"{candidates[0].backend.name}/{candidates[0].model}"
