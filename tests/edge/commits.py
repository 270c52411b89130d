"""How often an outbox has committed, as its figures tell."""

from edge.outbox import Outbox


def commits(outbox: Outbox) -> float:
    """The count."""
    (metric,) = outbox.commit_s.collect()
    return next(sample.value for sample in metric.samples if sample.name.endswith("_count"))
