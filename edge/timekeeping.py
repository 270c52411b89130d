"""What the gateway knows of the time outlasts its program: a small file, and who keeps it.

The file is written at each start, each minute while the time is not known, and when it is found or has changed.
"""

import asyncio
import json
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from pathlib import Path

from edge.boots import Boot, Boots
from edge.clock import SteadyClock
from protocols.deflated import deflate, inflate
from protocols.pack import decode_body, encode_body
from runtime.files import write_whole

logger = logging.getLogger(__name__)

FILE = "boots.json"
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_LOOK_S = 1.0
_SEEN_S = 60.0
_GRACE_S = 15.0  # a reading that was timed before the time was known is in a pack by then
_CHANGED_MS = 1000


class Timekeeper:
    """Owns the clock and the file. `run` makes the clock look at the wall clock even when nobody asks it."""

    def __init__(self, data: Path, *, clock: Callable[..., SteadyClock] = SteadyClock):
        self._path = data / FILE
        self._boots = Boots(_read(self._path), BOOT_ID.read_text(encoding="ascii").strip())
        self.clock = clock(offset_ms=self._boots.present.offset_ms)
        self.settled = asyncio.Event()

    def begin(self, epoch: int) -> None:
        """The outbox has begun this epoch. To be called before anything is put into it."""
        if self.clock.settled:
            self.settled.set()
        else:
            logger.warning("the time is not known yet: readings wait, and are dated once it is")
            self._boots.present.epochs.append(epoch)
        self._note()

    def date(self, epoch: int, body: bytes) -> bytes:
        """A pack's body as it is to be sent: with Unix times."""
        if not self._boots.concern(epoch):
            return body
        return deflate(encode_body(self._boots.date(epoch, decode_body(inflate(body)))))

    async def run(self, next_epoch: Callable[[], Awaitable[None]]) -> None:
        """Watch the clock until cancelled. next_epoch: begins an epoch whose packs need not be dated any more."""
        if not self.settled.is_set():
            await self._settle()
            await asyncio.sleep(_GRACE_S)
            await next_epoch()
        while True:
            await asyncio.sleep(_LOOK_S)
            self.clock()
            if self._has_changed():
                self._note()

    async def _settle(self) -> None:
        noted = time.monotonic()
        while not self.clock.settled:
            await asyncio.sleep(_LOOK_S)
            self.clock()
            if time.monotonic() - noted > _SEEN_S:
                noted = time.monotonic()
                self._note()
        self._note()
        logger.info("the time is known")
        self.settled.set()

    def _has_changed(self) -> bool:
        now, noted = self.clock.offset_ms, self._boots.present.offset_ms
        return now is not None and (noted is None or abs(now - noted) > _CHANGED_MS)

    def _note(self) -> None:
        present = self._boots.present
        present.seen_ms = time.monotonic_ns() // 1_000_000
        present.offset_ms = self.clock.offset_ms
        try:
            write_whole(self._path, json.dumps([asdict(boot) for boot in self._boots.all]).encode())
        except OSError as error:
            logger.error("%s cannot be written: after a restart times may be off: %s", self._path, error)


def _read(path: Path) -> list[Boot]:
    """What the file holds; a damaged one is worth nothing, and is put aside by the next write."""
    try:
        return [Boot(**boot) for boot in json.loads(path.read_text(encoding="utf-8"))]
    except FileNotFoundError:
        return []
    except (OSError, ValueError, TypeError) as error:
        logger.error("%s cannot be read, so when this machine has started before is not known: %s", path, error)
        return []
