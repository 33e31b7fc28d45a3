"""The buckets and shares of one pool in memory, and which of their rows have changed. Pure."""

from collections.abc import Iterable, Sequence

from quota.pool import Micros
from quota.rows import Bucket, PoolRow, Share, Span
from quota.tally import Charge


class Held:
    """The rows of one pool's buckets and shares: what the kinds have in common."""

    def __init__(self, row: PoolRow) -> None:
        self.row = row
        self.touched: dict[Span, Bucket] = {}
        self.shared: dict[tuple[Span, str], Share] = {}
        self.buckets: dict[Span, Bucket] = {}
        self.by_tag: dict[Span, dict[str, Share]] = {}

    def load(self, now: Micros, buckets: Iterable[Bucket], shares: Iterable[Share]) -> None:
        for bucket in buckets:
            span = bucket.start, bucket.end
            if bucket.used or span in self.buckets:  # one emptied by another window's definition is none of ours
                self.buckets[span] = bucket
        for share in shares:
            self.by_tag.setdefault((share.start, share.end), {})[share.tag] = share
        for span in [span for span, bucket in self.buckets.items() if bucket.until <= now]:
            self.forget(span)
        self.forget_shares(now)

    def add(self, bucket: Bucket, amount: int, tag: str | None = None) -> tuple[Micros, Micros, int]:
        start, end = span = bucket.start, bucket.end
        bucket.used += amount
        self.touched[span] = self.buckets[span] = bucket
        if tag is not None:
            self.share(span, bucket.until, tag, amount)
        return start, end, amount

    def share(self, span: Span, until: Micros, tag: str, amount: int) -> None:
        of_span = self.by_tag.get(span)
        if of_span is None:
            of_span = self.by_tag[span] = {}
        share = of_span.get(tag)
        if share is None:
            share = of_span[tag] = Share(self.row.pool.id, span[0], span[1], until, tag)
        share.used = max(0, share.used + amount)
        self.shared[span, tag] = share

    def sums(self, spans: Iterable[Span]) -> dict[str, int]:
        sums: dict[str, int] = {}
        for span in spans:
            for tag, share in self.by_tag.get(span, {}).items():
                if share.used:
                    sums[tag] = sums.get(tag, 0) + share.used
        return sums

    def forget(self, span: Span) -> None:
        self.buckets.pop(span, None)
        self.by_tag.pop(span, None)

    def lower(self, buckets: Sequence[Bucket], amount: int, tag: str | None = None) -> Charge:
        """Take `amount` in all off these, never below 0."""
        taken = []
        for bucket in buckets:
            part = min(amount, bucket.used)
            if part > 0:
                taken.append(self.add(bucket, -part, tag))
                amount -= part
        return 0, tuple(taken)

    def forget_shares(self, now: Micros) -> None:
        """Those that no longer count."""
        for span, of_span in list(self.by_tag.items()):
            if all(share.until <= now for share in of_span.values()):
                del self.by_tag[span]

    def clear(self, now: Micros) -> Charge:
        for span, of_span in self.by_tag.items():
            for tag, share in of_span.items():
                share.used = 0
                self.shared[span, tag] = share
        counted = [bucket for bucket in self.buckets.values() if bucket.used and bucket.until > now]
        return 0, tuple([self.add(bucket, -bucket.used) for bucket in counted])
