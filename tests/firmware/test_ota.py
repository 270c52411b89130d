"""Updates over the air: patches, manifests, the campaign of cuts on MicroPython, and a compiled image that starts."""

import json
import os
import subprocess
import zlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.parts import devices, ota_change, ota_offers
from bench.parts.micropython import run_micropython
from firmware.boot import slots
from hardware import images, signing
from hardware.patch import make_patch
from hardware.sim.device import HEAP, ROOT, micropython, prepare
from protocols import image, lms
from protocols.errors import DecodeError, TruncatedError


def applied(patch: bytes, old: bytes, length: int) -> bytes:
    plain = zlib.decompressobj(-image.WINDOW_BITS).decompress(patch)
    at = 0

    def read(count: int) -> bytes:
        nonlocal at
        at += count
        return plain[at - count : at]

    return b"".join(image.patched(read, lambda place, count: old[place : place + count], length))


# --- patches ---

pieces = st.lists(st.binary(min_size=1, max_size=40), min_size=1, max_size=8)


@given(pieces, st.lists(st.one_of(st.integers(0, 7), st.binary(max_size=30)), max_size=12))
def test_a_patch_makes_the_new_image(old: list[bytes], plan: list[int | bytes]) -> None:
    """The new image is made of pieces of the old one, in any order, and of new ones."""
    new = b"".join(part if isinstance(part, bytes) else old[part % len(old)] for part in plan)
    whole = b"".join(old)
    assert applied(make_patch(whole, new), whole, len(new)) == new
    assert applied(make_patch(b"", new), b"", len(new)) == new


def test_what_has_moved_is_copied() -> None:
    old = os.urandom(5000)
    new = old[3000:] + b"between" + old[:3000]
    assert len(make_patch(old, new)) < 40


@pytest.mark.parametrize(
    ("plain", "error"),
    [
        (b"", TruncatedError),
        (b"\x06ab", TruncatedError),  # three new bytes, but two are there
        (b"\x09\x00", TruncatedError),  # four copied from an old image of three
        (b"\x03\x01", TruncatedError),  # one from before its beginning
        (b"\x16" + bytes(11), DecodeError),  # eleven of ten bytes
        (b"\x00", DecodeError),  # nothing at all
        (b"\xff\xff\xff\xff\xff", DecodeError),
    ],
)
def test_a_bad_patch_is_refused(plain: bytes, error: type[DecodeError]) -> None:
    deflating = zlib.compressobj(9, zlib.DEFLATED, -image.WINDOW_BITS)
    with pytest.raises(error):
        applied(deflating.compress(plain) + deflating.flush(), b"old", 10)


def test_the_patch_for_five_changed_lines_is_small(tmp_path: Path) -> None:
    assert ota_change.patch_percent(tmp_path) <= 15


# --- manifests ---

GOOD = image.Manifest("pico-2-w", "sensor_node", 7, "0.2.0", bytes(32), (("firmware/main.mpy", 812), ("a.mpy", 1)))


def test_a_manifest_comes_back() -> None:
    assert image.decode_manifest(image.encode_manifest(GOOD)) == GOOD
    assert image.size(GOOD) == 813


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("board", "a/b", "must be ids"),
        ("app", "", "must be ids"),
        ("version", 0, "out of range"),
        ("version", True, "out of range"),
        ("version", 1 << 30, "out of range"),
        ("name", "x" * 65, "out of range"),
        ("sha256", "00", "out of range"),
        ("sha256", "zz", "is not one"),
        ("files", [], "0 files"),
        ("files", [["a", 1]] * 2, "there twice"),
        ("files", [["../a", 1]], "is no path"),
        ("files", [["/a", 1]], "is no path"),
        ("files", [["a//b", 1]], "is no path"),
        ("files", [["a b", 1]], "is no path"),
        ("files", [["a", -1]], "is no size"),
        ("files", [["a", 1 << 20], ["b", 1 << 20], ["c", 1 << 20]], "too many"),
        ("files", [["a"]], "is not one"),
        ("files", [[f"f{number}", 1] for number in range(201)], "201 files"),
    ],
)
def test_a_bad_manifest_is_refused(key: str, value: object, said: str) -> None:
    table = {**json.loads(image.encode_manifest(GOOD)), key: value}
    with pytest.raises(DecodeError, match=said):
        image.decode_manifest(json.dumps(table).encode())


