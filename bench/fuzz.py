"""Whatever comes from outside, by a coverage-guided fuzzer: no error but ProtocolError, and nothing accepted wrongly.

Needs atheris (`pip install atheris`), which is in no lock file since it has no wheels for small computers.
Fields, by target: `runs`, `seconds`, `coverage` (edges of the decoder's code), `failed` (with the input's file).
"""

import argparse
import contextlib
import importlib
import json
import math
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from edge.links.nmea_lines import NmeaLines
from edge.links.serial_talk import talk_of
from hardware.catalogue import DeviceModel, catalogue
from protocols import (
    alarm,
    bthome,
    cbor,
    command,
    cursor,
    gatt,
    nmea,
    pack,
    refusal,
    senml,
    status,
    tally,
    topics,
    update,
)
from protocols.errors import ProtocolError
from protocols.frames import FrameReader, with_check
from protocols.gatt import racp
from protocols.modbus import MbapStream, mbap, parse_request, parse_rtu, read_request, response_payload, rtu
from protocols.nmea.sentence import checksum
from protocols.provisioning import REQUEST, SAVE, Device, Lines, Technician, Values
from protocols.reading import Reading, to_float
from runtime.aes import encrypt_blocks

_ROOT = Path(__file__).parent.parent
_REQUESTS = [read_request(function, 16, 3) for function in (1, 2, 3, 4)]
_SENTENCES = ("RMC", "GGA", "GSV", "VTG", "HDT", "ZDA")
_DONE = re.compile(r"Done (\d+) runs? in (\d+) second")
_COVERAGE = re.compile(r"cov: (\d+)")


def main() -> int:
    """Fuzz each target for so long, and print one line of JSON; 1 if something was found."""
    parser = argparse.ArgumentParser(prog="kerb bench fuzz", description=__doc__)
    parser.add_argument("--target", choices=sorted(TARGETS), action="append", help="default: all, one after another")
    parser.add_argument("--seconds", type=int, default=60, help="for each target (default 60)")
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        _fuzz(options.target[0], options.seconds)
    result = {target: _measure(target, options.seconds) for target in options.target or TARGETS}
    print(json.dumps(result))
    return int(any(each["failed"] for each in result.values()))


def _measure(target: str, seconds: int) -> dict[str, object]:
    worker = [sys.executable, "-m", "bench.fuzz", "--worker", "--target", target, "--seconds", str(seconds)]
    done = subprocess.run(worker, cwd=_ROOT, stderr=subprocess.PIPE, text=True, check=False)
    runs, coverage = _DONE.search(done.stderr), _COVERAGE.findall(done.stderr)
    failed = "" if done.returncode == 0 else done.stderr[-2000:]
    if failed:
        print(failed, file=sys.stderr)
    return {
        "runs": int(runs[1]) if runs else 0,
        "seconds": int(runs[2]) if runs else 0,
        "coverage": int(coverage[-1]) if coverage else 0,
        "failed": failed.splitlines()[-1] if failed else "",
    }


def _fuzz(target: str, seconds: int) -> None:
    """Never returns: the fuzzer ends the process."""
    try:
        atheris: Any = importlib.import_module("atheris")
    except ImportError:
        raise SystemExit("kerb bench fuzz needs atheris: .venv/bin/pip install atheris") from None

    check = TARGETS[target]
    atheris.instrument_all()

    def once(data: bytes) -> None:
        with contextlib.suppress(ProtocolError):
            check(data)

    found = f"-artifact_prefix={tempfile.gettempdir()}/kerb-fuzz-{target}-"
    atheris.Setup([sys.argv[0], f"-max_total_time={seconds}", "-max_len=600", "-timeout=10", found], once)
    atheris.Fuzz()


def _modbus(data: bytes) -> None:
    for request in _REQUESTS:
        _tried(partial(_answer, request, data))
    stream = MbapStream()
    for transaction, unit, pdu in stream.feed(data[:20]) + stream.feed(data[20:]):
        assert mbap(transaction, unit, pdu) in data
    _tried(lambda: parse_request(data))
    unit, pdu = parse_rtu(data)
    assert rtu(unit, pdu) == data


def _answer(request: bytes, data: bytes) -> None:
    assert len(response_payload(request, data)) == (1 if request[0] in (1, 2) else 6)


def _gatt(data: bytes) -> None:
    uuid16 = gatt.CHARACTERISTICS[data[0] % len(gatt.CHARACTERISTICS)] if data else 0
    readings = gatt.decode(uuid16, data[1:])
    _sound(readings)
    units = gatt.metrics_of(uuid16)
    assert all(each.unit in units[each.metric] for each in readings)
    assert gatt.decode(uuid16, gatt.encode(uuid16, readings)) == readings


