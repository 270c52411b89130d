"""Keys that a device makes itself: right by an implementation that is not ours, and the same on MicroPython."""

import subprocess

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_der_private_key
from hypothesis import example, given, settings
from hypothesis import strategies as st

from firmware.core import p256
from hardware.sim.device import ROOT, micropython

ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551


def point(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)


@given(st.integers(1, ORDER - 1))
@example(1)
@example(2)
@example((ORDER - 1) // 2)
@example(ORDER - 2)
@example(ORDER - 1)
@settings(deadline=None, max_examples=60)
def test_the_public_half_of_a_scalar(scalar: int) -> None:
    assert p256.public_point(scalar) == point(ec.derive_private_key(scalar, ec.SECP256R1()))


def test_a_new_key_can_be_read_by_others_and_is_new() -> None:
    made = [p256.new_key() for _ in range(4)]
    assert len(set(made)) == 4
    for key in made:
        read = load_der_private_key(key, None)
        assert isinstance(read, ec.EllipticCurvePrivateKey)
        assert point(read) == p256.point_of(key)


def test_micropython_reckons_the_same() -> None:
    scalar = 0xC88F01F510D9AC3F70A292DAA2316DE544E9AAB8AFE84049C62A9C57862D1433  # RFC 5903, 8.1: the initiator's
    known = "DAD0B65394221CF9B051E1FECA5787D098DFE637FC90B9EF945D0C3772581180"
    program = f"from firmware.core import p256; print(p256.public_point({scalar}).hex()); print(p256.new_key().hex())"
    done = subprocess.run(
        [micropython(), "-X", "heapsize=190K", "-c", program],
        env={"MICROPYPATH": f"{ROOT}:.frozen"}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    public, key = done.stdout.split()
    assert public[2:66].upper() == known
    assert public == p256.public_point(scalar).hex()
    load_der_private_key(bytes.fromhex(key), None)
