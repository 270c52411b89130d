"""Modbus requests, responses and the frames that carry them on TCP; how long those on serial lines are (see ../rtu.py).

Sources: MODBUS Application Protocol Specification V1.1b3 (sections 6 and 7), MODBUS Messaging on TCP/IP Implementation
Guide V1.0b (3.1.3), MODBUS over Serial Line V1.02 (2.5.1). A PDU begins with its function code.
"""

import struct
from collections import namedtuple

from ..errors import DecodeError, EncodeError, TruncatedError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import NamedTuple

    class Request(NamedTuple):
        """A request as a server sees it. values: bits or registers to write; of a mask write (and, or)."""

        function: int
        address: int
        quantity: int
        values: "tuple[int, ...]"
        write_address: int

else:
    Request = namedtuple("Request", ("function", "address", "quantity", "values", "write_address"))

READ_COILS, READ_DISCRETE, READ_HOLDING, READ_INPUT = 1, 2, 3, 4
WRITE_COIL, WRITE_REGISTER, WRITE_COILS, WRITE_REGISTERS = 5, 6, 15, 16
MASK_WRITE, READ_WRITE = 22, 23

# What one request may carry: (read, written) registers or bits
_MOST = {
    READ_COILS: 2000, READ_DISCRETE: 2000, READ_HOLDING: 125, READ_INPUT: 125, WRITE_COILS: 1968, WRITE_REGISTERS: 123,
}  # fmt: skip
_MOST_READ_WRITTEN = (125, 121)  # of function 23
_BITS = (READ_COILS, READ_DISCRETE)
_ON, _OFF = 0xFF00, 0x0000

ILLEGAL_FUNCTION, ILLEGAL_ADDRESS, ILLEGAL_VALUE, DEVICE_FAILURE, ACKNOWLEDGE = 1, 2, 3, 4, 5
NO_PATH, NO_RESPONSE = 10, 11  # a bridge to a serial bus says so when the device behind it does not answer
EXCEPTIONS = {
    1: "illegal function",
    2: "illegal data address",
    3: "illegal data value",
    4: "device failure",
    5: "acknowledged, not done yet",
    6: "device busy",
    8: "memory parity error",
    10: "gateway path unavailable",
    11: "gateway target did not respond",
}

MBAP_SIZE = 7
_MAX_PDU = 253


class ExceptionResponse(DecodeError):
    """The device answered with an exception: `code`, section 7."""

    def __init__(self, code: int):
        super().__init__("modbus", EXCEPTIONS.get(code, f"exception {code}"))
        self.code = code


def read_request(function: int, address: int, count: int) -> bytes:
    """The PDU that reads `count` bits (functions 1, 2) or registers (3, 4). Raises EncodeError."""
    if function not in (READ_COILS, READ_DISCRETE, READ_HOLDING, READ_INPUT):
        raise EncodeError("modbus read", f"function {function} reads nothing")
    _check_span(address, count, _MOST[function])
    return struct.pack(">BHH", function, address, count)


def write_coil(address: int, on: bool) -> bytes:
    """The PDU that sets one coil (5). Raises EncodeError."""
    _check_span(address, 1, 1)
    return struct.pack(">BHH", WRITE_COIL, address, _ON if on else _OFF)


def write_register(address: int, value: int) -> bytes:
    """The PDU that sets one holding register (6). Raises EncodeError."""
    _check_span(address, 1, 1)
    return struct.pack(">BHH", WRITE_REGISTER, address, _word(value))


def write_coils(address: int, bits: "Sequence[bool]") -> bytes:
    """The PDU that sets several coils (15). Raises EncodeError."""
    _check_span(address, len(bits), _MOST[WRITE_COILS])
    data = _packed_bits(bits)
    return struct.pack(">BHHB", WRITE_COILS, address, len(bits), len(data)) + data


def write_registers(address: int, registers: "Sequence[int]") -> bytes:
    """The PDU that sets several holding registers (16). Raises EncodeError."""
    _check_span(address, len(registers), _MOST[WRITE_REGISTERS])
    return struct.pack(">BHHB", WRITE_REGISTERS, address, len(registers), 2 * len(registers)) + _words(registers)


