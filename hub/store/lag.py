"""A histogram of latencies in log buckets of about 5 %: it stays small, and any percentile can be read off it."""

import math
from collections.abc import Iterable
from typing import Any

import numpy as np

_STEP = math.log(1.05)


def buckets_of(lags_ms: Any) -> Any:
    """The bucket of each latency; all below 1 ms (also negative ones, of clocks that differ) share the first."""
    return (np.log(np.maximum(lags_ms, 1.0)) / _STEP).astype(np.int64)


def middle_ms(bucket: int) -> float:
    """The latency that stands for a bucket."""
    return math.exp(_STEP * (bucket + 0.5))


def percentile(buckets: Iterable[tuple[int, int]], fraction: float) -> float | None:
    """The latency in ms below which `fraction` of the (bucket, count) pairs lie, or None without any."""
    ordered = sorted(buckets)
    rank = fraction * sum(count for _, count in ordered)
    passed = 0
    for bucket, count in ordered:
        passed += count
        if passed >= rank:
            return round(middle_ms(bucket), 1)
    return None
