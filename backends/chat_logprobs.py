"""Chat and raw completions: log probabilities, in each of the two shapes in use. Pure."""

import msgspec

from backends.events import Logprob


class Likely(msgspec.Struct):
    token: str
    logprob: float
    top_logprobs: "tuple[Likely, ...] | None" = None


class Logprobs(msgspec.Struct):
    """`content`, or the other three: the older shape, of raw completions in most servers."""

    content: tuple[Likely, ...] | None = None
    tokens: tuple[str, ...] | None = None
    token_logprobs: tuple[float | None, ...] | None = None
    top_logprobs: tuple[dict[str, float] | None, ...] | None = None


def logprobs_of(value: object, most: int) -> tuple[Logprob, ...]:
    """The tokens' log probabilities, each with at most `most` others. None of them where `value` makes no sense."""
    try:
        found = msgspec.convert(value, Logprobs)
    except msgspec.ValidationError:
        return ()
    if found.content is not None:
        return tuple(
            Logprob(each.token, each.logprob, tuple((top.token, top.logprob) for top in likeliest(each, most)))
            for each in found.content
        )
    tokens, logprobs = found.tokens or (), found.token_logprobs or ()
    tops = found.top_logprobs or (None,) * len(tokens)
    return tuple(
        Logprob(token, logprob, tuple(sorted((top or {}).items(), key=lambda pair: -pair[1])[:most]))
        for token, logprob, top in zip(tokens, logprobs, tops, strict=False)
        if logprob is not None
    )


def likeliest(token: Likely, most: int) -> tuple[Likely, ...]:
    return (token.top_logprobs or ())[:most]
