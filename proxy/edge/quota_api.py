"""What is left of the pools, over HTTP: their totals, and of each the caller's own share. Never another's."""

from collections.abc import Callable, Iterable

from aiohttp import web

from proxy.edge.replies import json_response
from proxy.edge.request_facts import PRINCIPAL
from proxy.metered import Metered
from proxy.quota_report import Row, report_on, shown
from quota.ledger import Ledger

PATH = "/v1/quota"


class QuotaApi:
    """`metered` are the models whose pools are shown: a ledger keeps also what is not configured any more.

    Where there is no account there is no ledger, and nothing to show.
    """

    def __init__(self, *, ledger: Ledger | None = None, metered: Callable[[], Iterable[Metered]] = tuple) -> None:
        self._ledger = ledger
        self._metered = metered

    def routes(self) -> list[web.RouteDef]:
        return [web.get(PATH, self.quota)]

    async def quota(self, request: web.Request) -> web.Response:
        """Every pool as it stands, in order of account and model."""
        ledger = self._ledger
        rows: tuple[Row, ...] = ()
        if ledger is not None:
            who, cooldowns = request[PRINCIPAL].id, ledger.cooldowns()
            rows = report_on(self._metered(), ledger.headroom(), ledger.now(), who, cooldowns=cooldowns)
        # Not kept: the next answer changes it.
        return json_response({"object": "list", "data": [*map(shown, rows)]}, headers={"Cache-Control": "no-store"})
