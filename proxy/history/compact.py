"""What is kept of a question instead of its text: measures, and hashes of its words."""


def compact(question: str) -> bytes:
    """The features that the learned router reads, packed. Takes up to some milliseconds."""
    from proxy.learned.features import extract
    from proxy.learned.packing import packed

    return packed(extract(question))
