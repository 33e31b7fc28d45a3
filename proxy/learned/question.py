"""Cuts a prompt down to the part that the learned router reads. Pure."""

EDGE = 2_000  # characters kept at each end: what is asked stands at one of them, and what is pasted in between


def capped(text: str) -> str:
    """`text` itself up to 4,000 characters; of a longer one the first and the last 2,000."""
    return text if len(text) <= 2 * EDGE else text[:EDGE] + text[-EDGE:]
