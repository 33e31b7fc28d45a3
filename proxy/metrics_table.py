"""Every metric of ours: name, meaning, labels, buckets. The scrape and the page about it are read off it. Pure.

Names follow prometheus.io/docs/practices/naming: base units, `_total` for what only grows. Labels take few values,
never what a client chose: a `model` is one that its backend lists, or that an alias leads to, else "other".
"""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True, eq=False)  # each is itself: a key of dicts, several times per call
class Metric:
    """One metric. `bounds` are a histogram's buckets, in the unit of its name."""

    kind: Literal["counter", "gauge", "histogram"]
    name: str
    about: str
    labels: tuple[str, ...] = ()
    bounds: tuple[float, ...] = ()


WHERE = ("backend", "model")
POOL = ("account", "pool")

BUILD = Metric("gauge", "streamlane_build_info", "Always 1. The labels say what runs.", ("version", "python"))
SOCKETS = Metric("gauge", "streamlane_sockets", "WebSockets that are open.")
LANES = Metric(
    "gauge",
    "streamlane_lanes",
    "Lanes of the open sockets: idle, running, or waiting because their socket runs as many responses as it may.",
    ("state",),
)
SESSIONS = Metric(
    "gauge",
    "streamlane_sessions",
    "Sessions that are remembered: attached, or away, which means that their connection is gone and may come back.",
    ("state",),
)
SESSION_BYTES = Metric(
    "gauge", "streamlane_session_bytes", "About what all sessions take in memory, so that nothing they missed is lost."
)
RESUMES = Metric(
    "counter",
    "streamlane_resumes_total",
    "Connections with a session: new, resumed, or gap, when what the client missed was not held any more.",
    ("result",),
)
BACKEND_UP = Metric(
    "gauge", "streamlane_backend_up", "1 when the backend answered the last time it was asked, else 0.", ("backend",)
)
BREAKER = Metric(
    "gauge",
    "streamlane_breaker_state",
    "Whether a model that failed is asked again: 0 yes, 1 one request tries it, 2 not now. The worst of its backend's "
    "and its own.",
    WHERE,
)
COOLDOWN = Metric(
    "gauge",
    "streamlane_cooldown_seconds",
    "For how long it is not asked because it said so: a rate limit, an overload, a refused key. The scope is model, "
    "key, account or backend; but for the first, the model is empty. Accounts with quotas are not among them.",
    (*WHERE, "scope"),
)
RECENT_FIRST_TOKEN = Metric(
    "gauge",
    "streamlane_recent_first_token_seconds",
    "From asking a model to its first content: the mean of late, by which the quickest is chosen.",
    WHERE,
)
KEYS = Metric(
    "gauge",
    "streamlane_keys",
    "The gateway's own keys for the backend: usable, or refused with a 401 and not used any more. The log says which.",
    ("backend", "state"),
)
CONNECTIONS = Metric(
    "gauge",
    "streamlane_backend_connections",
    "Connections that are open to a backend's host and port: busy with a request, or idle until the next.",
    ("origin", "state"),
)
CONNECTS = Metric(
    "counter",
    "streamlane_backend_connects_total",
    "Connections to a backend's host and port that were tried: connected, or failed.",
    ("origin", "result"),
)
REUSED = Metric(
    "counter",
    "streamlane_backend_connections_reused_total",
    "Requests to a backend's host and port that needed no new connection.",
    ("origin",),
)
QUEUE = Metric(
    "gauge",
    "streamlane_queue_length",
    "Requests that wait for a place at the backend.",
    ("backend", "priority"),
)
QUEUE_TOKENS = Metric(
    "gauge", "streamlane_queue_tokens", "Tokens of their prompts and longest answers, estimated.", ("backend",)
)
QUEUE_WAIT = Metric(
    "histogram",
    "streamlane_queue_wait_seconds",
    "How long those waited that had to wait for their place and got it.",
    ("backend", "priority"),
    (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0),
)
QUEUE_REFUSED = Metric(
    "counter",
    "streamlane_queue_refused_total",
    "Requests that got no place: full, because as many as may already waited; too_late, because they would have waited "
    "longer than they may; or deadline, because they had.",
    ("backend", "reason"),
)
RUNNING = Metric("gauge", "streamlane_backend_running", "Requests that have a place at the backend.", ("backend",))
LIMIT = Metric(
    "gauge",
    "streamlane_backend_limit",
    "How many may have a place at the backend now; +Inf where there is no limit. New ones wait while more run.",
    ("backend",),
)
REQUESTS = Metric(
    "counter",
    "streamlane_requests_total",
    "Finished requests, by the backend that answered, or whose error it was: the one asked last, nearly always. The "
    "outcome is completed, incomplete, cancelled or failed; "
    "the code is that of the error, empty without one.",
    (*WHERE, "outcome", "code"),
)
FAILED_ATTEMPTS = Metric(
    "counter",
    "streamlane_failed_attempts_total",
    "Attempts that failed before the first token, but for the one whose error the request failed with: that is in "
    "streamlane_requests_total.",
    (*WHERE, "code"),
)
REFUSED = Metric(
    "counter",
    "streamlane_refused_total",
    "What clients sent and got an error for before there was a response: frames, creates, cancels and HTTP requests.",
    ("code",),
)
DURATION = Metric(
    "histogram",
    "streamlane_request_duration_seconds",
    "From a request's admission to its end, however it ended.",
    WHERE,
    (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0),
)
FIRST_TOKEN = Metric(
    "histogram",
    "streamlane_time_to_first_token_seconds",
    "From a request's admission to its first content. The wait for a place and failed attempts are in it.",
    WHERE,
    (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0),
)
INTER_TOKEN = Metric(
    "histogram",
    "streamlane_inter_token_seconds",
    "Between two pieces of content of one answer, as they come from the backend; pieces that came in one read are 0 "
    "apart. Added when the answer ends.",
    WHERE,
    (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0),
)
INPUT_TOKENS = Metric(
    "counter",
    "streamlane_input_tokens_total",
    "Tokens of prompts, as the backend counted them. Backends count at the end: an answer cut short is not in it.",
    WHERE,
)
OUTPUT_TOKENS = Metric(
    "counter",
    "streamlane_output_tokens_total",
    "Tokens of answers, as the backend counted them. An answer cut short is not in it.",
    WHERE,
)
COST = Metric(
    "counter",
    "streamlane_cost_usd_micros_total",
    "What requests cost, in millionths of a dollar: whole numbers, so that no sum is ever rounded. Divide by 1e6. "
    "Requests of unknown cost are not in it, but in streamlane_requests_without_cost_total.",
    WHERE,
)
WITHOUT_COST = Metric(
    "counter",
    "streamlane_requests_without_cost_total",
    "Requests that were answered, wholly or in part, and whose cost is not known: no price, or no count of tokens.",
    WHERE,
)
HELD = Metric(
    "gauge",
    "streamlane_held_bytes",
    "Memory that responses take after their end, about: stored ones, those of them that wait to be written, and logs "
    "that can be read again.",
    ("what",),
)
UNWRITTEN = Metric(
    "counter",
    "streamlane_responses_not_written_total",
    "Responses that could not be written to streamlane.db: the disk failed, or was too slow. The log says which.",
)
UNKEPT = Metric(
    "counter",
    "streamlane_history_not_written_total",
    "Routed calls that could not be written to the history: the disk failed, or was too slow. The log says which.",
)
QUOTA_CAP = Metric(
    "gauge",
    "streamlane_quota_cap",
    "What the pool may give in its window, in its own unit: requests, tokens, neurons, or millionths of a dollar.",
    POOL,
)
QUOTA_USED = Metric("gauge", "streamlane_quota_used", "What was used of the pool in its window.", POOL)
QUOTA_RESERVED = Metric("gauge", "streamlane_quota_reserved", "What requests that run have reserved of the pool.", POOL)
QUOTA_LEFT = Metric(
    "gauge",
    "streamlane_quota_left",
    "What would be granted of the pool now: 0 while its provider has closed it. Alert on this one.",
    POOL,
)
RESERVATIONS = Metric(
    "counter",
    "streamlane_quota_reservations_total",
    "Reservations that were asked for: granted, by each of their pools; or denied, by the pool that stood in the way, "
    "because it was spent, closed, or the request too_large for it at any time.",
    (*POOL, "result"),
)
LAPSED = Metric(
    "counter",
    "streamlane_quota_lapsed_total",
    "Reservations that were charged in full because whoever made them was gone, as after a crash.",
)
OVERDRAFTS = Metric(
    "counter",
    "streamlane_quota_overdrafts_total",
    "Settlements by which more of the pool was used than its cap. It is closed then until it resets.",
    POOL,
)
LOOP_LAG = Metric(
    "histogram",
    "streamlane_event_loop_lag_seconds",
    "How much later than asked for the event loop came back to a timer. All that clients wait for waits as long.",
    bounds=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0),
)

METRICS = (
    BUILD,
    SOCKETS,
    LANES,
    SESSIONS,
    SESSION_BYTES,
    RESUMES,
    BACKEND_UP,
    BREAKER,
    COOLDOWN,
    RECENT_FIRST_TOKEN,
    KEYS,
    CONNECTIONS,
    CONNECTS,
    REUSED,
    QUEUE,
    QUEUE_TOKENS,
    QUEUE_WAIT,
    QUEUE_REFUSED,
    RUNNING,
    LIMIT,
    REQUESTS,
    FAILED_ATTEMPTS,
    REFUSED,
    DURATION,
    FIRST_TOKEN,
    INTER_TOKEN,
    INPUT_TOKENS,
    OUTPUT_TOKENS,
    COST,
    WITHOUT_COST,
    HELD,
    UNWRITTEN,
    UNKEPT,
    QUOTA_CAP,
    QUOTA_USED,
    QUOTA_RESERVED,
    QUOTA_LEFT,
    RESERVATIONS,
    LAPSED,
    OVERDRAFTS,
    LOOP_LAG,
)
