"""Packs: CBOR against a second implementation, columns there and back, and refusal of what is damaged."""

import cbor2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols import cbor, pack
from protocols.custody import Header
from protocols.deflated import deflate, inflate
from protocols.errors import DecodeError, ProtocolError
from protocols.reading import BAD_TIMEOUT, GOOD, DecimalFraction, Reading

INT64 = st.integers(-(2**63) + 1, 2**63 - 1)
VALUES = st.one_of(
    INT64,
    st.floats(allow_nan=False),
    st.booleans(),
    st.text(max_size=10),
    st.none(),
    st.builds(DecimalFraction, INT64, st.integers(-20, 20)),
)
READINGS = st.lists(
    st.tuples(
        st.integers(1, 5),
        st.builds(
            Reading, st.just("m"), VALUES, st.just("V"), st.sampled_from([GOOD, BAD_TIMEOUT]), st.integers(0, 2**42)
        ),
    ),
    max_size=30,
)
PLAIN = st.recursive(
    st.one_of(st.none(), st.booleans(), INT64, st.floats(allow_nan=False), st.text(), st.binary()),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(st.text(), inner, max_size=4)),
    max_leaves=15,
)


@given(PLAIN)
def test_cbor_agrees_with_another_implementation(item):
    assert cbor2.loads(cbor.encode(item)) == item
    assert cbor.decode(cbor.encode(item)) == (item, len(cbor.encode(item)))


@given(PLAIN)
def test_cbor_reads_what_another_implementation_writes(item):
    data = cbor2.dumps(item)
    try:
        assert cbor.decode(data) == (item, len(data))
    except DecodeError:
        assert b"\xf9" in data  # half floats, which it takes for infinity, are not of the part that packs use


def test_typed_arrays_are_those_of_rfc_8746():
    # Section 2.1: tag 0b010 f s e ll; little-endian sint16 is 77, float64 is 86, sint8 is 72.
    assert cbor.encode(cbor.integers([1, -2])) == bytes.fromhex("d848 42 01fe".replace(" ", ""))
    assert cbor.encode(cbor.integers([300])) == bytes.fromhex("d84d 42 2c01".replace(" ", ""))
    assert cbor.encode(cbor.floats([0.1])) == bytes.fromhex("d856 48 9a9999999999b93f".replace(" ", ""))
    assert cbor.encode(cbor.floats([1.5])) == bytes.fromhex("d855 44 0000c03f".replace(" ", ""))
    # Appendix A of RFC 8746 has none; the big-endian uint16 array of section 2's example: 65([1, 2])
    assert cbor.decode(bytes.fromhex("d841 44 00010002".replace(" ", "")))[0] == (1, 2)
    # RFC 8949, section 3.4.4: 273.15 as a decimal fraction
    assert cbor.encode(DecimalFraction(27315, -2)) == bytes.fromhex("c48221196ab3")


@given(st.binary(max_size=60))
def test_cbor_refuses_garbage_with_its_own_error(data):
    try:
        cbor.decode(data)
    except DecodeError:
        return


@given(READINGS)
def test_readings_survive_a_pack(readings):
    columns = pack.columns(readings)
    body = pack.decode_body(pack.encode_body(pack.Body(columns, [], {"a": (5, 2)}, {"b": (1, 10, 20)})))
    found = [
        (column.alias, time, quality, repr(value))
        for column in body.columns
        for time, quality, value in zip(column.times_ms, column.qualities, column.values, strict=True)
    ]
    assert sorted(found) == sorted((alias, r.time_ms, r.quality, repr(r.value)) for alias, r in readings)
    assert body.tallies == {"a": (5, 2)}
    assert body.lost == {"b": (1, 10, 20)}


def test_order_within_a_stream_of_one_kind_is_kept():
    readings = [(1, Reading("m", value, "V", GOOD, time)) for time, value in ((20, 1), (10, 2), (30, 3))]
    assert pack.columns(readings) == [pack.Column(1, [20, 10, 30], [GOOD] * 3, [1, 2, 3])]


def test_a_reading_without_a_time_is_refused():
    with pytest.raises(ProtocolError, match="without a time"):
        pack.columns([(1, Reading("m", 1, "V", GOOD, None))])


@given(READINGS.filter(bool), st.data())
def test_a_damaged_body_is_refused_or_read(readings, data):
    whole = pack.encode_body(pack.Body(pack.columns(readings), [], {}, {}))
    place = data.draw(st.integers(0, len(whole) - 1))
    damaged = whole[:place] + bytes([data.draw(st.integers(0, 255))]) + whole[place + 1 :]
    try:
        pack.decode_body(damaged)
    except DecodeError:
        return


@given(READINGS, st.data())
def test_a_body_cut_short_is_refused(readings, data):
    whole = pack.encode_body(pack.Body(pack.columns(readings), [], {"a": (1, 2)}, {}))
    with pytest.raises(DecodeError):
        pack.decode_body(whole[: data.draw(st.integers(0, len(whole) - 1))])


def test_header_stands_first_and_is_checked():
    header = Header(epoch=7 << 20 | 3, seq=9, base=4, oldest=7 << 20 | 1, backfill=True, first=8)
    data = pack.encode_header(header) + b"body"
    assert pack.decode_header(data) == (header, len(data) - 4)
    for field, number in (("base", 10), ("first", 10), ("seq", 0), ("epoch", 1 << 62)):
        wrong = header._replace(**{field: number})
        with pytest.raises(DecodeError):
            pack.decode_header(pack.encode_header(wrong))
    with pytest.raises(DecodeError):
        pack.decode_header(cbor.encode([pack.VERSION + 1, 1, 1, 1, 1, False, 1]))


def test_inflating_is_bounded():
    assert inflate(deflate(b"abc")) == b"abc"
    with pytest.raises(DecodeError, match="more than 1000"):
        inflate(deflate(bytes(1001)), max_bytes=1000)
    with pytest.raises(DecodeError, match="cut off"):
        inflate(deflate(b"abc")[:-1])
    with pytest.raises(DecodeError, match="followed"):
        inflate(deflate(b"abc") + b"x")
    with pytest.raises(DecodeError, match="cannot"):
        inflate(b"no deflate")
