"""What every link is given and what it must do."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from hardware.catalogue import Command, DeviceModel
from protocols.reading import Reading

if TYPE_CHECKING:
    from typing import Any

    import numpy as np
    from numpy.typing import NDArray

    from edge.update_images import Images
    from edge.updates import Updates
    from protocols.reading import Value


@dataclass(frozen=True)
class Origin:
    """Which custody pack of a device the readings came in: the gateway answers once they are committed."""

    sender: str
    lane: str
    epoch: int
    seq: int


class Channel(Protocol):
    """Numeric metrics of one device that always come together, in one order: its readings travel as blocks."""

    metrics: Sequence[str]

    def take(self, values: "NDArray[Any]", time_ms: int, good: "NDArray[np.bool_] | None" = None) -> None:
        """Take one value of each metric, all of one time; where `good` is False there is none.

        To be called through `Condition.heard_block`, which tells of the bad ones.
        """


class Intake(Protocol):
    """Where a link puts what it hears. Never blocks; to be called from the event loop only."""

    def channel(self, thing: str, metrics: Sequence[str]) -> Channel:
        """A channel for these metrics of the device's model, in place of any that they had before."""

    def take(
        self,
        thing: str,
        readings: Sequence[Reading],
        *,
        lane: str = "bulk",
        origin: Origin | None = None,
        backfill: bool = False,
    ) -> None:
        """Take over readings, times filled in; with an origin, also of a pack that holds none.

        backfill: they are history, and raise no alarm.
        """

    def lose(self, thing: str, count: int, origin: Origin, *, lane: str = "bulk") -> None:
        """Take over a device's own gap record: so many of its readings gave way before they reached us."""

    def state(self, thing: str, state: str, reason: str = "") -> None:
        """Tell how a device is: "online", "offline" with the reason, "waiting"."""

    def full(self) -> bool:
        """Whether whoever can keep his readings shall keep them for now: too much waits for a disk that fails."""

    def count(self, counter: str, thing: str = "", by: int = 1) -> None:
        """Count an event for the metrics, e.g. "checksum_errors"."""


@dataclass(frozen=True)
class Attached:
    """A device as attached to a link: its id as a thing, its model, and its address there."""

    thing: str
    model: DeviceModel
    address: str


Clock = Callable[[], int]  # Unix milliseconds


@dataclass(frozen=True)
class Surroundings:
    """What the gateway gives its links.

    data: the folder for what must survive; secret: reads a file that the config names; cursors: per (sender, lane) the
    highest seq taken over of each epoch of devices' own packs; on_committed: have a call made with the origins of each
    commit of the outbox; images: the firmware that devices shall be offered; show_updates: have these shown to people.
    """

    intake: Intake
    clock: Clock
    data: Path
    secret: Callable[[Path], str]
    cursors: Callable[[], Mapping[tuple[str, str], dict[int, int]]]
    on_committed: Callable[[Callable[[Sequence[Origin]], None]], None]
    images: "Images"
    show_updates: Callable[["Updates"], None]


class Actor(Protocol):
    """Who carries out commands to things."""

    name: str

    async def act(self, thing: str, command: Command, value: "Value") -> "Value":
        """Carry out a command, once, and return what was read back (None where the device tells nothing).

        Raises ActionRefused if surely nothing was done, ActionFailed if something may have been.
        """


class Link(Actor, Protocol):
    """One bus, radio or port."""

    async def run(self) -> None:
        """Serve the link until cancelled. Raises LinkError when it fails; the supervisor starts it again."""
