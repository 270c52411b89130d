"""A serial port; the one user of pyserial."""

import termios
from contextlib import suppress

import serial

from edge.errors import LinkError


class SerialPort:
    """An open port that nobody else may open, set so that nothing blocks; what was waiting in it is thrown away.

    `port` is best a stable name in /dev/serial/by-id. Raises LinkError, of that link, if it cannot be opened.
    """

    def __init__(self, link: str, port: str, *, baud: int, parity: str = "none", stop_bits: int = 1):
        try:
            self._port = serial.Serial(
                port, baud, parity=parity[0].upper(), stopbits=stop_bits, timeout=0, exclusive=True
            )
        except (OSError, ValueError, termios.error) as error:
            raise LinkError(link, f"cannot open {port}: {error}") from error

    def fileno(self) -> int:
        """The file descriptor, to read and write by."""
        number: int = self._port.fileno()
        return number

    def close(self) -> None:
        """Close it."""
        with suppress(OSError):  # the adapter may be unplugged
            self._port.close()
