"""Frames in a stream of bytes: all good ones are found, nothing wrong is taken, whatever stands between."""

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from protocols.errors import DecodeError
from protocols.frames import (
    CHECKS,
    FrameFormat,
    FrameReader,
    check_size,
    decode_field,
    decode_text,
    split_text,
    with_check,
)


def fixed(check: str, *, check_from: int = 0, order: str = "big", end: bytes = b"") -> FrameFormat:
    around = 2 + len(end) + (CHECKS[check][0] if check else 0)
    return FrameFormat(b"\xaa\x55", end, around + 6, 0, check, check_from, order)


fixed_formats = st.builds(
    fixed,
    st.sampled_from(sorted(CHECKS)),
    check_from=st.integers(0, 2),
    order=st.sampled_from(["big", "little"]),
    end=st.sampled_from([b"", b"\r\n"]),
)
TEXT = FrameFormat(b"$", b"\r\n", 0, 40, "xor", 1, "big")
LINES = FrameFormat(b"", b"\r\n", 0, 20, "", 0, "big")


def test_the_checks_are_the_catalogues() -> None:
    """Of "123456789", as the CRC catalogue gives them; the sums by hand: 0x31 to 0x39 are 477 in all."""
    data = b"123456789"
    wanted = {
        "crc16_modbus": 0x4B37, "crc16_ccitt": 0x29B1, "crc16_xmodem": 0x31C3,
        "xor": 0x31, "sum8": 477 & 0xFF, "sum8_negative": 256 - (477 & 0xFF), "sum16": 477,
    }  # fmt: skip
    assert {name: function(data) for name, (_, function) in CHECKS.items()} == wanted


@given(fixed_formats, st.lists(st.binary(min_size=6, max_size=6), min_size=1, max_size=6), st.data())
def test_good_frames_are_found_however_they_are_cut(
    format_: FrameFormat, bodies: list[bytes], data: st.DataObject
) -> None:
    frames = [with_check(format_, format_.start + body) for body in bodies]
    stream = b"".join(frames)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=6)))
    reader = FrameReader(format_)
    found = []
    for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        found += reader.feed(stream[start:end])
    assert found == frames
    assert reader.counts == {}


@given(fixed_formats, st.binary(max_size=60), st.binary(min_size=6, max_size=6), st.binary(max_size=20))
def test_a_good_frame_behind_garbage_is_found(format_: FrameFormat, garbage: bytes, body: bytes, after: bytes) -> None:
    frame = with_check(format_, format_.start + body)
    reader = FrameReader(format_)
    before = reader.feed(garbage)
    assume(not before)  # by chance it is a frame itself
    assume(format_.start[:1] not in garbage[-format_.length :])  # else the end of it may be the start of one
    found = reader.feed(frame + after)
    assert found[:1] == [frame]
    assert reader.counts.get("garbage_bytes", 0) >= len(garbage)


@given(fixed_formats | st.sampled_from([TEXT, LINES]), st.lists(st.binary(max_size=200), max_size=6))
def test_whatever_comes_only_what_checks_is_taken_and_little_is_kept(format_: FrameFormat, chunks: list[bytes]) -> None:
    reader = FrameReader(format_)
    for chunk in chunks:
        for frame in reader.feed(chunk):
            assert frame.startswith(format_.start)
            assert frame.endswith(format_.end)
            head = frame[: len(frame) - len(format_.end) - check_size(format_)]
            assert with_check(format_, head) == frame
        assert len(reader._input) <= max(format_.length, format_.most)


def test_a_damaged_frame_hides_no_good_one() -> None:
    format_ = fixed("sum8")
    good = with_check(format_, b"\xaa\x55abcdef")
    reader = FrameReader(format_)
    assert reader.feed(b"\xaa\x55ab" + good + good) == [good, good]
    assert reader.counts == {"checksum_errors": 1, "garbage_bytes": 4}


def test_a_line_that_was_half_over_is_not_taken() -> None:
    reader = FrameReader(LINES)
    assert reader.feed(b"2.5\r\n12.5\r") == []
    assert reader.feed(b"\n-3\r\n") == [b"12.5\r\n", b"-3\r\n"]
    assert reader.feed(b"9" * 30 + b"1.5\r\n7\r\n") == [b"7\r\n"]
    assert reader.counts["overlong"] == 1


def test_fields_of_a_frame() -> None:
    frame = bytes.fromhex("0180 ff7f 80")
    assert decode_field(frame, 0, "uint16") == 0x0180
    assert decode_field(frame, 0, "uint16", order="little") == 0x8001
    assert decode_field(frame, 2, "int16") == -129
    assert decode_field(frame, 4, "int8", scale=0.1) == -12.8
    assert decode_field(frame, 1, "uint24") == 0x80FF7F
    assert decode_field(frame, 1, "uint8", bit=7) == 1
    assert decode_field(frame, 1, "uint16", bit=7, width=2) == 1
    for at, type_ in ((4, "uint16"), (-1, "uint8"), (0, "float")):
        with pytest.raises(DecodeError):
            decode_field(frame, at, type_)


def test_fields_of_a_text() -> None:
    format_ = FrameFormat(b"$", b"\r\n", 0, 40, "", 0, "big")
    parts = split_text(format_, b"$R, 12.50,-3,,x\r\n", ",")
    assert parts == ["R", "12.50", "-3", "", "x"]
    assert decode_text(parts, 1) == 12.5
    assert decode_text(parts, 2, scale=0.5) == -1.5
    assert decode_text(parts, 3) is None
    for index in (4, 5):
        with pytest.raises(DecodeError):
            decode_text(parts, index)
    with pytest.raises(DecodeError):
        split_text(format_, b"$\xff\r\n", ",")


@given(st.text(max_size=12))
def test_any_text_is_a_number_or_refused(text: str) -> None:
    try:
        value = decode_text([text], 0)
    except DecodeError:
        return
    assert value is None or value == float(text)