def mask_write(address: int, and_mask: int, or_mask: int) -> bytes:
    """The PDU that makes a register (its value AND and_mask) OR (or_mask AND NOT and_mask) (22). Raises EncodeError."""
    _check_span(address, 1, 1)
    return struct.pack(">BHHH", MASK_WRITE, address, _word(and_mask), _word(or_mask))


def read_write_registers(read_address: int, read_count: int, write_address: int, registers: "Sequence[int]") -> bytes:
    """The PDU that writes registers and then reads others in one go (23). Raises EncodeError."""
    _check_span(read_address, read_count, _MOST_READ_WRITTEN[0])
    _check_span(write_address, len(registers), _MOST_READ_WRITTEN[1])
    head = struct.pack(
        ">BHHHHB", READ_WRITE, read_address, read_count, write_address, len(registers), 2 * len(registers)
    )
    return head + _words(registers)


def response_payload(request: bytes, response: bytes) -> bytes:
    """What a response says to its request: the bytes of bits or registers read; b"" for a write that was done.

    Raises ExceptionResponse if the device refused, DecodeError if this is no answer to that request.
    """
    function = request[0]
    if not response:
        raise TruncatedError("modbus response", 1, 0)
    if response[0] == function | 0x80:
        if len(response) != 2:
            raise DecodeError("modbus response", f"an exception of {len(response)} bytes")
        raise ExceptionResponse(response[1])
    if response[0] != function:
        raise DecodeError("modbus response", f"function {response[0]} answers {function}")
    size = _read_bytes(request)
    if size is None:
        echo = request if function in (WRITE_COIL, WRITE_REGISTER, MASK_WRITE) else request[:5]
        if response != echo:
            raise DecodeError("modbus response", "does not repeat what was to be written")
        return b""
    if len(response) != 2 + size or response[1] != size:
        raise DecodeError("modbus response", f"{len(response)} bytes where {2 + size} were asked for")
    return response[2:]


def could_answer(request: bytes, response: bytes) -> bool:
    """Whether a response has the form of an answer to this request, a refusal included."""
    try:
        response_payload(request, response)
    except ExceptionResponse:
        return True
    except DecodeError:
        return False
    return True


def _read_bytes(request: bytes) -> int | None:
    """How many bytes of data a response to this request holds; None if it echoes."""
    if request[0] in _BITS:
        return (int.from_bytes(request[3:5], "big") + 7) // 8
    if request[0] in (READ_HOLDING, READ_INPUT, READ_WRITE):
        return 2 * int.from_bytes(request[3:5], "big")
    return None


def parse_request(pdu: bytes) -> "Request":
    """A request as a server sees it. Raises DecodeError."""
    if len(pdu) < 5:
        raise TruncatedError("modbus request", 5, len(pdu))
    function, address, second = struct.unpack(">BHH", pdu[:5])
    if function in _MOST and function < WRITE_COIL:
        if len(pdu) != 5 or not 1 <= second <= _MOST[function]:
            raise DecodeError("modbus request", f"{len(pdu)} bytes to read {second}")
        return Request(function, address, second, (), 0)
    if function == WRITE_COIL and len(pdu) == 5 and second in (_ON, _OFF):
        return Request(function, address, 1, (int(second == _ON),), 0)
    if function == WRITE_REGISTER and len(pdu) == 5:
        return Request(function, address, 1, (second,), 0)
    if function == MASK_WRITE and len(pdu) == 7:
        return Request(function, address, 1, (second, int.from_bytes(pdu[5:7], "big")), 0)
    if function in (WRITE_COILS, WRITE_REGISTERS) and len(pdu) > 6:
        size = (second + 7) // 8 if function == WRITE_COILS else 2 * second
        if 1 <= second <= _MOST[function] and len(pdu) == 6 + size and pdu[5] == size:
            values = decode_bits(pdu[6:], second) if function == WRITE_COILS else decode_words(pdu[6:])
            return Request(function, address, second, tuple(values), 0)
    if function == READ_WRITE and len(pdu) > 10:
        write_address, count, size = struct.unpack(">HHB", pdu[5:10])
        readable = 1 <= second <= _MOST_READ_WRITTEN[0] and 1 <= count <= _MOST_READ_WRITTEN[1]
        if readable and size == 2 * count and len(pdu) == 10 + size:
            return Request(function, address, second, tuple(decode_words(pdu[10:])), write_address)
    raise DecodeError("modbus request", f"function {function} in {len(pdu)} bytes")


