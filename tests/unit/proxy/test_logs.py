"""The line that each finished request leaves: all that an operator asks for."""

from structlog.testing import capture_logs

from backends.events import Usage
from proxy import logs
from proxy.outcome import Attempt, Gaps, Outcome, Routed


def outcome(**changed: object) -> Outcome:
    known = {
        "request_id": "req_1",
        "principal": "key_0123456789ab",
        "model": "fast",
        "status": "completed",
        "error": None,
        "backend": "gpu",
        "backend_model": "llama",
        "failed_attempts": (Attempt("local", "smollm2", "backend_overloaded", 0.25),),
        "first_event": 0.25,
        "duration": 1.26,
        "usage": Usage(12, 41),
        "gaps": Gaps((40,), 1.0),
    }
    return Outcome(**{**known, **changed})  # type: ignore[arg-type]  # by name


def test_a_finished_request_is_one_line_with_everything() -> None:
    with capture_logs() as lines:
        logs.outcome_line(
            outcome(cost=1234, routed=Routed(("big",), "what was asked", 0.001, "research", "auto", 0.12345))
        )
    assert lines == [
        {
            "event": "request",
            "log_level": "info",
            "request_id": "req_1",
            "principal": "key_0123456789ab",
            "model": "fast",
            "status": "completed",
            "error": None,
            "reason": None,
            "backend": "gpu",
            "backend_model": "llama",
            "failed_attempts": ["local: backend_overloaded"],
            "retry_wait_ms": 250.0,
            "first_event_ms": 250.0,
            "duration_ms": 1260.0,
            "input_tokens": 12,
            "output_tokens": 41,
            "cost_usd_micros": 1234,
            "rule": "research",
            "score": 0.1235,
            "tokens_per_second": 40.0,
        }
    ]


def test_what_is_not_known_is_null_and_never_a_guess() -> None:
    with capture_logs() as lines:
        logs.outcome_line(
            outcome(status="failed", error="backend_unreachable", first_event=None, usage=None, gaps=None)
        )
    [line] = lines
    assert (line["status"], line["error"]) == ("failed", "backend_unreachable")
    unknown = ("first_event_ms", "input_tokens", "output_tokens", "cost_usd_micros", "tokens_per_second")
    assert [line[name] for name in unknown] == [None] * 5


def test_an_answer_that_came_at_once_has_no_speed() -> None:
    assert outcome(gaps=Gaps((40,), 0.0)).tokens_per_second is None
    assert outcome(usage=Usage(12, 1)).tokens_per_second is None
    assert outcome(usage=None).tokens_per_second is None
