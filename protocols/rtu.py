"""Modbus RTU: the frames of serial lines, with their CRC. Source: MODBUS over Serial Line V1.02, 2.5.1 and appendix B.

It stands by itself so that a slave on a microcontroller, which needs no more of Modbus, has room for it.
"""

import struct

from .errors import ChecksumError, DecodeError

MAX_RTU = 256
_CHARACTER_BITS = 11  # start, eight data, parity or a second stop, stop
_FIXED_GAP_BAUD, _FIXED_GAP_S = 19_200, 0.00175


def _crc_table() -> "tuple[int, ...]":
    table = []
    for byte in range(256):
        crc = byte
        for _ in range(8):
            crc = crc >> 1 ^ 0xA001 if crc & 1 else crc >> 1
        table.append(crc)
    return tuple(table)


_CRC = _crc_table()


def crc16(data: bytes) -> int:
    """CRC-16/Modbus (MODBUS over Serial Line, appendix B)."""
    crc = 0xFFFF
    for byte in data:
        crc = crc >> 8 ^ _CRC[(crc ^ byte) & 0xFF]
    return crc


def rtu(unit: int, pdu: bytes) -> bytes:
    """A frame on a serial line."""
    frame = bytes((unit,)) + pdu
    return frame + struct.pack("<H", crc16(frame))


def parse_rtu(frame: bytes) -> "tuple[int, bytes]":
    """(unit, PDU) of a whole frame. Raises ChecksumError, DecodeError."""
    if not 4 <= len(frame) <= MAX_RTU:
        raise DecodeError("modbus RTU", f"a frame of {len(frame)} bytes")
    if crc16(frame[:-2]) != int.from_bytes(frame[-2:], "little"):
        raise ChecksumError("modbus RTU", "the CRC does not fit")
    return frame[0], frame[1:-2]


def frame_gap_s(baud: int) -> float:
    """The silence that parts two frames: 3.5 characters, and 1.75 ms above 19,200 baud (2.5.1.1)."""
    return _FIXED_GAP_S if baud > _FIXED_GAP_BAUD else 3.5 * _CHARACTER_BITS / baud
