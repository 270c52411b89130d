"""Epochs: the durable counter that their numbers are made from."""

from firmware.core import files
from protocols.custody import INCARNATION_BITS, NONCE_BITS, epoch_number

TYPE_CHECKING = False
if TYPE_CHECKING:
    from firmware.core.clock import Hal


class Epochs:
    """Epoch numbers, each handed out once in the life of this storage, also across starts and losses of power."""

    def __init__(self, directory: str, hal: "Hal"):
        self._hal = hal
        self._path = directory + "/epoch"
        stored = files.read(self._path)
        if stored is None:
            self.incarnation = hal.random_bits(INCARNATION_BITS) or 1
            self._count = 0
        else:
            incarnation, count = stored.split()
            self.incarnation = int(incarnation)
            self._count = int(count)

    def next(self) -> int:
        """A number that has not been used; durable before it is returned."""
        self._count += 1
        epoch = epoch_number(self.incarnation, self._count, self._hal.random_bits(NONCE_BITS))
        files.write(self._path, f"{self.incarnation} {self._count}".encode())
        return epoch
