"""What may stand in a rule: kinds of values, each with its check, which names the wrong key, and its JSON Schema."""

from collections import namedtuple

from ..errors import RuleError
from ..topics import is_id

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any, NamedTuple

    class Kind(NamedTuple):
        """check(value, key) gives the value as the rule keeps it, or raises RuleError; schema says the same in JSON."""

        check: "Callable[[Any, str], Any]"
        schema: "Mapping[str, Any]"

    class Key(NamedTuple):
        """One key of a table; without a default (REQUIRED) it must be there."""

        kind: "Kind"
        default: "Any"

else:
    Kind = namedtuple("Kind", ("check", "schema"))
    Key = namedtuple("Key", ("kind", "default"))

REQUIRED = object()
MAX_SPAN_S = 31 * 86_400
DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_ID = "^[A-Za-z0-9_-]{1,64}$"
_MAX_TEXT = 200


def read_table(item: "Any", key: str, keys: "Mapping[str, Key]") -> "dict[str, Any]":
    """The table with its defaults. Raises RuleError for what is unknown, missing or of another kind."""
    if not isinstance(item, dict):
        raise RuleError(key, "must be a table")
    for name in item:
        if name not in keys:
            raise RuleError(join(key, name), "there is no such key here; there are " + ", ".join(sorted(keys)))
    found = {}
    for name, (kind, default) in keys.items():
        if name in item:
            found[name] = kind.check(item[name], join(key, name))
        elif default is REQUIRED:
            raise RuleError(join(key, name), "is required")
        else:
            found[name] = default
    return found


def table_schema(keys: "Mapping[str, Key]") -> "dict[str, Any]":
    """The JSON Schema of such a table."""
    return {
        "type": "object",
        "properties": {name: key.kind.schema for name, key in keys.items()},
        "required": sorted([name for name, key in keys.items() if key.default is REQUIRED]),
        "additionalProperties": False,
    }


def join(key: str, name: str) -> str:
    """The path of a key within a table."""
    return key + "." + name if key else name


def table_of(keys: "Mapping[str, Key]") -> "Kind":
    """The kind of a table with these keys."""
    return Kind(lambda item, key: read_table(item, key, keys), table_schema(keys))


def list_of(kind: "Kind", least: int, most: int) -> "Kind":
    """The kind of a list of `least` to `most` of that kind."""

    def check(item: "Any", key: str) -> "tuple[Any, ...]":
        if not isinstance(item, (list, tuple)) or not least <= len(item) <= most:
            raise RuleError(key, f"must be a list of {least} to {most}")
        return tuple([kind.check(each, f"{key}.{number}") for number, each in enumerate(item)])

    return Kind(check, {"type": "array", "items": kind.schema, "minItems": least, "maxItems": most})


def one_of(choices: "tuple[str, ...]") -> "Kind":
    """The kind of one of these words."""

    def check(item: "Any", key: str) -> str:
        if item not in choices:
            raise RuleError(key, "must be one of " + ", ".join(choices))
        return item  # type: ignore[no-any-return]

    return Kind(check, {"enum": list(choices)})


def whole(low: int, high: int) -> "Kind":
    """The kind of a whole number from low to high."""

    def check(item: "Any", key: str) -> int:
        if not isinstance(item, int) or isinstance(item, bool) or not low <= item <= high:
            raise RuleError(key, f"must be a whole number from {low} to {high}")
        return item

    return Kind(check, {"type": "integer", "minimum": low, "maximum": high})


def _check_number(item: "Any", key: str) -> "int | float":
    # Not so: infinities and what is no number, which TOML can write and which would never be exceeded, or always.
    if isinstance(item, bool) or not isinstance(item, (int, float)) or not -1e300 < item < 1e300:
        raise RuleError(key, "must be a number")
    return item


def _check_margin(item: "Any", key: str) -> "int | float":
    if _check_number(item, key) < 0:
        raise RuleError(key, "must not be negative")
    return item  # type: ignore[no-any-return]


def _check_step(item: "Any", key: str) -> "int | float":
    if _check_number(item, key) <= 0:
        raise RuleError(key, "must be greater than 0")
    return item  # type: ignore[no-any-return]


def _check_span(item: "Any", key: str) -> int:
    """Seconds, kept as whole milliseconds."""
    if not 0 <= _check_number(item, key) <= MAX_SPAN_S:
        raise RuleError(key, f"must be 0 to {MAX_SPAN_S} seconds")
    return int(item * 1000 + 0.5)


def _check_window(item: "Any", key: str) -> int:
    span_ms = _check_span(item, key)
    if span_ms < 1:
        raise RuleError(key, "must be greater than 0")
    return span_ms


