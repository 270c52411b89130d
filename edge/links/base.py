"""What every link is given and what it must do."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from hardware.catalogue import DeviceModel
from protocols.reading import Reading


@dataclass(frozen=True)
class Origin:
    """Which custody pack of a device the readings came in: the gateway answers once they are committed."""

    sender: str
    lane: str
    epoch: int
    seq: int


class Intake(Protocol):
    """Where a link puts what it hears. Never blocks; to be called from the event loop only."""

    def take(
        self, thing: str, readings: Sequence[Reading], *, lane: str = "bulk", origin: Origin | None = None
    ) -> None:
        """Take over readings, times filled in; with an origin, also of a pack that holds none."""

    def lose(self, thing: str, count: int, origin: Origin, *, lane: str = "bulk") -> None:
        """Take over a device's own gap record: so many of its readings gave way before they reached us."""

    def state(self, thing: str, state: str, reason: str = "") -> None:
        """Tell how a device is: "online", "offline" with the reason, "waiting"."""

    def count(self, counter: str, thing: str = "", by: int = 1) -> None:
        """Count an event for the metrics, e.g. "checksum_errors"."""


@dataclass(frozen=True)
class Attached:
    """A device as attached to a link: its id as a thing, its model, and its address there."""

    thing: str
    model: DeviceModel
    address: str


Clock = Callable[[], int]  # Unix milliseconds


class Link(Protocol):
    """One bus, radio or port."""

    name: str

    async def run(self) -> None:
        """Serve the link until cancelled. Raises LinkError when it fails; the supervisor starts it again."""