def read_response(function: int, data: bytes) -> bytes:
    """The PDU that answers a read with these bytes."""
    return bytes((function, len(data))) + data


def exception_response(function: int, code: int) -> bytes:
    """The PDU that refuses."""
    return bytes((function | 0x80, code))


def decode_bits(data: bytes, count: int) -> "list[int]":
    """`count` bits, the lowest of the first byte first. Raises DecodeError."""
    if len(data) != (count + 7) // 8:
        raise DecodeError("modbus bits", f"{count} are not in {len(data)} bytes")
    return [data[at >> 3] >> (at & 7) & 1 for at in range(count)]


def decode_words(data: bytes) -> "list[int]":
    """The registers in whole pairs of bytes. Raises DecodeError."""
    if len(data) % 2:
        raise DecodeError("modbus registers", f"{len(data)} bytes are no registers")
    return list(struct.unpack(f">{len(data) // 2}H", data))


# Modbus TCP


def mbap(transaction: int, unit: int, pdu: bytes) -> bytes:
    """A frame on TCP."""
    return struct.pack(">HHHB", transaction & 0xFFFF, 0, len(pdu) + 1, unit) + pdu


class MbapStream:
    """The frames in a stream of bytes; holds at most one unfinished frame."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> "list[tuple[int, int, bytes]]":
        """(transaction, unit, PDU) of each frame that `data` completes.

        Raises DecodeError for a header that cannot be: where the next one begins nobody knows, the stream is lost.
        """
        if self._rest:
            data = self._rest + data
        frames = []
        at = 0
        while len(data) - at >= MBAP_SIZE:
            transaction, protocol, length, unit = struct.unpack(">HHHB", data[at : at + MBAP_SIZE])
            if protocol != 0 or not 2 <= length <= _MAX_PDU + 1:
                raise DecodeError("modbus TCP", f"a header of protocol {protocol} and length {length}")
            end = at + MBAP_SIZE - 1 + length
            if len(data) < end:
                break
            frames.append((transaction, unit, data[at + MBAP_SIZE : end]))
            at = end
        self._rest = data[at:]
        return frames


# Modbus RTU


def rtu_response_size(head: bytes) -> int | None:
    """How long a response is that begins so; None as long as it does not tell. Raises DecodeError for no function."""
    if len(head) < 2:
        return None
    function = head[1]
    if function & 0x80:
        return 5
    if function in (READ_COILS, READ_DISCRETE, READ_HOLDING, READ_INPUT, READ_WRITE):
        return 5 + head[2] if len(head) > 2 else None
    if function in (WRITE_COIL, WRITE_REGISTER, WRITE_COILS, WRITE_REGISTERS):
        return 8
    if function == MASK_WRITE:
        return 10
    raise DecodeError("modbus RTU", f"function {function} is unknown")


def rtu_request_size(head: bytes) -> int | None:
    """How long a request is that begins so; None as long as it does not tell. Raises DecodeError for no function."""
    if len(head) < 2:
        return None
    function = head[1]
    if function in (READ_COILS, READ_DISCRETE, READ_HOLDING, READ_INPUT, WRITE_COIL, WRITE_REGISTER):
        return 8
    if function == MASK_WRITE:
        return 10
    if function in (WRITE_COILS, WRITE_REGISTERS):
        return 9 + head[6] if len(head) > 6 else None
    if function == READ_WRITE:
        return 13 + head[10] if len(head) > 10 else None
    raise DecodeError("modbus RTU", f"function {function} is unknown")


def _check_span(address: int, count: int, most: int) -> None:
    if not 1 <= count <= most or not 0 <= address <= 0x10000 - count:
        raise EncodeError("modbus request", f"{count} at {address} is more than {most} or beyond 65535")


def _word(value: int) -> int:
    """Checked by hand, since MicroPython's struct.pack truncates."""
    if not 0 <= value <= 0xFFFF:
        raise EncodeError("modbus request", f"{value} is no 16-bit word")
    return value


def _words(registers: "Sequence[int]") -> bytes:
    return b"".join([struct.pack(">H", _word(register)) for register in registers])


def _packed_bits(bits: "Sequence[bool]") -> bytes:
    data = bytearray((len(bits) + 7) // 8)
    for at, bit in enumerate(bits):
        if bit:
            data[at >> 3] |= 1 << (at & 7)
    return bytes(data)
