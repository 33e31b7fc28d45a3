"""How many tokens a byte of text was, by model: learned from what providers counted. Pure."""

from array import array

BUCKETS, WIDTH = 100, 0.02  # ratios from 0 to 2 tokens per byte; a template makes more of very short texts
LEAST_BYTES = 512  # shorter texts say more of the template than of themselves
LEAST_SAMPLES = 30  # before that nothing is known
MOST_SAMPLES = 20_000  # then all counts are halved, so that what is old fades
MOST_MODELS = 1000
SHARE = 0.999  # of all requests had at most the ratio that is told
MARGIN = 1.15  # beyond it, for the next one may be another language


class Calibration:
    """Learns from each answer whose usage is known."""

    def __init__(self) -> None:
        self._seen: dict[tuple[str, str], array[int]] = {}

    def learn(self, provider: str, model: str, text_bytes: int, tokens: int) -> None:
        """A prompt of so many bytes of text and nothing else was so many tokens."""
        if text_bytes < LEAST_BYTES:
            return
        counts = self._seen.get((provider, model))
        if counts is None:
            if len(self._seen) >= MOST_MODELS:
                return
            counts = self._seen[provider, model] = array("I", bytes(4 * BUCKETS))
        elif sum(counts) >= MOST_SAMPLES:
            counts[:] = array("I", (each // 2 for each in counts))
        counts[min(BUCKETS - 1, int(tokens / text_bytes / WIDTH))] += 1

    def ratio(self, provider: str, model: str) -> float | None:
        """Tokens per byte that nearly no prompt exceeds; None while too little was seen."""
        counts = self._seen.get((provider, model))
        if counts is None or (total := sum(counts)) < LEAST_SAMPLES:
            return None
        seen = 0
        for bucket, count in enumerate(counts):
            seen += count
            if seen >= total * SHARE:
                return (bucket + 1) * WIDTH * MARGIN
        return None
