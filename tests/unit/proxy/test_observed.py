"""What a provider says reaches the right pool, and only that; what no pool tells is a cooldown of the right scope."""

from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends import anthropic_errors, cohere_errors, gemini_errors, provider_errors
from backends.errors import (
    AuthenticationFailed,
    BackendError,
    ContextLengthExceeded,
    DeadlineExceeded,
    InvalidRequest,
    ModelNotFound,
    Overloaded,
    QuotaExhausted,
    RateLimited,
    Scope,
    ServerFailed,
    StreamBroken,
    Unreachable,
)
from backends.limits import Refused, spoken
from backends.unasked import QueueFull
from proxy.metered import Draw, Metered
from proxy.observed import Known, Told, answered, date, failed
from quota.headers import HeaderRule
from quota.ledger import Attempt, Cooldown, Denied, Granted, Headroom, Observation
from quota.memory_ledger import MemoryLedger
from quota.pool import DAY, HOUR, MINUTE, SECOND, Concurrent, Fixed, Gcra, Micros, Pool, Rolling, Window
from quota.windows import ENDLESS
from tests.wire.recorded import recorded

NOW: Micros = 1_795_251_600 * SECOND  # 2026-11-21 09:00:00 UTC
MIDNIGHT: Micros = NOW + 15 * HOUR
MODEL, ACCOUNT = "model:me/m", "account:me"


def pool(metric: str, per: str, cap: int, window: Window, *, account: bool = False) -> Pool:
    labels = {"account": "me", "model": "" if account else "m", "metric": metric, "per": per}
    return Pool(f"me/{metric}/{per}", cap, window, labels=labels)


def known(*pools: Pool, rules: tuple[HeaderRule, ...] = (), used: Mapping[str, int] | None = None) -> Known:
    """A model that draws on these, of which so much is used."""
    draws = tuple(Draw(each.id, each.labels["metric"]) for each in pools)  # type: ignore[arg-type]  # they are
    headroom = {}
    for each in pools:
        spent = (used or {}).get(each.id, 0)
        resets_at = MIDNIGHT if isinstance(each.window, Fixed) else None
        headroom[each.id] = Headroom(
            each, each.cap, 0, spent, 0, each.cap - spent, None, resets_at, None, "catalog", None, {}
        )
    return Known(Metered("me", "provider", "m", draws, "stops"), headroom, rules)


RPM = pool("requests", "minute", 30, Gcra(MINUTE))
RPD = pool("requests", "day", 1000, Gcra(DAY))
TPM = pool("tokens", "minute", 12000, Gcra(MINUTE))
TPD = pool("tokens", "day", 100_000, Gcra(DAY))
GROQ = known(
    RPM,
    RPD,
    TPM,
    TPD,
    rules=(
        HeaderRule("x-ratelimit-limit-requests", "requests", "limit", "day"),
        HeaderRule("x-ratelimit-remaining-requests", "requests", "remaining", "day"),
        HeaderRule("x-ratelimit-reset-requests", "requests", "full", "day"),
        HeaderRule("x-ratelimit-limit-tokens", "tokens", "limit", "minute"),
        HeaderRule("x-ratelimit-remaining-tokens", "tokens", "remaining", "minute"),
        HeaderRule("x-ratelimit-reset-tokens", "tokens", "full", "minute"),
    ),
)
DAILY = pool("requests", "day", 20, Fixed("day", "America/Los_Angeles"))
GEMINI = (pool("requests", "minute", 5, Rolling(MINUTE)), DAILY)
SHARED = (
    pool("requests", "minute", 20, Rolling(MINUTE), account=True),
    pool("requests", "day", 50, Fixed("day"), account=True),
)
CLASSIFIERS = {
    "clouds-written": provider_errors.classify,
    "openai-written": provider_errors.classify,
    "gemini-written": gemini_errors.classify,
    "cohere-written": cohere_errors.classify,
    "anthropic-written": anthropic_errors.classify,
}


def recorded_error(name: str) -> BackendError:
    """What a recorded answer means, with its headers."""
    status, head, body = recorded(name)
    headers = dict(line.lower().split(": ", 1) for line in head.decode().split("\r\n")[1:-2])
    classify, inside = CLASSIFIERS[name.partition("/")[0]], status == 200
    error = classify(None if inside else status, headers, body, model="m", now=NOW / SECOND)
    error.limits = {**spoken(headers), **error.limits}
    return error


