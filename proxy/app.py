"""The composition root: builds every object, owns the top task group, drains in order. Below it nobody sees Config."""

import asyncio
import os
import random
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial
from secrets import token_hex
from types import MappingProxyType

import msgspec
import structlog
from prometheus_client import CollectorRegistry

from backends import registry
from backends.base import Backend
from backends.errors import EngineUnavailable
from backends.http import Transport
from proxy import configured_router, logs, outgoing
from proxy.apis import apis
from proxy.clients import Bounds, Clients
from proxy.config import BackendOptions, Config
from proxy.config_check import placeholders
from proxy.configured import alias, breaker_rules, model_facts, model_prices, room
from proxy.data_dir import ensure_data_dir
from proxy.discovery import Discovery
from proxy.dispatch_setup import dispatcher_of, watched
from proxy.edge.brought import Reads
from proxy.edge.caller_keys import CallerKeys
from proxy.edge.guard import Guard
from proxy.edge.http import Api, Health, Routed, application
from proxy.edge.ops import ops_application
from proxy.edge.pages import Pages, clients_dir
from proxy.edge.queue_api import QueueApi
from proxy.edge.quota_api import QuotaApi
from proxy.edge.reference import Reference
from proxy.edge.tickets import Tickets
from proxy.edge.ws import SocketDeadlines, Sockets
from proxy.gauges import read_connections, read_gauges, read_held, read_history, read_places, read_quota, read_vitals
from proxy.generations import Generations
from proxy.health import report
from proxy.held import SWEEP
from proxy.history.compact import compact
from proxy.history.history import Bounds as HistoryBounds
from proxy.history.history import History, kept
from proxy.loop_lag import LoopLag
from proxy.metering import Metering, accounts_of, metering
from proxy.metrics import Metrics
from proxy.places import Places
from proxy.ports import StartError, bound, serving
from proxy.routing.vitals import Vitals
from proxy.runtime import Runtime
from proxy.session import Limits
from proxy.store.database import Database, database
from proxy.store.memory import MemoryStore
from proxy.store.port import Store
from proxy.store.sqlite import opened
from proxy.store.sqlite_file import StoreUnusable
from proxy.turns import Turns
from quota.clock import Clock

log = structlog.get_logger()
UNWRITTEN = 64 * 1024 * 1024  # bytes of responses that may wait for the disk
OURS = "gateway"  # the key_source of backends that take no caller's key
CANCELLED = 5.0  # seconds that cancelled responses get to say so to their clients


@dataclass(frozen=True, slots=True)
class Gateway:
    """A gateway that is running. `base_url` is what an SDK is given."""

    base_url: str
    ops_url: str
    runtime: Callable[[], Runtime]
    generations: Generations


