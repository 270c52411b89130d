"""A key pair of EC P-256, made on the device (FIPS 186-5; SEC 1, 2.3.3; the key's form is that of RFC 5915).

MicroPython's own TLS signs and checks in C, but makes no keys. This runs once in a device's life; each bit of the key
takes the same steps, but big integers do not take the same time for each value.
"""

import os

BYTES = 32
_P = 0xFFFFFFFF00000001000000000000000000000000FFFFFFFFFFFFFFFFFFFFFFFF
_N = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
_GX = 0x6B17D1F2E12C4247F8BCE6E563A440F277037D812DEB33A0F4A13945D898C296
_GY = 0x4FE342E2FE1A7F9B8EE7EB4A7C0F9E162BCE33576B315ECECBB6406837BF51F5
_DER_HEAD = bytes.fromhex("30770201010420")  # ECPrivateKey, version 1, and an octet string of 32 bytes
_DER_TAIL = bytes.fromhex("a00a06082a8648ce3d030107a144034200")  # of curve prime256v1; a bit string of 65 bytes


def new_key() -> bytes:
    """A private key, ECPrivateKey in DER."""
    while True:
        scalar = int.from_bytes(os.urandom(BYTES), "big")
        if 0 < scalar < _N:
            return _DER_HEAD + scalar.to_bytes(BYTES, "big") + _DER_TAIL + public_point(scalar)


def point_of(key: bytes) -> bytes:
    """The public key, an uncompressed point, of a private one that `new_key` has made."""
    return key[len(_DER_HEAD) + BYTES + len(_DER_TAIL) :]


def public_point(scalar: int) -> bytes:
    """The uncompressed point of a private scalar: scalar times G, by Montgomery's ladder."""
    low, high = (0, 1, 0), (_GX, _GY, 1)
    for place in range(8 * BYTES - 1, -1, -1):
        if scalar >> place & 1:
            low, high = _add(low, high), _double(high)
        else:
            low, high = _double(low), _add(low, high)
    x, y, z = low
    inverse = pow(z, _P - 2, _P)
    square = inverse * inverse % _P
    return b"\x04" + (x * square % _P).to_bytes(BYTES, "big") + (y * square * inverse % _P).to_bytes(BYTES, "big")


def _double(point: "tuple[int, int, int]") -> "tuple[int, int, int]":
    """Twice a point in Jacobian coordinates (x / z^2, y / z^3); z is 0 at infinity. For a = -3."""
    x, y, z = point
    zz = z * z % _P
    yy = y * y % _P
    beta = 4 * x * yy % _P
    alpha = 3 * (x - zz) * (x + zz) % _P
    doubled_x = (alpha * alpha - 2 * beta) % _P
    return doubled_x, (alpha * (beta - doubled_x) - 8 * yy * yy) % _P, 2 * y * z % _P


def _add(one: "tuple[int, int, int]", other: "tuple[int, int, int]") -> "tuple[int, int, int]":
    """The sum of two different points in Jacobian coordinates. Those of the ladder differ by G, so never double."""
    x1, y1, z1 = one
    x2, y2, z2 = other
    if not z1:
        return other
    z1z1, z2z2 = z1 * z1 % _P, z2 * z2 % _P
    u1, u2 = x1 * z2z2 % _P, x2 * z1z1 % _P
    s1, s2 = y1 * z2 * z2z2 % _P, y2 * z1 * z1z1 % _P
    h, r = u2 - u1, s2 - s1
    hh = h * h % _P
    hhh, v = h * hh % _P, u1 * hh % _P
    x = (r * r - hhh - 2 * v) % _P
    return x, (r * (v - x) - s1 * hhh) % _P, h * z1 * z2 % _P
