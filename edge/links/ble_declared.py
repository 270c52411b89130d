"""What a Bluetooth device says as the readings that its model declares: in the model's units, and within its ranges."""

from collections.abc import Mapping, Sequence

from hardware.catalogue import Metric
from protocols.errors import DecodeError
from protocols.gatt import units
from protocols.reading import BAD, BAD_RANGE, DecimalFraction, Reading, to_float


def declared(metrics: Mapping[str, Metric], said: Sequence[Reading], time_ms: int, mark: int = 0) -> list[Reading]:
    """The readings of the model's metrics; `mark` is added to their qualities.

    What is beyond what the device can measure is bad. Raises DecodeError for a unit that is none of the metric's kind.
    """
    readings = []
    for each in said:
        metric = metrics.get(each.metric)
        if metric is None:
            continue
        if not units.converts(each.unit, metric.unit):
            raise DecodeError(each.metric, f"comes in {each.unit}, and the model's file says {metric.unit}")
        value, quality = each.value, each.quality
        if isinstance(value, (int, DecimalFraction)) and not isinstance(value, bool):
            value = units.convert(value, each.unit, metric.unit)
            if metric.range and not metric.range[0] <= to_float(value) <= metric.range[1]:
                quality = BAD_RANGE
        readings.append(Reading(each.metric, None if quality >= BAD else value, metric.unit, quality | mark, time_ms))
    return readings
