"""How likely the tokens of an answer were, from the model's own numbers, as chat completions tell it."""

from collections.abc import Callable
from typing import Any

import numpy as np


def likelihood(logits: np.ndarray, token: int, most: int, text_of: Callable[[int], str]) -> dict[str, Any]:
    """The entry of `token`, and of the `most` likeliest. `logits` has one number per token of the vocabulary."""
    highest = logits.max()
    logprobs = logits - highest - np.log(np.exp(logits - highest).sum())
    likeliest = np.argpartition(-logprobs, most)[:most] if most < len(logprobs) else np.arange(len(logprobs))
    top = sorted(likeliest, key=lambda each: -logprobs[each])
    return entry(text_of(token), logprobs[token]) | {
        "top_logprobs": [entry(text_of(int(each)), logprobs[each]) for each in top]
    }


def entry(text: str, logprob: Any) -> dict[str, Any]:
    return {"token": text, "logprob": float(logprob)}
