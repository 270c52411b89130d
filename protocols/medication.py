"""Medication plans: what a dispenser gives to whom and when; one document, which a pharmacy signs.

A plan on the wire is 64 bytes of signature (ECDSA on P-256 with SHA-256: r, s) and the document behind it. Signed are
PURPOSE and the document. The document is CBOR, one array in this order, in the only form that `encode` gives:

    format (1), device, version, valid from, valid until (Unix seconds), person, language ("en" or "zh"),
    window (s), least gap (s), entries [[minute of the day, weekdays], ...],
    zone [[from when on (Unix seconds), offset from UTC in minutes], ...], doses in a cartridge,
    medicines [[[name in en, in zh], [amount in en, in zh]], ...], warnings [[text in en, in zh], ...],
    characters, glyphs

A dose is one compartment, which holds all of the medicines in their amounts. All compartments of a plan's cartridges
are alike: a dose that was missed stays in its compartment, and never shifts what comes next.

characters are those of the plan's own texts, in ascending order, and glyphs their pictures of 16 x 16 dots, 32 bytes
each: no display has all of Chinese, and a name that it cannot show is none.
"""

from collections import namedtuple

from . import cbor
from .errors import DecodeError
from .schedule import Entry, Plan, problem_of
from .topics import is_id

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NamedTuple

    class Medicine(NamedTuple):
        """What a compartment holds: name and amount ("1 tablet"), each in en and zh."""

        name: "tuple[str, str]"
        amount: "tuple[str, str]"

    class MedicationPlan(NamedTuple):
        """A document. Pairs of texts are en and zh; `zone` is as protocols/schedule.py has it."""

        device: str
        version: int
        from_s: int
        until_s: int
        person: str
        language: str
        window_s: int
        least_gap_s: int
        entries: "tuple[Entry, ...]"
        zone: "tuple[tuple[int, int], ...]"
        doses: int
        medicines: "tuple[Medicine, ...]"
        warnings: "tuple[tuple[str, str], ...]"
        characters: str
        glyphs: bytes

else:
    Medicine = namedtuple("Medicine", ("name", "amount"))
    MedicationPlan = namedtuple(
        "MedicationPlan",
        (
            "device", "version", "from_s", "until_s", "person", "language", "window_s", "least_gap_s", "entries",
            "zone", "doses", "medicines", "warnings", "characters", "glyphs",
        ),
    )  # fmt: skip

PURPOSE = b"kerb medication plan\n"  # so that no signature over anything else can be taken for one over a plan
SIGNATURE_BYTES = 64
MAX_BYTES = 8192
LANGUAGES = ("en", "zh")
GLYPH_BYTES = 32
_FORMAT = 1
_SUBJECT = "medication plan"
_MAX_VERSION = 1 << 30
_MAX_TIME_S = 1 << 40
_MAX_DOSES = 100
_MOST_OFFSET = 14 * 60  # minutes
# How many there may be, and of how many characters each.
_PERSON, _NAME, _AMOUNT, _WARNING = 32, 32, 16, 96
_ENTRIES, _ZONE, _MEDICINES, _WARNINGS, _CHARACTERS = 12, 40, 8, 6, 128


def split(data: bytes) -> "tuple[bytes, bytes]":
    """Signature and document of a plan on the wire. Raises DecodeError."""
    if not SIGNATURE_BYTES < len(data) <= MAX_BYTES:
        raise DecodeError(_SUBJECT, f"{len(data)} bytes are none")
    return data[:SIGNATURE_BYTES], data[SIGNATURE_BYTES:]


def encode(plan: MedicationPlan) -> bytes:
    """The document."""
    return cbor.encode([_FORMAT] + list(plan))


def decode(document: bytes) -> MedicationPlan:
    """The plan in a document. Raises DecodeError for whatever is not exactly as `encode` would write it."""
    items, end = cbor.decode(document)
    if end != len(document) or not isinstance(items, list) or len(items) != 16 or items[:1] != [_FORMAT]:
        raise DecodeError(_SUBJECT, "is not a document of format 1")
    _check_numbers(MedicationPlan(*items[1:]))
    items[9] = tuple([Entry(*_whole(row, 2)) for row in _rows("entries", items[9], 1, _ENTRIES)])
    items[10] = tuple([_whole(row, 2) for row in _rows("zone", items[10], 1, _ZONE)])
    items[12] = tuple([_medicine(row) for row in _rows("medicines", items[12], 1, _MEDICINES)])
    items[13] = tuple([_pair(row, _WARNING) for row in _rows("warnings", items[13], 0, _WARNINGS)])
    plan = MedicationPlan(*items[1:])
    problem = problem_of(schedule_of(plan)) or _zone_problem(plan.zone) or _glyph_problem(plan)
    if problem:
        raise DecodeError(_SUBJECT, problem)
    if encode(plan) != document:
        raise DecodeError(_SUBJECT, "is not in its canonical form")
    return plan


