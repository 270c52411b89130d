"""Record Access Control Point (2A52): asking a glucose meter, CGM or oximeter for its stored records.

Source: Bluetooth SIG Glucose Service 1.0, section 3.4.
As readings: opcode and operator, and for a request with a filter filter_type, minimum and maximum; for a count reply
record_count; for a response request_opcode and response_code.
"""

from ..errors import DecodeError, EncodeError, TruncatedError
from ..reading import Reading, reading
from .values import Code, DateTime, Integer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..reading import Value
    from .values import ValueCodec

SUBJECT = "record access control point"

OPCODES = Code(
    ((1, "report"), (2, "delete"), (3, "abort"), (4, "count"), (5, "count_reply"), (6, "response")),
)
OPERATORS = Code(
    ((0, "null"), (1, "all"), (2, "at_most"), (3, "at_least"), (4, "range"), (5, "first"), (6, "last")),
)
RESPONSE_CODES = Code(
    (
        (1, "success"),
        (2, "opcode_not_supported"),
        (3, "operator_invalid"),
        (4, "operator_not_supported"),
        (5, "operand_invalid"),
        (6, "no_records"),
        (7, "abort_failed"),
        (8, "not_completed"),
        (9, "operand_not_supported"),
        (10, "server_busy"),
    ),
)
FILTERS = Code(((1, "sequence_number"), (2, "user_facing_time")))

_UINT16 = Integer(2)
_FILTER_VALUES: "dict[str, ValueCodec]" = {"sequence_number": _UINT16, "user_facing_time": DateTime()}
_REQUESTS = ("report", "delete", "count")
_FILTERED = {"at_most": ("maximum",), "at_least": ("minimum",), "range": ("minimum", "maximum")}
_REPLIES: "dict[str, tuple[tuple[str, ValueCodec], ...]]" = {
    "abort": (),
    "count_reply": (("record_count", _UINT16),),
    "response": (("request_opcode", OPCODES), ("response_code", RESPONSE_CODES)),
}
_UNITS = {"record_count": "1"}


def decode(data: bytes) -> "list[Reading]":
    """The readings of a request or reply. Raises DecodeError."""
    if len(data) < 2:
        raise TruncatedError(SUBJECT, 2, len(data))
    opcode = OPCODES.name(data[0])
    operator = OPERATORS.name(data[1])
    filter_name = None
    if opcode in _REQUESTS and operator in _FILTERED:
        if len(data) < 3:
            raise TruncatedError(SUBJECT, 3, len(data))
        filter_name = FILTERS.name(data[2])
    fields = _fields(opcode, operator, filter_name, DecodeError)
    readings = [reading("opcode", opcode, ""), reading("operator", operator, "")]
    at = 2
    wanted = at + sum([codec.size for _, codec in fields])
    if len(data) < wanted:
        raise TruncatedError(SUBJECT, wanted, len(data))
    if len(data) > wanted:
        raise DecodeError(SUBJECT, f"{len(data) - wanted} bytes after the last field")
    for metric, codec in fields:
        value, quality = codec.decode(data[at : at + codec.size])
        readings.append(reading(metric, value, _UNITS.get(metric, ""), quality))
        at += codec.size
    return readings


def encode(readings: "list[Reading]") -> bytes:
    """The bytes of a request or reply. Raises EncodeError."""
    given: "dict[str, Value]" = {}
    for item in readings:
        if item.metric in given or item.unit != _UNITS.get(item.metric, ""):
            raise EncodeError(SUBJECT, f"{item.metric} is given twice or has unit {item.unit!r}")
        given[item.metric] = item.value
    opcode = str(given.pop("opcode", None))
    operator = str(given.pop("operator", None))
    data = bytes([OPCODES.code(opcode), OPERATORS.code(operator)])
    fields = _fields(opcode, operator, given.get("filter_type"), EncodeError)
    if set(given) != {metric for metric, _ in fields}:
        raise EncodeError(SUBJECT, f"{opcode} {operator} does not go with {sorted(given)}")
    return data + b"".join([codec.encode(given[metric], 0) for metric, codec in fields])


def request(
    opcode: str,
    operator: str = "null",
    *,
    filter_type: str = "sequence_number",
    minimum: "int | str | None" = None,
    maximum: "int | str | None" = None,
) -> bytes:
    """The bytes of a request, e.g. request("report", "at_least", minimum=17). Raises EncodeError."""
    readings = [reading("opcode", opcode, ""), reading("operator", operator, "")]
    if operator in _FILTERED:
        readings.append(reading("filter_type", filter_type, ""))
    for metric, value in (("minimum", minimum), ("maximum", maximum)):
        if value is not None:
            readings.append(reading(metric, value, ""))
    return encode(readings)


def response(request_opcode: int, code: str) -> bytes:
    """The bytes of a response to a request with that opcode, which may be one that nobody knows."""
    return bytes([OPCODES.code("response"), 0, request_opcode, RESPONSE_CODES.code(code)])


def count_reply(count: int) -> bytes:
    """The bytes of an answer to a request to count; more than 65535 are not told."""
    count = min(count, 0xFFFF)
    return bytes([OPCODES.code("count_reply"), 0, count & 0xFF, count >> 8])


def problem(data: bytes, operators: "dict[str, tuple[str, ...]]") -> str:
    """The response code for what is wrong with a request, empty if nothing is.

    `operators`: by opcode, those that the server knows. "abort" wants none.
    """
    opcode = OPCODES.name(data[0]) if data else ""
    if opcode != "abort" and opcode not in operators:
        return "opcode_not_supported"
    if len(data) < 2 or (data[1] == 0) != (opcode == "abort"):
        return "operator_invalid"
    if opcode != "abort" and OPERATORS.name(data[1]) not in operators[opcode]:
        return "operator_not_supported"
    return "operand_invalid" if len(data) > 2 else ""


def _fields(
    opcode: str, operator: str, filter_name: "Value", error: "type[DecodeError] | type[EncodeError]"
) -> "list[tuple[str, ValueCodec]]":
    """What follows opcode and operator. Raises `error` for a pair that the specification does not have."""
    if opcode in _REPLIES and operator == "null":
        return list(_REPLIES[opcode])
    if opcode in _REQUESTS and operator in ("all", "first", "last"):
        return []
    if opcode in _REQUESTS and operator in _FILTERED:
        if filter_name not in _FILTER_VALUES:
            raise error(SUBJECT, f"filter type {filter_name}")
        codec = _FILTER_VALUES[str(filter_name)]
        return [("filter_type", FILTERS)] + [(metric, codec) for metric in _FILTERED[operator]]
    raise error(SUBJECT, f"{opcode} with {operator}")
