"""Opens what metered accounts need: the ledger with their pools, and the parts that spend it. Beside app.py, for it."""

import asyncio
import random
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from itertools import chain
from types import MappingProxyType

import structlog

from proxy import accounts, catalog
from proxy.accounts import Accounts
from proxy.config import Config
from proxy.free_memory import FreeMemory
from proxy.metered import Metered
from proxy.quota_counts import QuotaCounts
from proxy.selection import Policy
from proxy.spending import Spending
from quota import sqlite_ledger
from quota.clock import Clock
from quota.failed_ledger import FailedLedger
from quota.ledger import Ledger, LedgerUnusable
from quota.pool import DAY, SECOND
from quota.windows import ENDLESS

log = structlog.get_logger()
OTHER_WRITERS = (
    "Let no other program write to quota.db while a gateway runs: with this SQLite the file could break. "
    "Gateways have a lock of their own for it; 3.51.3 and newer need none."
)


class Metering:
    """The accounts of a configuration, their ledger, and what spends it.

    `on_change` is called when a provider has told the number of a limit: `metered` has its pool then.
    """

    def __init__(
        self,
        config: Config,
        found: Accounts,
        *,
        ledger: Ledger,
        clock: Clock,
        counts: QuotaCounts,
        sleep: Callable[[float], Awaitable[None]],
        dice: Callable[[], float],
    ) -> None:
        self._config, self._catalog = config, catalog.merged(config.catalog)
        self._told: Mapping[str, int] = {}
        self.accounts = found
        self.ledger = ledger
        self.counts = counts
        self.on_change: Callable[[], None] = lambda: None
        free = config.free
        self.spending = Spending(
            ledger=ledger,
            rules={name: provider.headers for name, provider in self._catalog.items()},
            unknown=found.unknown,
            on_learned=self.learn,
            memory=FreeMemory(round(free.sticky * SECOND)),
            policy=Policy(
                accepted={account.name: frozenset(account.accept) for account in config.accounts},
                billing=frozenset(account.name for account in config.accounts if account.allow_billing),
                floors={"interactive": 0.0, "agent": free.agent_floor, "batch": free.batch_floor},
            ),
            counts=counts,
            confirm=clock.confirm,
            when_spent=free.when_spent,
            wait=free.wait,
            local=free.local,
            waiting_per_principal=free.waiting_per_key,
            sleep=sleep,
            dice=dice,
        )

    @property
    def metered(self) -> Mapping[str, Mapping[str, Metered]]:
        """What spends a quota, by account and model."""
        return MappingProxyType(
            {account: {each.model: each for each in models} for account, models in self.accounts.metered.items()}
        )

    def models(self) -> Iterator[Metered]:
        """All that spends a quota."""
        return chain.from_iterable(self.accounts.metered.values())

    async def learn(self, told: Mapping[str, int]) -> None:
        """Make pools of limits whose numbers a provider has told, and hold to them from now on."""
        new = {pool: amount for pool, amount in told.items() if pool in self.accounts.unknown}
        if not new:
            return
        self._told = {**self._told, **new}
        found = accounts.build(self._config, self._catalog, self._told)
        await self.ledger.define(found.pools)
        self.accounts = found
        for pool, amount in new.items():
            log.info("limit_learned", pool=pool, amount=amount)
        self.on_change()


def accounts_of(config: Config) -> Accounts:
    """The accounts that can be used; what stands in the way of the others is logged."""
    found = accounts.build(config, catalog.merged(config.catalog) if config.accounts else {})  # most have none
    for name, why in found.unused:
        log.warning("account_not_used", account=name, reason=why)
    return found


@asynccontextmanager
async def metering(
    config: Config,
    found: Accounts,
    clock: Clock | None = None,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    dice: Callable[[], float] = random.random,
) -> AsyncIterator[Metering | None]:
    """Until the context is left; None where there is no account, and then there is no ledger either.

    A ledger that cannot be opened is logged: the accounts refuse then, and everything else goes on. `clock` and `sleep`
    are the ledger's time.
    """
    if not found.metered:
        yield None
        return
    clock, counts = clock or Clock(), QuotaCounts()
    async with AsyncExitStack() as stack:
        ledger: Ledger
        try:
            ledger = await stack.enter_async_context(
                sqlite_ledger.opened(
                    config.data_dir / "quota.db",
                    synchronous=config.quota.synchronous,
                    ttl=round(config.quota.lease * SECOND),
                    history=round(config.quota.history_days * DAY),
                    now=clock.now,
                    on_lapsed=counts.lapse,
                )
            )
            await ledger.define(found.pools)
            for scope, cooldown in ledger.cooldowns().items():
                if cooldown.until >= ENDLESS:  # until somebody has changed something, as they may have by now
                    await ledger.warm(scope)
            if sqlite_ledger.needs_our_lock():
                log.info("sqlite_needs_our_lock", sqlite=sqlite3.sqlite_version, hint=OTHER_WRITERS)
        except LedgerUnusable as error:
            log.error("ledger_unusable", reason=str(error), hint="No account is asked until this is mended.")
            ledger = FailedLedger(str(error))
            await ledger.define(found.pools)
        made = Metering(config, found, ledger=ledger, clock=clock, counts=counts, sleep=sleep, dice=dice)
        await made.learn({pool: head.cap for pool, head in ledger.headroom().items()})
        yield made
