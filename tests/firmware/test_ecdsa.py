"""Signatures on P-256: what an implementation that is not ours signs is believed, and nothing else."""

import subprocess

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, utils
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import example, given, settings
from hypothesis import strategies as st

from firmware.core import ecdsa, p256
from hardware.sim.device import ROOT, micropython
from protocols.errors import SignatureError

# RFC 6979, A.2.5: P-256 with SHA-256, message "sample".
POINT = bytes.fromhex(
    "0460FED4BA255A9D31C961EB74C6356D68C049B8923B61FA6CE669622E60F29FB6"
    "7903FE1008B8BC99A41AE9E95628BC64F2F1B20C2D7E9F5177A3C294D4462299"
)
SIGNATURE = bytes.fromhex(
    "EFD48B2AACB6A8FD1140DD9CD45E81D69D2C877B56AAF991C34D0EA84EAF3716"
    "F7CB1C942D657C41D436C7A1B6E29F65F3E900DBB9AFF4064DC4AB2F843ACDA8"
)


def believed(point: bytes, message: bytes, signature: bytes) -> bool:
    try:
        for _ in ecdsa.steps(point, message, signature):
            pass
    except SignatureError:
        return False
    return True


def signed(scalar: int, message: bytes) -> tuple[bytes, bytes]:
    key = ec.derive_private_key(scalar, ec.SECP256R1())
    numbers = utils.decode_dss_signature(key.sign(message, ec.ECDSA(hashes.SHA256())))
    point = key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    return point, b"".join(number.to_bytes(32, "big") for number in numbers)


def test_the_standard_s_own_example() -> None:
    assert believed(POINT, b"sample", SIGNATURE)
    assert not believed(POINT, b"samplf", SIGNATURE)


@given(st.integers(1, p256.N - 1), st.binary(max_size=80))
@example(1, b"the key is the base point itself")
@example(p256.N - 1, b"the key is the base point's negative, so that their sum is at infinity")
@example(2, b"")
@settings(deadline=None, max_examples=25)
def test_what_others_sign(scalar: int, message: bytes) -> None:
    point, signature = signed(scalar, message)
    assert believed(point, message, signature)
    assert not believed(point, message + b"!", signature)


@given(st.integers(0, 64 * 8 - 1))
@settings(deadline=None, max_examples=25)
def test_no_bit_of_a_signature_may_differ(bit: int) -> None:
    damaged = bytearray(SIGNATURE)
    damaged[bit // 8] ^= 1 << bit % 8
    assert not believed(POINT, b"sample", bytes(damaged))


ZERO, ORDER = bytes(32), p256.N.to_bytes(32, "big")
R, S = SIGNATURE[:32], SIGNATURE[32:]


@pytest.mark.parametrize(
    "signature",
    [b"", R, SIGNATURE + b"\0", ZERO + S, R + ZERO, ORDER + S, R + ORDER, ZERO + ZERO, b"\xff" * 64],
    ids=["empty", "half", "long", "r 0", "s 0", "r n", "s n", "both 0", "beyond"],
)
def test_numbers_that_no_signature_has(signature: bytes) -> None:
    assert not believed(POINT, b"sample", signature)


@pytest.mark.parametrize(
    "point",
    [b"", POINT[:-1], b"\2" + POINT[1:33], b"\4" + bytes(64), POINT[:-1] + b"\0", b"\4" + b"\xff" * 64],
    ids=["empty", "short", "compressed", "zero", "beside the curve", "beyond the field"],
)
def test_points_that_are_no_key(point: bytes) -> None:
    assert not believed(point, b"sample", SIGNATURE)


def test_micropython_reckons_the_same() -> None:
    program = (
        "from firmware.core import ecdsa\n"
        "from protocols.errors import SignatureError\n"
        "for message in (b'sample', b'samplf'):\n"
        "    try:\n"
        f"        print(len(list(ecdsa.steps({POINT!r}, message, {SIGNATURE!r}))))\n"
        "    except SignatureError as error:\n"
        "        print(error.subject)\n"
    )
    done = subprocess.run(
        [micropython(), "-X", "heapsize=190K", "-c", program],
        env={"MICROPYPATH": f"{ROOT}:.frozen"}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.splitlines() == ["256", "ECDSA signature"]
