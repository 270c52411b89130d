"""Custody towards the gateway, for one lane: what is journalled, sent, and let go. No network, no clock, no loop."""

from firmware.errors import JournalError
from protocols import senml
from protocols.custody import Sender

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from firmware.core.epochs import Epochs
    from firmware.core.journal import Journal
    from protocols.custody import Header
    from protocols.reading import Reading

_WINDOW = 64
_BACKFILL_WINDOW = 256  # the gateway commits four times a second: three days come home within a minute
_AT_ONCE = 8  # packs that are in memory at a time
_RESEND_MS = 3000
_FEW = 5  # packs that may wait at a reconnect without making an epoch of their own worth while


class Handover:
    """A journal's packs on their way to the gateway. A start opens a new epoch."""

    def __init__(self, journal: "Journal", epochs: "Epochs", *, device: str):
        self._journal = journal
        self._epochs = epochs
        self._device = device
        self._sender = Sender(window=_WINDOW, backfill_window=_BACKFILL_WINDOW, resend_ms=_RESEND_MS)
        self.refused = 0  # readings that the journal could not keep and that are not declared yet
        for epoch, first, last in journal.epochs():
            self._sender.restore(epoch, first - 1, last)
        self._open_epoch()

    def append(self, readings: "Sequence[Reading]", *, wall_clock: bool) -> None:
        """Take readings into custody as one pack.

        Raises JournalError if they cannot be kept: they are declared lost as soon as the flash takes a record again.
        """
        body = senml.encode_body(readings, device=self._device, wall_clock=wall_clock)
        try:
            if self.refused:
                self._keep(senml.encode_lost(self.refused, device=self._device), self.refused)
                self.refused = 0
            self._keep(body, len(readings))
        except JournalError:
            self.refused += len(readings)
            raise

    def connected(self) -> None:
        """The line is up. What has piled up goes behind what comes now."""
        if self._last - self._released > _FEW:
            self._open_epoch()
        self._sender.connected()

    def disconnected(self) -> None:
        """The line is down: nothing is due until it is up again."""
        self._sender.disconnected()

    def cursor(self, session: str, stored: "dict[int, int]", now_ms: int) -> None:
        """The gateway's cursor: let go of what it has. Raises OSError or JournalError if the flash refuses."""
        for release in self._sender.cursor(session, stored, now_ms):
            self._journal.release(release.epoch, release.upto)
            if release.epoch == self.epoch:
                self._released = release.upto

    def due(self, now_ms: int) -> "list[Header]":
        """The packs to send now, in this order; they count as under way from here on. A few, to be asked for again."""
        return self._sender.due(now_ms, most=_AT_ONCE)

    def message(self, header: "Header", now_ms: int) -> "bytes | None":
        """A pack as it travels, a gap record where it had to give way; None if it was let go meanwhile."""
        try:
            payload, readings = self._journal.read(header.epoch, header.seq)
        except JournalError:
            return None  # the cursor passed it while the packs before it were sent
        body = senml.encode_lost(readings, device=self._device) if payload is None else payload.decode()
        return senml.encode_pack(header, body, now_ms)

    def _keep(self, body: str, readings: int) -> None:
        self._last = self._journal.append(body.encode(), readings)
        self._sender.appended(self.epoch, self._last)

    def _open_epoch(self) -> None:
        epoch = self._epochs.next()
        self._journal.open(epoch)
        self._sender.open(epoch)
        self.epoch = epoch
        self._last = self._released = 0
