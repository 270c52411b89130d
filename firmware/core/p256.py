"""EC P-256: a key pair made on the device, and sums of points (FIPS 186-5; SEC 1, 2.3.3; a key's form: RFC 5915).

MicroPython's own TLS signs and checks in C, but makes no keys. Making one runs once in a device's life; each bit of
the key takes the same steps, but big integers do not take the same time for each value.
"""

import os

BYTES = 32
P = 0xFFFFFFFF00000001000000000000000000000000FFFFFFFFFFFFFFFFFFFFFFFF
N = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
B = 0x5AC635D8AA3A93E7B3EBBD55769886BC651D06B0CC53B0F63BCE3C3E27D2604B
BASE = (
    0x6B17D1F2E12C4247F8BCE6E563A440F277037D812DEB33A0F4A13945D898C296,
    0x4FE342E2FE1A7F9B8EE7EB4A7C0F9E162BCE33576B315ECECBB6406837BF51F5,
    1,
)
_DER_HEAD = bytes.fromhex("30770201010420")  # ECPrivateKey, version 1, and an octet string of 32 bytes
_DER_TAIL = bytes.fromhex("a00a06082a8648ce3d030107a144034200")  # of curve prime256v1; a bit string of 65 bytes


def new_key() -> bytes:
    """A private key, ECPrivateKey in DER."""
    while True:
        scalar = int.from_bytes(os.urandom(BYTES), "big")
        if 0 < scalar < N:
            return _DER_HEAD + scalar.to_bytes(BYTES, "big") + _DER_TAIL + public_point(scalar)


def point_of(key: bytes) -> bytes:
    """The public key, an uncompressed point, of a private one that `new_key` has made."""
    return key[len(_DER_HEAD) + BYTES + len(_DER_TAIL) :]


def public_point(scalar: int) -> bytes:
    """The uncompressed point of a private scalar: scalar times G, by Montgomery's ladder."""
    low, high = (0, 1, 0), BASE
    for place in range(8 * BYTES - 1, -1, -1):
        if scalar >> place & 1:
            low, high = add(low, high), double(high)
        else:
            low, high = double(low), add(low, high)
    x, y, z = low
    inverse = pow(z, P - 2, P)
    square = inverse * inverse % P
    return b"\x04" + (x * square % P).to_bytes(BYTES, "big") + (y * square * inverse % P).to_bytes(BYTES, "big")


def double(point: "tuple[int, int, int]") -> "tuple[int, int, int]":
    """Twice a point in Jacobian coordinates (x / z^2, y / z^3); z is 0 at infinity. For a = -3."""
    x, y, z = point
    zz = z * z % P
    yy = y * y % P
    beta = 4 * x * yy % P
    alpha = 3 * (x - zz) * (x + zz) % P
    doubled_x = (alpha * alpha - 2 * beta) % P
    return doubled_x, (alpha * (beta - doubled_x) - 8 * yy * yy) % P, 2 * y * z % P


def add(one: "tuple[int, int, int]", other: "tuple[int, int, int]") -> "tuple[int, int, int]":
    """The sum of two points in Jacobian coordinates."""
    x1, y1, z1 = one
    x2, y2, z2 = other
    if not z1:
        return other
    if not z2:
        return one
    z1z1, z2z2 = z1 * z1 % P, z2 * z2 % P
    u1, u2 = x1 * z2z2 % P, x2 * z1z1 % P
    s1, s2 = y1 * z2 * z2z2 % P, y2 * z1 * z1z1 % P
    h, r = (u2 - u1) % P, (s2 - s1) % P
    if not h:
        return (0, 1, 0) if r else double(one)
    hh = h * h % P
    hhh, v = h * hh % P, u1 * hh % P
    x = (r * r - hhh - 2 * v) % P
    return x, (r * (v - x) - s1 * hhh) % P, h * z1 * z2 % P