def _check_range(item: "Any", key: str) -> "tuple[int | float, int | float]":
    if not isinstance(item, (list, tuple)) or len(item) != 2:
        raise RuleError(key, "must be two numbers, the lower one first")
    low, high = [_check_number(each, f"{key}.{number}") for number, each in enumerate(item)]
    if low > high:
        raise RuleError(key, "its first number is greater than its second")
    return low, high


def _check_text(item: "Any", key: str) -> str:
    if not isinstance(item, str) or len(item) > _MAX_TEXT:
        raise RuleError(key, f"must be text of at most {_MAX_TEXT} characters")
    return item


def _check_id(item: "Any", key: str) -> str:
    if not isinstance(item, str) or not is_id(item):
        raise RuleError(key, "must be 1 to 64 of A-Z a-z 0-9 _ -")
    return item


def _check_pattern(item: "Any", key: str) -> str:
    if not isinstance(item, str) or not (item == "*" or is_id(item[:-1] if item[-1:] == "*" else item)):
        raise RuleError(key, "must be a thing's id, or the beginning of ids and *")
    return item


def _check_value(item: "Any", key: str) -> "bool | int | float | str":
    if not isinstance(item, str):
        return item if isinstance(item, bool) else _check_number(item, key)
    return _check_text(item, key)


def _check_values(item: "Any", key: str) -> "tuple[bool | int | float | str, ...]":
    """One value, or a list of them."""
    return _VALUE_LIST.check(item if isinstance(item, list) else [item], key)  # type: ignore[no-any-return]


def _check_flag(item: "Any", key: str) -> bool:
    if not isinstance(item, bool):
        raise RuleError(key, "must be true or false")
    return item


def _check_clock(item: "Any", key: str) -> int:
    """HH:MM, kept as seconds since midnight."""
    parts = item.split(":") if isinstance(item, str) and len(item) == 5 else []
    if len(parts) != 2 or not all([len(part) == 2 and part.isdigit() for part in parts]):
        raise RuleError(key, "must be a time of day such as 22:30")
    hour, minute = int(parts[0]), int(parts[1])
    if hour > 23 or minute > 59:
        raise RuleError(key, "must be a time of day from 00:00 to 23:59")
    return hour * 3600 + minute * 60


def _check_date(item: "Any", key: str) -> "tuple[int, int, int]":
    """YYYY-MM-DD, or MM-DD of every year: (year or 0, month, day)."""
    parts = item.split("-") if isinstance(item, str) and len(item) in (5, 10) else []
    if not all([part.isdigit() for part in parts]) or [len(part) for part in parts] not in ([4, 2, 2], [2, 2]):
        raise RuleError(key, "must be a date such as 2030-05-01, or 05-01 for every year")
    numbers = [int(part) for part in parts]
    year, month, day = numbers if len(numbers) == 3 else [0] + numbers
    if not (1 <= month <= 12 and 1 <= day <= 31):
        raise RuleError(key, "there is no such date")
    return year, month, day


ID = Kind(_check_id, {"type": "string", "pattern": _ID})
TEXT = Kind(_check_text, {"type": "string", "maxLength": _MAX_TEXT})
NAME = table_of({"en": Key(TEXT, REQUIRED), "zh": Key(TEXT, REQUIRED)})
PATTERN = Kind(_check_pattern, {"type": "string", "pattern": r"^([A-Za-z0-9_-]{1,64}|[A-Za-z0-9_-]{0,64}\*)$"})
NUMBER = Kind(_check_number, {"type": "number"})
MARGIN = Kind(_check_margin, {"type": "number", "minimum": 0})
STEP = Kind(_check_step, {"type": "number", "exclusiveMinimum": 0})
RANGE = Kind(_check_range, {"type": "array", "items": {"type": "number"}, "minItems": 2, "maxItems": 2})
VALUE = Kind(_check_value, {"type": ["boolean", "number", "string"], "maxLength": _MAX_TEXT})
_VALUE_LIST = list_of(VALUE, 1, 64)
VALUES = Kind(_check_values, {"anyOf": [VALUE.schema, _VALUE_LIST.schema]})
SPAN = Kind(_check_span, {"type": "number", "minimum": 0, "maximum": MAX_SPAN_S})
WINDOW = Kind(_check_window, {"type": "number", "exclusiveMinimum": 0, "maximum": MAX_SPAN_S})
CLOCK = Kind(_check_clock, {"type": "string", "pattern": "^([01][0-9]|2[0-3]):[0-5][0-9]$"})
DATE = Kind(
    _check_date,
    {"type": "string", "pattern": "^([0-9]{4}-)?(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])$"},
)
FLAG = Kind(_check_flag, {"type": "boolean"})