def schedule_of(plan: MedicationPlan) -> Plan:
    """When its doses are due."""
    return Plan(plan.version, plan.entries, plan.window_s, plan.least_gap_s, plan.until_s)


def texts(plan: MedicationPlan) -> "list[str]":
    """All that a display may have to show of it."""
    pairs = list(plan.warnings)
    for medicine in plan.medicines:
        pairs += [medicine.name, medicine.amount]
    return [plan.person] + [text for pair in pairs for text in pair]


def characters_of(plan: MedicationPlan) -> str:
    """Which characters its texts have, in ascending order; those that every display has, ASCII, left out."""
    return "".join(sorted({character for text in texts(plan) for character in text if ord(character) > 126}))


def _check_numbers(plan: MedicationPlan) -> None:
    bounds = (
        ("version", plan.version, 1, _MAX_VERSION),
        ("valid from", plan.from_s, 0, _MAX_TIME_S),
        ("valid until", plan.until_s, 1, _MAX_TIME_S),
        ("window", plan.window_s, 1, 86400),
        ("least gap", plan.least_gap_s, 0, 86400),
        ("doses", plan.doses, 1, _MAX_DOSES),
    )
    for name, number, low, high in bounds:
        if not isinstance(number, int) or isinstance(number, bool) or not low <= number <= high:
            raise DecodeError(_SUBJECT, f"{name} is not between {low} and {high}")
    if plan.until_s <= plan.from_s:
        raise DecodeError(_SUBJECT, "it ends before it begins")
    if not isinstance(plan.device, str) or not is_id(plan.device):
        raise DecodeError(_SUBJECT, "device is no id")
    if plan.language not in LANGUAGES:
        raise DecodeError(_SUBJECT, "language is neither en nor zh")
    _text(plan.person, _PERSON)


def _rows(name: str, rows: "Any", fewest: int, most: int) -> "list[Any]":
    if not isinstance(rows, list) or not fewest <= len(rows) <= most:
        raise DecodeError(_SUBJECT, f"{name} are not {fewest} to {most}")
    return rows


def _whole(row: "Any", count: int) -> "tuple[int, int]":
    numbers = isinstance(row, list) and [isinstance(part, int) and not isinstance(part, bool) for part in row]
    if not numbers or len(row) != count or not all(numbers):
        raise DecodeError(_SUBJECT, f"a row is not {count} whole numbers")
    return tuple(row)


def _medicine(row: "Any") -> Medicine:
    if not isinstance(row, list) or len(row) != 2:
        raise DecodeError(_SUBJECT, "a medicine is not its name and amount")
    return Medicine(_pair(row[0], _NAME), _pair(row[1], _AMOUNT))


def _pair(row: "Any", longest: int) -> "tuple[str, str]":
    if not isinstance(row, list) or len(row) != 2:
        raise DecodeError(_SUBJECT, "a text is not there in en and in zh")
    return _text(row[0], longest), _text(row[1], longest)


def _text(text: "Any", longest: int) -> str:
    if not isinstance(text, str) or not 0 < len(text) <= longest or text != text.strip():
        raise DecodeError(_SUBJECT, f"a text is not 1 to {longest} characters")
    if any([ord(character) < 32 or ord(character) > 0xFFFF or ord(character) == 127 for character in text]):
        raise DecodeError(_SUBJECT, "a text has characters that no display shows")
    return text


def _zone_problem(zone: "tuple[tuple[int, int], ...]") -> str:
    for place, (since_s, offset) in enumerate(zone):
        if not 0 <= since_s <= _MAX_TIME_S or (place and since_s <= zone[place - 1][0]) or abs(offset) > _MOST_OFFSET:
            return "its zone must have times in ascending order and offsets of at most 14 hours"
    return ""


def _glyph_problem(plan: MedicationPlan) -> str:
    if plan.characters != characters_of(plan) or len(plan.characters) > _CHARACTERS:
        return f"its characters are not those of its texts, or more than {_CHARACTERS}"
    if not isinstance(plan.glyphs, bytes) or len(plan.glyphs) != GLYPH_BYTES * len(plan.characters):
        return "it has not one glyph for each of its characters"
    return ""