def closed(each: Pool, until: Micros | None, limit: int | None = None, remaining: int | None = None) -> Told:
    return Told((Observation(each.id, NOW, "refusal", limit, remaining, until, refused=True),))


def cooled(scope: str, until: Micros, *, guessed: bool = False) -> Cooldown:
    return Cooldown(scope, until, "", guessed)


def plain(told: Told) -> Told:
    """Without the words."""
    return Told(told.observations, tuple(cooled(c.scope, c.until, guessed=c.guessed) for c in told.cooldowns))


# Answers.


def test_an_answers_headers_reach_the_pools_that_they_are_about() -> None:
    said = {"x-ratelimit-limit-requests": "1000", "x-ratelimit-remaining-requests": "970", "date": "rubbish"}
    said |= {"x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "1m0s"}
    assert answered(GROQ, said, NOW).observations == (
        Observation(RPD.id, NOW, "header", 1000, 970),
        Observation(TPM.id, NOW, "header", None, 0),  # nothing left; when it is full again closes nothing
    )


def test_what_does_not_tell_its_window_is_of_the_pool_with_that_cap() -> None:
    rules = (
        HeaderRule("limit", "requests", "limit"),
        HeaderRule("left", "requests", "remaining"),
        HeaderRule("reset", "requests", "reset"),
    )
    shared = known(*SHARED, rules=rules)
    said = {"limit": "50", "left": "3", "reset": str(MIDNIGHT // 1000)}
    assert answered(shared, said, NOW).observations == (Observation(SHARED[1].id, NOW, "header", 50, 3, MIDNIGHT),)
    assert answered(shared, said | {"limit": "1000"}, NOW).observations == (), "it may be either"


def test_a_model_and_its_account_that_count_the_same_are_not_confused() -> None:
    both = pool("requests", "day", 1000, Rolling(DAY)), pool("requests", "day", 50, Rolling(DAY), account=True)
    both = both[0], Pool("me/requests/day/all", 50, both[1].window, labels=both[1].labels)
    rules = (HeaderRule("left", "requests", "remaining", "day"),)
    assert answered(known(*both, rules=rules), {"left": "3"}, NOW).observations == ()
    error = RateLimited(5.0)
    error.refused = Refused("requests", "day", 50, 50, account=True)
    assert failed(known(*both), error, NOW).observations[0].pool == "me/requests/day/all"


def test_the_time_of_an_answer() -> None:
    assert date({"date": "Sat, 21 Nov 2026 09:00:00 GMT"}) == NOW
    assert date({"date": "yesterday"}) is None
    assert date({}) is None


def test_a_number_that_nobody_knew_is_learned() -> None:
    labels = {"account": "me", "metric": "requests", "per": "day", "model": "m"}
    unknown = {"me/requests/day/m": labels, "me/requests/day/n": labels | {"model": "n"}}
    bare = Known(Metered("me", "gemini", "m", (), "stops"), {}, (), unknown)
    assert failed(bare, recorded_error("gemini-written/error_day"), NOW).learned == {"me/requests/day/m": 20}
    assert failed(bare, recorded_error("gemini-written/error_minute"), NOW).learned == {}
    rules = (HeaderRule("limit", "requests", "limit", "day"),)
    assert answered(Known(bare.metered, {}, rules, unknown), {"limit": "7"}, NOW).learned == {"me/requests/day/m": 7}


# Refusals that name their axis.


@pytest.mark.parametrize(
    ("name", "model", "expected"),
    [
        ("clouds-written/groq_rpm", GROQ, closed(RPM, NOW + 2 * SECOND, 30, 0)),
        ("clouds-written/groq_rpd", GROQ, closed(RPD, NOW + 86_400_000, 1000, 0)),
        ("clouds-written/groq_tpd", GROQ, closed(TPD, NOW + 578_016_000, 100_000, 2950)),
        ("clouds-written/groq_tpm", GROQ, closed(TPM, NOW + 50_597_143, 7000, 7000)),
        ("clouds-written/groq_too_large", GROQ, Told((Observation(TPM.id, NOW, "refusal", 12000),))),
        ("clouds-written/openai_too_large", GROQ, Told((Observation(TPM.id, NOW, "refusal", 30000),))),
        ("openai-written/error_rate_limit", known(RPM), closed(RPM, NOW + 19_876_000, 3, 0)),
        ("gemini-written/error_minute", known(*GEMINI), closed(GEMINI[0], NOW + 36_430_000, 5)),
        (
            "gemini-written/error_day",  # its retryDelay of seconds is not believed
            known(*GEMINI, used={DAILY.id: 18}),
            closed(DAILY, NOW + 23 * HOUR, 20),
        ),
        (
            "gemini-written/error_day",  # by our count there is a lot left: a probe an hour
            known(*GEMINI, used={DAILY.id: 15}),
            Told((Observation(DAILY.id, NOW, "refusal", 20),), (cooled(MODEL, NOW + HOUR, guessed=True),)),
        ),
        ("gemini-written/error_not_free", known(*GEMINI), Told((), (cooled(MODEL, ENDLESS),))),
        ("clouds-written/openrouter_day", known(*SHARED), closed(SHARED[1], MIDNIGHT, 50, 0)),
        ("clouds-written/openrouter_in_200", known(*SHARED, used={SHARED[1].id: 50}), closed(SHARED[1], MIDNIGHT)),
        ("clouds-written/openrouter_minute", known(*SHARED), closed(SHARED[0], NOW + 30 * SECOND, 20, 0)),
        ("clouds-written/openrouter_upstream", known(*SHARED), Told((), (cooled(MODEL, NOW + 7 * SECOND),))),
        ("clouds-written/openrouter_credits", known(*SHARED), Told((), (cooled(ACCOUNT, ENDLESS),))),
        ("clouds-written/openrouter_in_flight", known(*SHARED), Told((), (cooled(ACCOUNT, NOW + 3 * SECOND),))),
        ("clouds-written/nvidia_limit", known(RPM), Told((), (cooled(MODEL, NOW + 30 * SECOND, guessed=True),))),
        ("clouds-written/cloudflare_capacity", known(RPM), Told((), (cooled(MODEL, NOW + 5 * SECOND, guessed=True),))),
        ("clouds-written/sambanova_card", known(RPM), Told((), (cooled(ACCOUNT, ENDLESS),))),
        ("clouds-written/together_limit", known(RPM), Told((), (cooled(MODEL, NOW + 9 * SECOND),))),
        ("clouds-written/nvidia_gone", known(RPM), Told((), (cooled(MODEL, ENDLESS),))),
        ("clouds-written/xai_key", known(RPM), Told((), (cooled(ACCOUNT, ENDLESS),))),
        ("clouds-written/huggingface_month", known(RPM), Told((), (cooled(ACCOUNT, NOW + 6 * HOUR, guessed=True),))),
        ("clouds-written/cerebras_minute", known(RPM), closed(RPM, None)),
        ("clouds-written/cerebras_day", known(TPD, used={TPD.id: 90_000}), closed(TPD, NOW + 33_011_380_000)),
        ("anthropic-written/error_rate_limit", known(RPM), closed(RPM, NOW + 17 * SECOND, 50)),
        ("anthropic-written/error_no_credit", known(RPM), Told((), (cooled(ACCOUNT, ENDLESS),))),
        ("clouds-written/groq_field", GROQ, Told()),
    ],
)
def test_a_refusal_closes_what_it_is_about(name: str, model: Known, expected: Told) -> None:
    assert plain(failed(model, recorded_error(name), NOW)) == expected


def test_a_months_credit_that_is_spent() -> None:
    month = pool("usd_micros", "month", 100_000, Fixed("month"), account=True)
    told = failed(known(month, used={month.id: 95_000}), recorded_error("clouds-written/huggingface_month"), NOW)
    assert told == closed(month, MIDNIGHT), "until its window ends"
    [rest] = failed(known(month), recorded_error("clouds-written/huggingface_month"), NOW).cooldowns
    assert (rest.scope, rest.until, rest.guessed) == (ACCOUNT, NOW + 6 * HOUR, True)
    calls = pool("requests", "month", 1000, Rolling(31 * DAY), account=True)
    told = failed(known(calls, used={calls.id: 1000}), recorded_error("cohere-written/error_per_month"), NOW)
    assert told.observations == (Observation(calls.id, NOW, "refusal", 1000),)
    assert told.cooldowns[0].until == NOW + 6 * HOUR, "31 days without a try would be too long: its month may end"


def test_mistrals_month_is_told_by_a_header() -> None:
    tokens = pool("tokens", "month", 10**9, Rolling(31 * DAY), account=True)
    rules = (HeaderRule("x-ratelimit-remaining-tokens-month", "tokens", "remaining", "month"),)
    told = failed(known(tokens, rules=rules), recorded_error("clouds-written/mistral_month"), NOW)
    assert [each.pool for each in told.observations] == [tokens.id]
    assert told.cooldowns[0].scope == ACCOUNT


def test_a_header_that_says_0_tells_what_a_mute_refusal_was_about() -> None:
    error = RateLimited(4.0)
    error.limits = {"x-ratelimit-limit-tokens": "12000", "x-ratelimit-remaining-tokens": "0"}
    assert failed(GROQ, error, NOW) == closed(TPM, NOW + 4 * SECOND, 12000, 0)
    error.limits = {"x-ratelimit-limit-tokens": "12000", "x-ratelimit-remaining-tokens": "5"}
    told = failed(GROQ, error, NOW)
    assert told.observations == (Observation(TPM.id, NOW, "header", 12000, 5),)
    assert told.cooldowns == (Cooldown(MODEL, NOW + 4 * SECOND, "it says that its rate limit was reached"),)


def test_a_wait_that_is_longer_than_its_window_is_cut() -> None:
    error = RateLimited(86400.0)
    error.refused = Refused("requests", "minute")
    assert failed(known(RPM), error, NOW).observations[0].resets_at == NOW + MINUTE
    assert failed(known(), RateLimited(10**7), NOW).cooldowns[0].until == NOW + DAY


def test_an_axis_without_a_metric_is_the_only_one_of_its_window() -> None:
    error = recorded_error("clouds-written/sambanova_day")
    day = pool("requests", "day", 20, Rolling(DAY))
    assert failed(known(RPM, day, used={day.id: 20}), error, NOW) == closed(day, NOW + 3700 * SECOND)
    tokens = pool("tokens", "day", 200_000, Rolling(DAY))
    told = failed(known(day, tokens), error, NOW)
    assert (told.observations, told.cooldowns[0].until) == ((), NOW + 3700 * SECOND), "it may be either"


# Failures without an axis.


@pytest.mark.parametrize(
    ("error", "before", "expected"),
    [
        (RateLimited(), 0, cooled(MODEL, NOW + 30 * SECOND, guessed=True)),
        (RateLimited(), 1, cooled(MODEL, NOW + 60 * SECOND, guessed=True)),
        (RateLimited(), 2, cooled(MODEL, NOW + 120 * SECOND, guessed=True)),
        (RateLimited(), 99, cooled(MODEL, NOW + 600 * SECOND, guessed=True)),
        (RateLimited(5.0, Scope.ACCOUNT), 3, cooled(ACCOUNT, NOW + 5 * SECOND)),
        (AuthenticationFailed(401), 0, cooled(ACCOUNT, ENDLESS)),
        (AuthenticationFailed(403), 0, cooled(MODEL, ENDLESS)),
        (ModelNotFound("m"), 0, cooled(MODEL, ENDLESS)),
        (QuotaExhausted(), 0, cooled(ACCOUNT, ENDLESS)),
        (QuotaExhausted(90.0), 0, cooled(ACCOUNT, NOW + 90 * SECOND)),
        (Overloaded(2.0), 0, cooled(ACCOUNT, NOW + 2 * SECOND)),
        (Overloaded(), 2, cooled(ACCOUNT, NOW + 20 * SECOND, guessed=True)),
        (ServerFailed(500), 3, None),
        (ServerFailed(500), 4, cooled(ACCOUNT, NOW + 30 * SECOND, guessed=True)),
        (Unreachable("refused"), 5, cooled(ACCOUNT, NOW + 60 * SECOND, guessed=True)),
        (StreamBroken(), 40, cooled(ACCOUNT, NOW + 600 * SECOND, guessed=True)),
        (DeadlineExceeded("first_event", 30), 4, cooled(ACCOUNT, NOW + 30 * SECOND, guessed=True)),
        (DeadlineExceeded("total", 600), 9, None),
        (QueueFull(), 9, None),
        (InvalidRequest(400), 9, None),
        (ContextLengthExceeded(), 9, None),
    ],
    ids=repr,
)
def test_how_long_what_no_pool_tells_lasts(error: BackendError, before: int, expected: Cooldown | None) -> None:
    told = plain(failed(known(), error, NOW, before))
    assert told == Told((), () if expected is None else (expected,))


def test_another_key_is_tried_at_once() -> None:
    error = AuthenticationFailed(401)
    error.other_keys = True
    assert failed(known(), error, NOW) == Told()


async def test_the_ledger_does_as_it_is_told() -> None:
    clock = [NOW]
    ledger = MemoryLedger(now=lambda: clock[0])
    await ledger.define([RPM, RPD, TPM, TPD])
    said = {"x-ratelimit-remaining-requests": "970", "x-ratelimit-reset-requests": "43m12s"}
    for each in answered(GROQ, said, NOW).observations:
        await ledger.observe(each)
    head = ledger.headroom()[RPD.id]
    assert (head.left, head.closed_until, head.source) == (970, None, "catalog"), "a bucket is full later than it opens"
    for each in failed(GROQ, recorded_error("clouds-written/groq_rpd"), NOW).observations:
        await ledger.observe(each)
    denied = await ledger.reserve(Attempt("a"), {RPD.id: 1})
    assert isinstance(denied, Denied)
    assert denied.opens_at is not None
    assert NOW + 86_400_000 <= denied.opens_at < NOW + DAY
    clock[0] = denied.opens_at
    assert isinstance(await ledger.reserve(Attempt("a", 2), {RPD.id: 1}), Granted)


# Whatever they say.

texts = st.one_of(st.text(max_size=20), st.integers().map(str), st.floats().map(str), st.just("2m59.56s"))
refusals = st.builds(
    Refused,
    metric=st.none() | st.sampled_from(["requests", "tokens", "neurons"]),
    per=st.none() | st.sampled_from(["second", "minute", "hour", "day", "week", "month"]),
    limit=st.none() | st.integers(0, 10**12),
    used=st.none() | st.integers(0, 10**12),
    account=st.booleans(),
)
waits = st.none() | st.floats(0, 366 * 86400)
errors = st.one_of(
    st.builds(RateLimited, waits, st.sampled_from(Scope)),
    st.builds(QuotaExhausted, waits, st.sampled_from(Scope)),
    st.builds(ContextLengthExceeded, per_minute=st.just(True)),
    st.builds(Overloaded, waits),
    st.builds(ServerFailed),
)


headers = st.dictionaries(st.sampled_from([rule.name for rule in GROQ.rules]), texts)


models = st.sampled_from(
    [
        GROQ,
        known(*GEMINI),
        known(
            pool("tokens", "5h", 5000, Rolling(5 * HOUR), account=True),
            pool("requests", "once", 100, Fixed("ever")),
            pool("concurrent_requests", "", 1, Concurrent()),
            pool("requests", "week", 70, Fixed("week")),
            rules=tuple(HeaderRule(rule.name, rule.metric, rule.field) for rule in GROQ.rules),
        ),
    ]
)


@given(errors, st.none() | refusals, headers, models, st.integers(0, 2000))
def test_whatever_is_said_names_pools_and_scopes_of_this_model(
    error: BackendError, refused: Refused | None, limits: Mapping[str, str], model: Known, before: int
) -> None:
    error.refused, error.limits = refused, limits
    told = failed(model, error, NOW, before)
    names = [each.pool for each in told.observations]
    assert len(set(names)) == len(names)
    assert set(names) <= model.headroom.keys()
    for each in told.observations:
        assert each.limit is None or each.limit > 0
        assert each.remaining is None or each.remaining >= 0
        assert each.resets_at is None or NOW <= each.resets_at <= NOW + 31 * DAY + HOUR
    for cooldown in told.cooldowns:
        assert cooldown.scope in {MODEL, ACCOUNT}
        assert cooldown.until >= NOW
        assert cooldown.why
    refusing = isinstance(error, RateLimited | QuotaExhausted)
    assert not refusing or told.cooldowns or any(each.refused for each in told.observations), "it is not asked again"


@given(headers)
async def test_headers_that_lie_close_nothing_and_give_nothing(limits: Mapping[str, str]) -> None:
    ledger = MemoryLedger(now=lambda: NOW)
    await ledger.define([RPM, RPD, TPM, TPD])
    for observation in answered(GROQ, limits, NOW).observations:
        await ledger.observe(observation)
    for name, head in ledger.headroom().items():
        assert head.closed_until is None
        assert head.left <= GROQ.headroom[name].cap
