"""Chat and raw completions: log probabilities, in each of the two shapes in use. Pure."""

from collections.abc import Iterable

import msgspec

from backends.events import Logprob

LEAST = -9999.0  # OpenAI's and vLLM's value for what is too unlikely to say; others send null, as JSON has no infinity


class Likely(msgspec.Struct):
    token: str
    logprob: float | None
    top_logprobs: "tuple[Likely, ...] | None" = None


class Logprobs(msgspec.Struct):
    """`content`, or the other three: the older shape, of raw completions in most servers."""

    content: tuple[Likely, ...] | None = None
    tokens: tuple[str, ...] | None = None
    token_logprobs: tuple[float | None, ...] | None = None
    top_logprobs: tuple[dict[str, float | None] | None, ...] | None = None


def logprobs_of(value: object, most: int) -> tuple[Logprob, ...]:
    """The tokens' log probabilities, each with at most `most` others. None of them where `value` makes no sense."""
    try:
        found = msgspec.convert(value, Logprobs)
    except msgspec.ValidationError:
        return ()
    if found.content is not None:
        return tuple(
            Logprob(
                each.token,
                least(each.logprob),
                known(((top.token, top.logprob) for top in each.top_logprobs or ()), most),
            )
            for each in found.content
        )
    tokens, logprobs = found.tokens or (), found.token_logprobs or ()
    tops = found.top_logprobs or (None,) * len(tokens)
    return tuple(
        Logprob(token, least(logprob), tuple(sorted(known((top or {}).items()), key=lambda pair: -pair[1])[:most]))
        for token, logprob, top in zip(tokens, logprobs, tops, strict=False)
    )


def least(logprob: float | None) -> float:
    return LEAST if logprob is None else logprob


def known(pairs: Iterable[tuple[str, float | None]], most: int | None = None) -> tuple[tuple[str, float], ...]:
    """The first `most` of those that have a log probability."""
    return tuple((token, logprob) for token, logprob in pairs if logprob is not None)[:most]
