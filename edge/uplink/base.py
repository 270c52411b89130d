"""What every uplink is and shows."""

from dataclasses import dataclass
from typing import Protocol


@dataclass
class UplinkState:
    """How an uplink is doing, for the local page and the metrics."""

    online: bool = False
    reason: str = "connecting"
    sessions: int = 0
    packs_sent: int = 0
    backfill_sent: int = 0
    refusals: int = 0
    dropped: int = 0  # messages from the far side that came faster than they were taken; it says them again

    def went_up(self) -> None:
        """A session has begun."""
        self.online, self.reason = True, ""
        self.sessions += 1

    def dropped_one(self) -> None:
        """A message was dropped because too many were waiting."""
        self.dropped += 1

    def went_down(self, reason: str) -> None:
        """The session has ended, or none could be had."""
        self.online, self.reason = False, reason


class Uplink(Protocol):
    """A way to the far side."""

    state: UplinkState

    async def run(self) -> None:
        """Carry packs until cancelled, through every loss of the line."""
