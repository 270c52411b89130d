"""The condition of an attached device: tells the intake what changes, and only that."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from edge.links.base import Attached, Channel, Intake
from protocols.reading import BAD, TIME_ESTIMATED, Reading, reading

if TYPE_CHECKING:
    from typing import Any

    import numpy as np
    from numpy.typing import NDArray


class Condition:
    """Stands between a link and the intake: usable readings go on, a bad one only when its metric becomes bad."""

    def __init__(self, device: Attached, intake: Intake):
        self._device = device
        self._intake = intake
        self._bad: dict[str, int] = {}  # the quality of each metric that is bad now
        self._state = ("", "")

    @property
    def offline(self) -> bool:
        """Whether the device is known not to answer."""
        return self._state[0] == "offline"

    def heard(self, readings: Sequence[Reading]) -> None:
        """Take what the device said, usable or not."""
        if news := [each for each in readings if self._is_news(each)]:
            self._intake.take(self._device.thing, news)

    def heard_block(
        self, channel: Channel, values: "NDArray[Any]", time_ms: int, bad: "NDArray[np.uint8] | None" = None
    ) -> None:
        """Take a value of each of the channel's metrics; bad: each one's quality code, 0 where it is good."""
        if bad is None or not bad.any():
            if self._bad:
                for metric in channel.metrics:
                    self._bad.pop(metric, None)
            channel.take(values, time_ms)
            return
        channel.take(values, time_ms, bad == 0)
        for metric, code in zip(channel.metrics, bad.tolist(), strict=True):
            if code:
                self.failed((metric,), code, time_ms)
            else:
                self._bad.pop(metric, None)

    def failed(self, metrics: Iterable[str], quality: int, time_ms: int) -> None:
        """The metrics could not be read: one valueless reading each, when that is new."""
        units = self._device.model.metrics
        self.heard([reading(metric, None, units[metric].unit, quality, time_ms) for metric in metrics])

    def online(self, note: str = "") -> None:
        """The device answers; `note` says what it refuses to tell."""
        self._tell("online", note)

    def waiting(self, reason: str) -> None:
        """The device sleeps between its measurements, as it should."""
        self._tell("waiting", reason)

    def gone(self, reason: str) -> None:
        """The device does not answer; only the first reason is told."""
        if not self.offline:
            self._tell("offline", reason)

    def _is_news(self, each: Reading) -> bool:
        code = each.quality & ~TIME_ESTIMATED
        if code < BAD:
            self._bad.pop(each.metric, None)
            return True
        was, self._bad[each.metric] = self._bad.get(each.metric), code
        return was != code

    def _tell(self, state: str, reason: str) -> None:
        if (state, reason) != self._state:
            self._state = (state, reason)
            self._intake.state(self._device.thing, state, reason)
