"""Who cannot or may not answer a request, each with its reason; and what is told when that is everybody. Pure.

What nobody knows is tried: only clear cases are passed over. It is the other way round where something must not happen:
a confidential text goes only where it is known to stay, and whoever has set a ceiling pays no price that is unknown.

`down` and `deadline` are guesses: who answered no probe may answer a request, and who was slow may be quick now. They
are passed over while there is anybody else.
"""

from collections.abc import Callable, Collection, Sequence
from ipaddress import ip_address
from math import inf
from urllib.parse import urlsplit

from msgspec import Struct

from backends.base import Backend, Remote
from backends.capabilities import GUIDES, WORDS, Capability, needs
from backends.errors import BackendError, ContextLengthExceeded, UnsupportedFeature
from backends.request import EmbeddingRequest, Request
from proxy.errors import NoModelFits, ProxyError
from proxy.routing.values import Facts, PassedOver
from proxy.routing.vitals import UNKNOWN, Standing
from proxy.runtime import Candidate
from quota.price import most

GUESSES = frozenset({"down", "deadline"})
SURE = 0.75  # of the estimated tokens a prompt has at least: texts have more characters per token than was assumed
LACKS = "does not support "
TRAINING = frozenset({"trains", "unclear"})
THEIR_CLOUD = ("-cloud", ":cloud")  # how Ollama marks the models that it sends on to its own machines


class Asks(Struct, frozen=True):
    """What a request needs of whoever answers: abilities, fields that shape the answer, and for which backends the
    caller sent a key of its own.
    """

    needed: frozenset[Capability] = frozenset()
    guides: tuple[str, ...] = ()
    keys: Collection[str] = ()


def asks_of(request: Request | EmbeddingRequest) -> Asks:
    """What this request needs."""
    if isinstance(request, EmbeddingRequest):
        return Asks(needs(request))
    return Asks(needs(request), tuple(sorted(GUIDES & request.extras.keys())), request.keys.keys())


class Limits(Struct, frozen=True):
    """What one set of targets is chosen under. `own` are the backends whose machines are the operator's, None for those
    that look so. `max_price` is in micro-dollars per million tokens of answer.
    """

    own: frozenset[str] | None = None
    max_price: int | None = None


NO_LIMITS = Limits()


def in_the_way(
    candidate: Candidate,
    facts: Facts | None,
    asks: Asks,
    standing: Standing,
    *,
    wait: float | None = None,
    limits: Limits = NO_LIMITS,
) -> PassedOver | None:
    """Why it is not asked; None where nothing is in the way. `wait` is how many seconds a place there may take.

    Without `facts`, as for embeddings, what depends on them is not looked at. What is left of a quota is Spending's.
    """
    if (lacking := unable(candidate, asks)) is not None:
        return incapable(candidate, *lacking)
    if facts is not None:
        found = _forbidden(candidate, facts, limits) or _too_long(candidate, facts) or _too_dear(candidate, facts)
        if found is not None:
            return found
    if limits.max_price is not None and (found := _above(candidate, limits.max_price)) is not None:
        return found
    if standing.why:
        return PassedOver(candidate, standing.why, standing.reason, None, standing.opens_in)
    if facts is not None and facts.deadline is not None:
        return _late(candidate, facts.deadline, standing, wait)
    return None


def fitting(
    candidates: Sequence[Candidate], request: Request | EmbeddingRequest
) -> tuple[tuple[Candidate, ...], tuple[PassedOver, ...]]:
    """Those that may be able to do what is asked, in their order, and the others: for sets whose order is Spending's.

    Raises UnsupportedFeature when none is left.
    """
    asks, fit, passed = asks_of(request), list[Candidate](), list[PassedOver]()
    for each in candidates:
        if (lacking := unable(each, asks)) is None:
            fit.append(each)
        else:
            passed.append(incapable(each, *lacking))
    if not fit:
        raise UnsupportedFeature(*unable(candidates[0], asks) or ("", None))
    return tuple(fit), tuple(passed)


def allowed(candidate: Candidate, facts: Facts, own: frozenset[str] | None) -> bool:
    """Whether the caller lets it be asked, by where texts may go and what an answer may cost: for one of no set."""
    return _forbidden(candidate, facts, Limits(own)) is None and _too_dear(candidate, facts) is None


def affordable(
    candidates: Sequence[Candidate], facts: Facts | None, max_price: int | None
) -> tuple[tuple[Candidate, ...], tuple[PassedOver, ...]]:
    """Those that cost no more than the caller and the rule allow, in their order, and the others: for sets whose order
    is Spending's, which looks at all else. Raises NoModelFits when none is left.
    """
    fit, passed = list[Candidate](), list[PassedOver]()
    for each in candidates:
        over = None if facts is None else _too_dear(each, facts)
        if over is None and max_price is not None:
            over = _above(each, max_price)
        if over is None:
            fit.append(each)
        else:
            passed.append(over)
    if not fit:
        raise none_left(passed, facts, lambda _: UNKNOWN)
    return tuple(fit), tuple(passed)


