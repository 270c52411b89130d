"""Modbus frames: whatever comes, only the declared errors; the specification's own examples are in the vectors."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pymodbus.framer.rtu import FramerRTU

from protocols import modbus
from protocols.errors import ChecksumError, DecodeError

words = st.integers(0, 0xFFFF)
requests = st.one_of(
    st.builds(modbus.read_request, st.sampled_from([1, 2, 3, 4]), st.integers(0, 60_000), st.integers(1, 125)),
    st.builds(modbus.write_coil, words, st.booleans()),
    st.builds(modbus.write_register, words, words),
    st.builds(modbus.write_coils, st.integers(0, 60_000), st.lists(st.booleans(), min_size=1, max_size=1968)),
    st.builds(modbus.write_registers, st.integers(0, 60_000), st.lists(words, min_size=1, max_size=123)),
    st.builds(modbus.mask_write, words, words, words),
    st.builds(
        modbus.read_write_registers,
        st.integers(0, 60_000), st.integers(1, 125), st.integers(0, 60_000), st.lists(words, min_size=1, max_size=121),
    ),
)  # fmt: skip


@given(st.binary(max_size=300))
def test_the_crc_is_that_of_pymodbus(data: bytes) -> None:
    assert modbus.crc16(data).to_bytes(2, "little") == FramerRTU.compute_CRC(data).to_bytes(2, "big")


@given(requests, st.integers(0, 255), words)
def test_requests_come_out_of_both_frames_as_they_went_in(pdu: bytes, unit: int, transaction: int) -> None:
    frame = modbus.rtu(unit, pdu)
    assert modbus.parse_rtu(frame) == (unit, pdu)
    sizes = [modbus.rtu_request_size(frame[:length]) for length in range(len(frame) + 1)]
    assert sizes[-1] == len(frame)
    assert set(sizes) <= {None, len(frame)}
    assert modbus.MbapStream().feed(modbus.mbap(transaction, unit, pdu)) == [(transaction, unit, pdu)]
    request = modbus.parse_request(pdu)
    assert request.function == pdu[0]


@given(st.integers(0, 247), st.binary(min_size=4, max_size=250).map(lambda data: data[: len(data) // 2 * 2]))
def test_a_response_tells_its_size_and_a_damaged_one_is_known(unit: int, data: bytes) -> None:
    frame = modbus.rtu(unit, modbus.read_response(3, data))
    assert {modbus.rtu_response_size(frame[:length]) for length in range(3, len(frame) + 1)} == {len(frame)}
    for at in range(len(frame)):
        damaged = bytearray(frame)
        damaged[at] ^= 0x10
        with pytest.raises(ChecksumError):
            modbus.parse_rtu(bytes(damaged))


@given(st.lists(st.tuples(words, st.integers(0, 255), requests), max_size=5), st.data())
def test_a_stream_may_be_cut_anywhere(frames: list[tuple[int, int, bytes]], data: st.DataObject) -> None:
    whole = b"".join(modbus.mbap(*frame) for frame in frames)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(whole)), max_size=8)))
    stream = modbus.MbapStream()
    found = []
    for start, end in zip([0, *cuts], [*cuts, len(whole)], strict=True):
        found += stream.feed(whole[start:end])
    assert found == frames


@given(st.lists(st.binary(max_size=80), max_size=6))
def test_a_stream_of_anything_gives_frames_or_ends(chunks: list[bytes]) -> None:
    stream = modbus.MbapStream()
    try:
        for chunk in chunks:
            for _, _, pdu in stream.feed(chunk):
                assert 1 <= len(pdu) <= 253
    except DecodeError:
        pass


@given(requests, st.binary(max_size=260))
def test_only_what_was_asked_for_is_taken_from_a_response(request: bytes, response: bytes) -> None:
    asked = int.from_bytes(request[3:5], "big")
    sizes = {1: (asked + 7) // 8, 2: (asked + 7) // 8, 3: 2 * asked, 4: 2 * asked, 23: 2 * asked}
    try:
        data = modbus.response_payload(request, response)
    except DecodeError:
        return
    assert response[0] == request[0]
    assert len(data) == sizes.get(request[0], 0)


@given(st.binary(max_size=260))
def test_any_frame_and_any_request_is_taken_or_refused(data: bytes) -> None:
    for parse in (modbus.parse_rtu, modbus.parse_request, modbus.rtu_response_size, modbus.rtu_request_size):
        try:
            parse(data)
        except DecodeError:
            continue


@pytest.mark.parametrize(("baud", "gap_s"), [(9600, 38.5 / 9600), (19_200, 38.5 / 19_200), (115_200, 0.00175)])
def test_the_silence_between_frames(baud: int, gap_s: float) -> None:
    assert modbus.frame_gap_s(baud) == pytest.approx(gap_s)