def _racp(data: bytes) -> None:
    readings = racp.decode(data)
    assert racp.decode(racp.encode(readings)) == readings


def _bthome(data: bytes) -> None:
    for each in bthome.decode(data).readings:
        _sound([each])
        assert each.unit in bthome.units_of(each.metric)
    _tried(lambda: bthome.decode(data, lambda info, counter, sealed: sealed[: -bthome.CHECK_SIZE]))


def _nmea(data: bytes) -> None:
    for text in NmeaLines().feed(data):
        _tried(partial(_sentence, text))
    # The rest of the way, past a checksum that no fuzzer guesses
    kind = _SENTENCES[data[0] % len(_SENTENCES)] if data else "RMC"
    _sentence(nmea.sentence(f"GP{kind},{data[1:70].decode('latin-1')}").encode("latin-1"))


def _sentence(text: bytes) -> None:
    parsed = nmea.parse(text)
    body, _, given = text.strip().removeprefix(b"$").partition(b"*")
    assert checksum(body) == int(given, 16)
    readings = nmea.decode(parsed)
    _sound(readings)
    assert all(nmea.METRICS[parsed.type][each.metric] == each.unit for each in readings)


_FRAMED = [model for model in catalogue().values() if model.serial is not None and model.serial.frame is not None]


def _frames(data: bytes) -> None:
    model: DeviceModel = _FRAMED[data[0] % len(_FRAMED)] if data else _FRAMED[0]
    assert model.serial
    assert model.serial.frame
    format_ = model.serial.frame.format
    for frame in FrameReader(format_).feed(data[1:]):
        head = len(frame) - len(with_check(format_, b""))
        assert with_check(format_, frame[:head]) == frame
    talk = talk_of(model)
    checked = with_check(format_, format_.start + data[1:])  # and past a check that no fuzzer guesses
    for at in range(0, len(checked), 7):
        for _, readings in talk.feed(checked[at : at + 7]):
            _sound(readings)


def _messages(data: bytes) -> None:
    """What comes by MQTT."""
    for decode in (
        command.decode_request,
        command.decode_result,
        cursor.decode,
        refusal.decode,
        status.decode,
        tally.decode,
        update.decode_offer,
        update.decode_step,
        update.decode_part,
    ):
        _tried(partial(decode, data))
    _tried(lambda: topics.parse(data.decode("utf-8", "replace")))
    _tried(lambda: alarm.decode_following("it", 0, data.decode("utf-8", "replace")))
    _tried(lambda: _sound(senml.decode_pack(data, "it").readings))
    request = command.decode_request(data)
    assert command.decode_request(command.encode_request(request)) == request


def _packs(data: bytes) -> None:
    _tried(lambda: pack.decode_header(data))
    _tried(lambda: pack.decode_body(data))
    item, end = cbor.decode(data)
    assert end <= len(data)
    again, _ = cbor.decode(cbor.encode(_plain(item)))
    assert repr(_plain(again)) == repr(_plain(item))  # by their texts, since NaN is not equal to itself


def _provisioning(data: bytes) -> None:
    """No message of somebody without the secret is carried out, and the device goes on answering."""
    device = Device("it", bytes(16), lambda: bytes(16), encrypt_blocks, failed=0, now_ms=0)
    for number in range(0, len(data), 50):
        kinds = [what for what, _ in device.receive(data[number : number + 50], number)]
        assert REQUEST not in kinds
        assert kinds.count(SAVE) < 2  # it was the right proof
    _tried(lambda: Technician("it", bytes(16), bytes(16), encrypt_blocks).prove(data))
    for framing in (Lines(), Values()):
        found = framing.feed(data[:99]) + framing.feed(data[99:])
        assert all(0 < len(message) < len(data) for message in found)


def _plain(item: object) -> object:
    """The item with lists in the place of typed arrays, which are read as tuples and would be written as lists."""
    if type(item) in (list, tuple):
        return [_plain(each) for each in item]  # type: ignore[attr-defined]
    if isinstance(item, dict):
        return {key: _plain(value) for key, value in item.items()}
    return item


TARGETS: dict[str, Callable[[bytes], None]] = {
    "modbus": _modbus,
    "gatt": _gatt,
    "racp": _racp,
    "bthome": _bthome,
    "nmea": _nmea,
    "frames": _frames,
    "messages": _messages,
    "packs": _packs,
    "provisioning": _provisioning,
}


def _tried(call: Callable[[], object]) -> None:
    with contextlib.suppress(ProtocolError):
        call()


def _sound(readings: Sequence[Reading]) -> None:
    for each in readings:
        if each.value is not None and not isinstance(each.value, (str, bool)):
            assert math.isfinite(to_float(each.value))


if __name__ == "__main__":
    sys.exit(main())