@asynccontextmanager
async def running(
    config: Config,
    more: Sequence[Backend] = (),
    on_bound: Callable[[], None] = lambda: None,
    by_name: Sequence[BackendOptions] = (),
    *,
    clock: Clock | None = None,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> AsyncIterator[Gateway]:
    """A gateway, from its start until the context is left; leaving drains it. Raises StartError.

    `more` are backends beside those of the configuration, for programs that embed a gateway; those `by_name` answer
    only to BACKEND/MODEL. `on_bound` is called when the ports are ours, before models are loaded. `clock` and `sleep`
    are those of quotas.
    """
    async with ungrouped(), AsyncExitStack() as stack:
        ensure_data_dir(config.data_dir)
        public, private = bound(stack, "server", config.server), bound(stack, "ops", config.ops)
        on_bound()
        transport = transport_of(config)
        stack.callback(transport.close)
        found = accounts_of(config)
        backends = await all_started(stack, config, (*by_name, *found.backends), transport, more)
        quota = await stack.enter_async_context(metering(config, found, clock, sleep))
        file = await stack.enter_async_context(database(config.data_dir / "streamlane.db"))
        store = await stack.enter_async_context(response_store(config, file))
        history = await stack.enter_async_context(call_history(config, file))
        tasks = await stack.enter_async_context(asyncio.TaskGroup())

        rules, vitals = configured_router.rules(config.router), Vitals(breaker_rules(config.health), random.random)
        discovery = Discovery(
            Runtime(
                MappingProxyType(dict(backends)),
                MappingProxyType({name: alias(each) for name, each in config.models.items()}),
                facts=model_facts(config.capabilities, found.facts),
                by_name=frozenset(options.name for options in (*by_name, *found.backends)),
                metered=quota.metered if quota else MappingProxyType({}),
                prices=model_prices(config.prices),
                router=configured_router.router(config.router),
            ),
            watched(vitals),
        )
        watching = tasks.create_task(discovery.run())
        stack.callback(watching.cancel)

        metrics = Metrics(CollectorRegistry(), lambda: discovery.runtime)
        lag = LoopLag(metrics.lagged)
        stack.callback(tasks.create_task(lag.run()).cancel)

        limits = config.limits
        places = Places(seconds=config.deadlines.queue, rooms=partial(room, config.load), waited=metrics.waited)
        dispatcher = dispatcher_of(
            config,
            discovery,
            rules=rules,
            vitals=vitals,
            places=places,
            spending=quota.spending if quota else None,
            on_outcome=[
                logs.outcome_line,
                metrics.observe,
                *([quota.spending.observe] if quota else []),
                *([history.observe] if history else []),
            ],
        )
        generations = Generations(
            dispatcher=dispatcher,
            turns=Turns(
                store=store,
                ttl=config.responses.retention_days * 86400 if config.responses.persist else config.responses.store_ttl,
                max_turns=config.responses.max_turns,
                max_bytes=config.responses.max_conversation_bytes,
                now=time.time,
            ),
            tasks=tasks,
            new_id=lambda prefix: f"{prefix}_{os.urandom(16).hex()}",
            ahead=limits.log_ahead_bytes,
            running_per_principal=limits.running_per_key,
            max_response_bytes=limits.max_response_bytes,
            log_ttl=config.responses.log_ttl,
            log_bytes=config.responses.log_bytes,
            history=history,
        )
        stack.callback(tasks.create_task(sweeping(generations)).cancel)
        clients = Clients(
            generations=generations,
            limits=Limits(active=limits.active_responses, lanes=limits.lanes, queued=limits.queued_creates),
            bounds=Bounds(**msgspec.structs.asdict(config.session)),
            ahead=limits.log_ahead_bytes,
            connection_bytes=config.responses.connection_bytes,
            max_frame_bytes=limits.max_frame_bytes,
            spawn=tasks.create_task,
            call_later=asyncio.get_running_loop().call_later,
            new_epoch=lambda: token_hex(4),
            on_refused=metrics.refused,
        )
        stack.callback(clients.close)
        sockets = Sockets(
            clients=clients,
            deadlines=SocketDeadlines(
                send=config.deadlines.send, ping=config.deadlines.ping, pong=config.deadlines.pong
            ),
            max_frame_bytes=limits.max_frame_bytes,
        )
        read_gauges(metrics, sockets, clients, discovery)
        read_places(metrics, places, lambda: discovery.runtime)
        read_vitals(metrics, vitals, lambda: discovery.runtime, time.monotonic)
        read_held(metrics, generations, store)
        read_history(metrics, history)
        read_connections(metrics, transport.states)
        started = time.monotonic()
        health = Health(
            lambda ready: report(
                discovery.states(),
                discovery.runtime,
                ready=ready,
                uptime=time.monotonic() - started,
                longest_pause=lag.longest,
                sockets=len(sockets),
                responses=generations.running,
                standings=vitals.standings(time.monotonic()),
            )
        )
        tickets = Tickets(now=time.monotonic)
        guard = Guard(
            api_keys=config.server.api_keys,
            allowed_origins=config.server.allowed_origins,
            allowed_hosts=config.server.allowed_hosts,
            bind=config.server.host,
            tickets=tickets,
        )
        api = Api(
            runtime=lambda: discovery.runtime,
            sockets=sockets,
            tickets=tickets,
            health=health,
            started_at=int(time.time()),
        )
        await discovery.first()
        base_url = await serving(
            stack,
            application(
                guard,
                [
                    api,
                    *apis(
                        config,
                        generations=generations,
                        dispatcher=dispatcher,
                        history=history,
                        runtime=lambda: discovery.runtime,
                        ready=lambda: health.ready,
                    ),
                    *quota_api(quota, metrics, discovery),
                    QueueApi(places=places, runtime=lambda: discovery.runtime),
                    health,
                    Pages(clients_dir()),
                    Reference(),
                ],
                metrics.refused,
                Reads(CallerKeys([each.name for each in config.backends if takes_keys(each)]), rules.headers),
            ),
            public,
            "server",
            config.server,
        )
        ops_url = await serving(
            stack, ops_application(guard, metrics.refused, health, metrics.registry), private, "ops", config.ops
        )
        stack.push_async_callback(drain, health, sockets, generations, config.deadlines.drain)
        health.ready = True
        yield Gateway(f"{base_url}/v1", ops_url, lambda: discovery.runtime, generations)


def transport_of(config: Config) -> Transport:
    """What all backends are asked over. Raises StartError."""
    try:
        return outgoing.transport(config.transport, config.deadlines.connect)
    except ValueError as error:
        raise StartError(str(error)) from None


async def all_started(
    stack: AsyncExitStack,
    config: Config,
    found: Sequence[BackendOptions],
    transport: Transport,
    more: Sequence[Backend],
) -> Mapping[str, Backend]:
    """Every backend by its name, until the stack is left. Raises StartError."""
    for name in placeholders(config.backends):
        log.warning("key_looks_like_a_placeholder", backend=name, hint="Set its api_key, or take it out.")
    parts = registry.Parts(transport=transport, models_dir=config.data_dir / "models")
    built = [build(options, parts) for options in (*config.backends, *found)]
    backends = {backend.name: backend for backend in (*built, *more)}
    for name, backend in backends.items():
        stack.push_async_callback(backend.close)
        try:
            await backend.start()
        except EngineUnavailable as error:
            raise StartError(f'backend "{name}": {error}') from None
    return backends


@asynccontextmanager
async def response_store(config: Config, file: Database) -> AsyncIterator[Store]:
    """Where responses are kept, as configured. It outlives every response. Raises StartError."""
    memory = MemoryStore(config.responses.store_bytes, time.time)
    if not config.responses.persist:
        yield memory
        return
    try:
        async with opened(file, memory, UNWRITTEN, time.time) as store:
            yield store
    except StoreUnusable as error:
        raise StartError(str(error)) from None


@asynccontextmanager
async def call_history(config: Config, file: Database) -> AsyncIterator[History | None]:
    """What is kept of routed calls, as configured."""
    settings = config.history
    if not settings.enabled:
        yield None
        return
    bounds = HistoryBounds(settings.days, settings.max_rows, settings.feedback_per_day)
    made = History(database=file, features=compact, prompts=settings.prompts, bounds=bounds, now=time.time)
    async with kept(made) as history:
        yield history


def quota_api(quota: Metering | None, metrics: Metrics, discovery: Discovery) -> list[Routed]:
    """What tells of quotas, over HTTP and in the metrics; it is empty where there is none."""
    if quota is None:
        return [QuotaApi()]
    quota.on_change = lambda: discovery.learned(quota.metered)
    read_quota(metrics, quota.ledger, quota.models, quota.counts)
    return [QuotaApi(ledger=quota.ledger, metered=quota.models)]


async def sweeping(generations: Generations) -> None:
    """Let go of what is past its time, also while nothing new comes. Until cancelled."""
    while True:
        await asyncio.sleep(SWEEP)
        generations.sweep()


@asynccontextmanager
async def ungrouped() -> AsyncIterator[None]:
    """One error inside is raised as itself: a task group would wrap also what its body raises."""
    try:
        yield
    except BaseExceptionGroup as group:
        if len(group.exceptions) == 1:
            raise group.exceptions[0] from None
        raise


async def drain(health: Health, sockets: Sockets, generations: Generations, seconds: float) -> None:
    """Not ready → no new sockets → lanes finish → the deadline cancels what is left → connections are cut."""
    health.ready = False
    log.info("draining", responses=generations.running, seconds=seconds, hint="a second Ctrl+C stops at once")
    try:
        async with asyncio.timeout(seconds):
            await sockets.drain(seconds)
            await generations.drain()  # those over HTTP and in the background
    except TimeoutError:
        generations.cancel_all()
        with suppress(TimeoutError):
            async with asyncio.timeout(CANCELLED):
                await sockets.drain(seconds)
                await generations.drain()
    finally:
        generations.cancel_all()
        sockets.cut()


def takes_keys(options: BackendOptions) -> bool:
    """Whether a backend is asked with its callers' own keys."""
    return getattr(options, "key_source", OURS) != OURS


def build(options: object, parts: registry.Parts) -> Backend:
    """The backend that a table of the configuration describes."""
    kind = type(options).__struct_config__.tag  # type: ignore[attr-defined]  # every Options is a tagged Struct
    return registry.load(kind).build(options, parts)


async def serve(
    config: Config, announce: Callable[[Gateway], None], on_bound: Callable[[], None], by_name: Sequence[BackendOptions]
) -> None:
    """Run until SIGINT or SIGTERM, then drain; a second signal ends the drain (CancelledError). Raises StartError."""
    stop = asyncio.Event()
    here = asyncio.current_task()

    def stopped() -> None:
        if stop.is_set() and here is not None:
            here.cancel()
        stop.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stopped)
    async with running(config, on_bound=on_bound, by_name=by_name) as gateway:
        announce(gateway)
        await stop.wait()
