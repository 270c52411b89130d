"""kerb plan: makes, signs and checks medication plans (protocols/medication.py) from TOML or JSON.

kerb plan key FILE
kerb plan make PLAN --key FILE --out FILE
kerb plan check FILE --key FILE.pub [--device ID]

A plan as a person writes it:

    device = "dispenser-1"
    version = 3                       # grows with every plan of this device
    person = "Wang Xiuying"
    language = "zh"                   # of the display: en or zh
    from = 2026-11-25T00:00:00+08:00
    until = 2026-12-25T00:00:00+08:00
    zone = "Asia/Shanghai"            # a name of the IANA time zone database
    window_minutes = 60               # how long after its time a dose may be dispensed
    least_gap_minutes = 240           # at least so long between two doses
    doses = 28                        # in a new cartridge; each compartment holds all of the medicines
    times = [{ at = "08:00" }, { at = "20:00", days = "mon wed fri" }]
    [[medicines]]
    name = { en = "Aspirin", zh = "阿司匹林" }
    amount = { en = "1 tablet", zh = "1片" }
    [[warnings]]
    en = "No alcohol"
    zh = "不要饮酒"

Plans are signed with ECDSA on P-256: whoever signs thousands of them keeps no count of signatures, a key restored from
a backup does no harm, and it may live in a hardware token. Firmware images are few, and have LMS signatures instead.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, utils
from pydantic import AfterValidator, AwareDatetime, Field, ValidationError

from hardware.catalogue.table import Id, Name, Table
from hardware.fonts import FontError, glyphs
from protocols import medication
from protocols.errors import DecodeError
from protocols.medication import MedicationPlan, Medicine
from protocols.schedule import EVERY_DAY, Entry
from runtime.files import write_whole
from runtime.toml import TomlFileError, load_toml, read_text

_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_NUMBER_BYTES = 32
_AFTER = timedelta(days=400)  # for which the zone's changes are told: a device may run on behind the plan's end


class PlanError(Exception):
    """A plan, or the key for it, that cannot be used: the message says why."""


def _zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError):
        raise ValueError(f"there is no time zone {name}") from None
    return name


def _weekdays(text: str) -> str:
    for day in text.split():
        if day not in _DAYS:
            raise ValueError(f"{day} is no day; there are {', '.join(_DAYS)}")
    return text


class _Time(Table):
    at: Annotated[str, Field(pattern=r"^([01][0-9]|2[0-3]):[0-5][0-9]$")]
    days: Annotated[str, AfterValidator(_weekdays)] = " ".join(_DAYS)

    def entry(self) -> Entry:
        hour, minute = self.at.split(":")
        days = sum(1 << _DAYS.index(day) for day in set(self.days.split()))
        return Entry(int(hour) * 60 + int(minute), days & EVERY_DAY)


class _Medicine(Table):
    name: Name
    amount: Name


class _Written(Table):
    """A plan as its file has it."""

    device: str = Id
    version: int
    person: str
    language: Literal["en", "zh"]
    from_: AwareDatetime = Field(alias="from")
    until: AwareDatetime
    zone: Annotated[str, AfterValidator(_zone)]
    window_minutes: int
    least_gap_minutes: int
    doses: int
    times: tuple[_Time, ...]
    medicines: tuple[_Medicine, ...]
    warnings: tuple[Name, ...] = ()


def read(path: Path) -> MedicationPlan:
    """The plan in a TOML or JSON file. Raises PlanError, TomlFileError, FontError."""
    written = _read_json(path) if path.suffix == ".json" else load_toml(path, _Written)
    plan = MedicationPlan(
        device=written.device,
        version=written.version,
        from_s=int(written.from_.timestamp()),
        until_s=int(written.until.timestamp()),
        person=written.person,
        language=written.language,
        window_s=60 * written.window_minutes,
        least_gap_s=60 * written.least_gap_minutes,
        entries=tuple(sorted(time.entry() for time in written.times)),
        zone=offsets(written.zone, written.from_, written.until + _AFTER),
        doses=written.doses,
        medicines=tuple(Medicine(_pair(each.name), _pair(each.amount)) for each in written.medicines),
        warnings=tuple(_pair(each) for each in written.warnings),
        characters="",
        glyphs=b"",
    )
    characters = medication.characters_of(plan)
    plan = plan._replace(characters=characters, glyphs=glyphs(characters))
    try:
        return medication.decode(medication.encode(plan))  # what a device would refuse is not made
    except DecodeError as error:
        raise PlanError(f"{path}: {error.reason}") from error


def _read_json(path: Path) -> _Written:
    try:
        return _Written.model_validate_json(read_text(path))
    except ValidationError as error:
        first = error.errors()[0]
        raise PlanError(f"{path}: {'.'.join(map(str, first['loc']))}: {first['msg']}") from error


def _pair(name: Name) -> tuple[str, str]:
    return name.en, name.zh


def offsets(zone: str, since: datetime, until: datetime) -> tuple[tuple[int, int], ...]:
    """The offsets of a zone from UTC: (from when on, in Unix seconds, minutes); the first one is from always on."""
    found = [(0, _offset(zone, since))]
    low = since.astimezone(UTC)
    while low < until:
        high = low + timedelta(days=1)
        if _offset(zone, high) != found[-1][1]:
            while high - low > timedelta(seconds=1):
                middle = low + (high - low) // 2
                low, high = (low, middle) if _offset(zone, middle) != found[-1][1] else (middle, high)
            found.append((round(high.timestamp()) // 60 * 60, _offset(zone, high)))
        low = high
    return tuple(found)


def _offset(zone: str, at: datetime) -> int:
    offset = at.astimezone(ZoneInfo(zone)).utcoffset()
    assert offset is not None  # `at` is aware
    return int(offset.total_seconds()) // 60


# --- keys and signatures ---


def make_key(private: Path) -> bytes:
    """Make a private key in this file, readable by its owner; returns the public one. Raises FileExistsError."""
    if private.exists():
        raise FileExistsError(f"{private} is there already; a signing key is not made anew")
    key = ec.generate_private_key(ec.SECP256R1())
    encodings = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    write_whole(private, key.private_bytes(*encodings))
    return _point(key)


def public_key(private: Path) -> bytes:
    """The public key of a private one. Raises PlanError."""
    return _point(_read_key(private))


def _point(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.public_key().public_bytes(serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint)


def _read_key(private: Path) -> ec.EllipticCurvePrivateKey:
    try:
        key = serialization.load_pem_private_key(private.read_bytes(), None)
    except (ValueError, TypeError) as error:
        raise PlanError(f"{private}: is no private key") from error
    if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256R1):
        raise PlanError(f"{private}: is no key of P-256; make one with kerb plan key")
    return key


def sign(private: Path, document: bytes) -> bytes:
    """The plan on the wire. Raises PlanError."""
    signature = _read_key(private).sign(medication.PURPOSE + document, ec.ECDSA(hashes.SHA256()))
    numbers = utils.decode_dss_signature(signature)
    return b"".join(number.to_bytes(_NUMBER_BYTES, "big") for number in numbers) + document


def verify(point: bytes, data: bytes) -> MedicationPlan:
    """The plan in these bytes, signed by the holder of this public key. Raises PlanError, DecodeError."""
    signature, document = medication.split(data)
    numbers = [int.from_bytes(signature[at : at + _NUMBER_BYTES], "big") for at in (0, _NUMBER_BYTES)]
    try:
        key = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), point)
        key.verify(utils.encode_dss_signature(*numbers), medication.PURPOSE + document, ec.ECDSA(hashes.SHA256()))
    except ValueError as error:
        raise PlanError("the key is no public key of P-256") from error
    except InvalidSignature as error:
        raise PlanError("was not signed with this key") from error
    return medication.decode(document)


# --- the command line ---


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what the command line says; the exit code."""
    parser = argparse.ArgumentParser(prog="kerb plan", description="Medication plans of Kerb's dispensers.")
    commands = parser.add_subparsers(dest="command", required=True)
    key = commands.add_parser("key", help="make the key that signs plans; its public half goes to FILE.pub, in hex")
    key.add_argument("file", type=Path)
    make = commands.add_parser("make", help="make a signed plan")
    make.add_argument("plan", type=Path, help="the plan as TOML, or as JSON if its name ends so")
    make.add_argument("--key", type=Path, required=True)
    make.add_argument("--out", type=Path, required=True)
    check = commands.add_parser("check", help="verify a signed plan and say what is in it")
    check.add_argument("file", type=Path)
    check.add_argument("--key", type=Path, required=True, help="the public key, FILE.pub")
    check.add_argument("--device", help="refuse a plan for another device than this one")
    options = parser.parse_args(arguments)
    try:
        if options.command == "key":
            _key(options.file)
        elif options.command == "make":
            _make(options.plan, options.key, options.out)
        else:
            _check(options.file, options.key, options.device)
    except (PlanError, FontError, TomlFileError, DecodeError, OSError, ValueError) as error:
        print(f"kerb plan: {error}", file=sys.stderr)
        return 2
    return 0


def _key(file: Path) -> None:
    public = file.with_suffix(file.suffix + ".pub")
    public.write_text(make_key(file).hex() + "\n")
    print(f"{file}: the private key; keep it, and keep it secret")
    print(f"{public}: its public half, which goes on each dispenser")


def _make(source: Path, key: Path, out: Path) -> None:
    plan = read(source)
    data = sign(key, medication.encode(plan))
    medication.split(data)  # not too large
    write_whole(out, data, mode=0o644)
    print(f"{out}: version {plan.version} for {plan.device}, {len(data)} bytes")


def _check(file: Path, key: Path, device: str | None) -> None:
    plan = verify(bytes.fromhex(key.read_text().strip()), file.read_bytes())
    if device is not None and plan.device != device:
        raise PlanError(f"{file}: is for {plan.device}, not for {device}")
    told = plan._asdict() | {"glyphs": f"{len(plan.characters)} pictures"}
    for name in ("from_s", "until_s"):
        told[name] = datetime.fromtimestamp(told[name], UTC).isoformat()
    print(json.dumps(told, ensure_ascii=False, indent=2))


if __name__ == "__main__":
    sys.exit(main())
