"""Writes the page of metrics from the one table, so that neither can drift. Pure."""

from proxy.metrics_table import METRICS, Metric

_HEAD = """\
# Which metrics are there?

<!-- Written by scripts/docs from the table in proxy/metrics_table.py. Change that, then run it again. -->

`GET /metrics` on the ops listener (`http://127.0.0.1:8766/metrics`) answers in Prometheus' text format, or in
OpenMetrics when the scraper asks for it. How to scrape it, and what to watch: [Operations](operations.md).

Labels take few values: `backend` is a name of the configuration; `model` is the backend's own name for a model that it
lists or that an alias leads to, else `other`; `origin` is the host and port of a backend; `code` is one of the
[error codes](errors.md); `pool` is one that [`streamlane quota`](quota.md) shows, and `account` whose it is. Who asked
is no label: the log lines have the key's fingerprint. The standard metrics `process_*` (processor time, memory, file
descriptors, start) are there too, where the system tells.

| metric | type | labels | what it says |
|---|---|---|---|
"""

_BUCKETS = """
## Buckets

Each histogram counts into these, and into one without a bound.

| histogram | seconds |
|---|---|
"""


def metrics_page() -> str:
    """The whole page, one row per metric, in the table's order."""
    histograms = (
        f"| `{each.name}` | {', '.join(f'{bound:g}' for bound in each.bounds)} |\n" for each in METRICS if each.bounds
    )
    return _HEAD + "".join(map(_row, METRICS)) + _BUCKETS + "".join(histograms)


def _row(metric: Metric) -> str:
    labels = ", ".join(f"`{label}`" for label in metric.labels)
    return f"| `{metric.name}` | {metric.kind} | {labels} | {metric.about} |\n"