def incapable(candidate: Candidate, feature: str, param: str) -> PassedOver:
    """One that has not what is asked for."""
    return PassedOver(candidate, "capability", f"{LACKS}{feature}", param)


def unable(candidate: Candidate, asks: Asks) -> tuple[str, str] | None:
    """What it is known not to be able to do, in words, and the field that asks for it."""
    if asks.needed and (lacking := candidate.known.capabilities.lacks(asks.needed)) is not None:
        return WORDS[lacking]
    guide = next((name for name in asks.guides if name not in candidate.backend.extras), None)
    return None if guide is None else (f"'{guide}'", guide)


def own_machine(backend: Backend, own: frozenset[str] | None) -> bool:
    """Whether what is sent there stays with the operator: as configured, else in this process, on this machine, or at a
    private address. A name that we do not know may be anybody's.
    """
    if own is not None:
        return backend.name in own
    if not isinstance(backend, Remote):
        return True
    host = urlsplit(backend.url).hostname or ""
    try:
        return host == "localhost" or ip_address(host).is_private
    except ValueError:
        return False


def none_left(
    passed: Sequence[PassedOver], facts: Facts | None, standing: Callable[[Candidate], Standing]
) -> ProxyError | BackendError:
    """What the caller hears when nobody is left: of what passes by itself what passes soonest, else what the caller can
    change, else what only the operator can.
    """
    passing = [each for each in passed if each.why in {"open", "cooling"}]
    for each in sorted(passing, key=lambda each: inf if each.opens_in is None else each.opens_in):
        if (error := standing(each.candidate).error) is not None:
            return error
    able = [each for each in passed if each.why != "capability"]
    if not able:
        return UnsupportedFeature(passed[0].reason.removeprefix(LACKS), passed[0].param)
    if all(each.why == "context" for each in able):
        longest = max(each.candidate.known.context or 0 for each in able)
        return ContextLengthExceeded(None if facts is None else facts.tokens, longest)
    reasons = [f"{each.candidate.backend.name}/{each.candidate.model}: {each.reason}" for each in passed]
    return NoModelFits(reasons)


def _forbidden(candidate: Candidate, facts: Facts, limits: Limits) -> PassedOver | None:
    if facts.data == "any":
        return None
    if facts.data == "confidential":
        if candidate.model.endswith(THEIR_CLOUD):
            return PassedOver(candidate, "data", "the request is confidential, and this model is in its maker's cloud")
        if not own_machine(candidate.backend, limits.own):
            return PassedOver(candidate, "data", "the request is confidential, and this is another's machine")
    elif candidate.metered is not None and not candidate.metered.terms.isdisjoint(TRAINING):
        return PassedOver(candidate, "data", "the request may not be trained on, and nobody rules that out here")
    return None


def _too_long(candidate: Candidate, facts: Facts) -> PassedOver | None:
    context = candidate.known.context
    if context is None or facts.tokens * SURE <= context:
        return None
    return PassedOver(
        candidate, "context", f"the prompt has about {facts.tokens:,} tokens, and it can read {context:,}"
    )


def _too_dear(candidate: Candidate, facts: Facts) -> PassedOver | None:
    ceiling = facts.max_cost
    if ceiling is None:
        return None
    if (cost := dearest(candidate, facts)) is None:
        return PassedOver(candidate, "cost", f"its price is not known, and {dollars(ceiling)} is the most it may cost")
    if cost <= ceiling:
        return None
    return PassedOver(
        candidate, "cost", f"its longest answer would cost {dollars(cost)}, and {dollars(ceiling)} is the most"
    )


def _above(candidate: Candidate, max_price: int) -> PassedOver | None:
    price = None if candidate.price is None else candidate.price.output
    if price is None:
        return PassedOver(candidate, "cost", "its price is not known, and the rule has a ceiling")
    if price <= max_price:
        return None
    told = f"its answers cost {dollars(price)} per million tokens, and the rule allows {dollars(max_price)}"
    return PassedOver(candidate, "cost", told)


def _late(candidate: Candidate, deadline: float, standing: Standing, wait: float | None) -> PassedOver | None:
    expected = (standing.first_token or 0.0) + (wait or 0.0)
    if expected <= deadline:
        return None
    told = f"its first token is expected after {expected:.1f} s, and the deadline is {deadline:g} s"
    return PassedOver(candidate, "deadline", told)


def dearest(candidate: Candidate, facts: Facts) -> int | None:
    """What the answer costs at its longest, in micro-dollars; None where its price is not known."""
    if candidate.price is None:
        return None
    longest = candidate.known.max_output
    output = facts.output_tokens if longest is None else min(longest, facts.output_tokens)
    return most(candidate.price, facts.tokens, output)


def dollars(micros: int) -> str:
    """An amount of money, for people: "$0.0125", "$3.00"."""
    if micros >= 1_000_000:
        return f"${micros / 1_000_000:,.2f}"
    return f"${micros / 1_000_000:.6f}".rstrip("0").rstrip(".")
