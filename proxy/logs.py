"""Log lines: structlog for us, and for the standard library's loggers too. No prompt, no key."""

import logging
import sys
from typing import Literal, TextIO

import structlog
from structlog.typing import Processor

from backends.json import dumps
from proxy.outcome import Outcome

log = structlog.get_logger()


def configure(level: str, form: Literal["auto", "pretty", "json"], stream: TextIO = sys.stderr) -> None:
    """Set up logging for the process. "auto" is pretty on a terminal and JSON elsewhere."""
    pretty = form == "pretty" or (form == "auto" and stream.isatty())
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="%H:%M:%S" if pretty else "iso", utc=not pretty),
    ]
    # Tracebacks without local variables: those could hold a prompt or a key.
    if pretty:
        final: list[Processor] = [
            structlog.dev.ConsoleRenderer(
                colors=stream.isatty(), exception_formatter=structlog.dev.plain_traceback, pad_event_to=0
            )
        ]
    else:
        final = [structlog.processors.format_exc_info, structlog.processors.JSONRenderer(serializer=to_json)]
    threshold = logging.getLevelNamesMapping()[level.upper()]
    structlog.configure(
        processors=[*shared, *final],
        wrapper_class=structlog.make_filtering_bound_logger(threshold),
        logger_factory=structlog.WriteLoggerFactory(stream),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared, processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *final]
        )
    )
    logging.basicConfig(level=max(threshold, logging.WARNING), handlers=[handler], force=True)
    # aiohttp warns with the subprotocols that a client offered; browsers send their key as one.
    logging.getLogger("aiohttp.server").addFilter(without_bytes)
    logging.getLogger("aiohttp.websocket").setLevel(logging.ERROR)


def without_bytes(record: logging.LogRecord) -> bool:
    """aiohttp quotes a request that it cannot parse, and that may hold a key: keep the fact, drop the words."""
    error = record.exc_info[1] if record.exc_info else None
    if type(error).__module__ == "aiohttp.http_exceptions":
        record.msg, record.args, record.exc_info = f"request refused: {type(error).__name__}", (), None
    return True


def to_json(line: object, **_: object) -> str:
    """One line; what JSON has no word for is written as text."""
    return dumps(line, default=str).decode()


def outcome_line(outcome: Outcome) -> None:
    """One line for one finished request."""
    usage, routed = outcome.usage, outcome.routed
    log.info(
        "request",
        request_id=outcome.request_id,
        principal=outcome.principal,
        model=outcome.model,
        status=outcome.status,
        error=outcome.error,
        reason=outcome.reason,
        backend=outcome.backend,
        backend_model=outcome.backend_model,
        failed_attempts=[f"{each.backend}: {each.error}" for each in outcome.failed_attempts],
        retry_wait_ms=round(sum(each.wait for each in outcome.failed_attempts) * 1000, 1),
        first_event_ms=None if outcome.first_event is None else round(outcome.first_event * 1000, 1),
        duration_ms=round(outcome.duration * 1000, 1),
        input_tokens=usage.input_tokens if usage else None,
        output_tokens=usage.output_tokens if usage else None,
        cost_usd_micros=outcome.cost,
        rule=routed.rule if routed else None,
        score=None if routed is None or routed.score is None else round(routed.score, 4),
        tokens_per_second=None if outcome.tokens_per_second is None else round(outcome.tokens_per_second, 1),
    )