@pytest.mark.parametrize("data", [b"", b"[]", b"{}", b"{" * 9000])
def test_what_is_no_manifest(data: bytes) -> None:
    with pytest.raises(DecodeError):
        image.decode_manifest(data)


# --- the signing key ---


def test_each_signature_is_verified_and_no_one_time_key_is_used_twice(tmp_path: Path) -> None:
    private = tmp_path / "signing.key"
    public = signing.make_key(private)
    used = set()
    for number in range(34):  # more than one tree of 32
        signature = signing.sign(private, b"the same message")
        lms.verify(public, b"the same message", signature)
        root_leaf, rest = signature[4:8], signature[-2348 - 56 :]
        used.add((root_leaf, rest[:60]))
        assert len(used) == number + 1
    assert signing.public_key(private) == public
    assert private.stat().st_mode & 0o077 == 0
    with pytest.raises(FileExistsError, match="not made anew"):
        signing.make_key(private)


# --- on the device ---


def test_cut_everywhere_on_micropython(tmp_path: Path) -> None:
    ota_offers.make(tmp_path, files=4, file_bytes=500)
    found = run_micropython("bench/parts/ota_cuts.py", tmp_path, 60)
    assert found.pop("cuts") > 1000
    assert found == {"unbootable": 0, "stuck": 0, "refused": 9, "accepted": 0}


def test_the_campaign_notices_a_slot_that_is_marked_too_early(tmp_path: Path) -> None:
    ota_offers.make(tmp_path, files=4, file_bytes=500)
    assert run_micropython("tests/firmware/ota_marked_early.py", tmp_path)["unbootable"] > 0


def test_memory_to_apply_a_patch(tmp_path: Path) -> None:
    ota_offers.make(tmp_path, files=30)
    assert run_micropython("bench/parts/ota_memory.py", tmp_path)["peak_bytes"] <= 16384


def test_slots_without_a_record(tmp_path: Path) -> None:
    for slot in slots.SLOTS:
        (tmp_path / slot).mkdir()
    assert slots.choose(str(tmp_path)) == "a"
    (tmp_path / "b" / slots.MANIFEST).write_bytes(image.encode_manifest(GOOD))
    assert slots.choose(str(tmp_path)) == "b"
    (tmp_path / "slots.json").write_text("{")
    assert slots.choose(str(tmp_path)) == "b"


def test_a_compiled_image_starts_from_its_slot(tmp_path: Path) -> None:
    """The wearable, chosen by boot/, on a trial: as on a board, but for the simulated hardware."""
    prepare(tmp_path, board="kerb-wearable", device="w", host="127.0.0.1", port=1, recording=0)
    devices.admit(tmp_path / "gateway", "w", tmp_path)
    for path, data in images.files("wearable", "firmware.hal.sim").items():
        target = tmp_path / "b" / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)
    slots.save(str(tmp_path), {"good": "a", "trial": "b", "tries": 1})
    (tmp_path / "slots.py").write_bytes((ROOT / "firmware/boot/slots.py").read_bytes())
    script = f"import slots; slots.start({str(tmp_path)!r})"
    environment = {"KERB_BOARD": f"{tmp_path}/board.json", "KERB_STATE": str(tmp_path)}
    process = subprocess.Popen(
        [micropython(), "-X", f"heapsize={HEAP}", "-c", script],
        env={**environment, "MICROPYPATH": f"{tmp_path}:{tmp_path}/host:.frozen"},
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "kerb 0.1.0 wearable w\n"
            assert process.stdout.readline().startswith("uplink: ")
        finally:
            process.kill()
    assert slots.load(str(tmp_path)) == {"good": "a", "trial": "b", "tries": 0}
    assert slots.choose(str(tmp_path)) == "a"
