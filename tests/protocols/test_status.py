"""The status message: there and back, and whatever else comes is refused with the declared error alone."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols import tally
from protocols.custody import MAX_EPOCH
from protocols.errors import DecodeError
from protocols.status import MAX_BYTES, MAX_EPOCHS, MAX_PAST, Counts, Lane, Sample, Status, decode, encode
from protocols.topics import LANES

numbers = st.integers(0, 2**53 - 1)
ids = st.text("ABCxyz019_-", min_size=1, max_size=64)
tallies = st.tuples(numbers, numbers).map(lambda two: (max(two), min(two)))
epochs = st.integers(0, MAX_EPOCH - 1)
counts = st.tuples(epochs, tallies).map(lambda parts: Counts(parts[0], *parts[1]))
lane = st.builds(Lane, st.lists(counts, max_size=5), numbers, st.none() | numbers)
statuses = st.builds(
    Status,
    time_ms=numbers,
    lanes=st.fixed_dictionaries(dict.fromkeys(LANES, lane)),
    lost=numbers,
    bytes_held=numbers,
    max_bytes=numbers,
    failure=st.text(max_size=300),
    past=st.lists(st.builds(Sample, numbers, numbers, st.none() | numbers), max_size=5),
)


@given(epochs, st.fixed_dictionaries(dict.fromkeys(LANES, st.dictionaries(ids, tallies))))
def test_tallies_there_and_back(epoch: int, lanes: dict[str, dict[str, tuple[int, int]]]) -> None:
    assert tally.decode(tally.encode(epoch, lanes)) == (epoch, lanes)


@given(statuses)
def test_there_and_back(status: Status) -> None:
    assert decode(encode(status)) == status


@given(st.binary(max_size=200) | st.just(b"[" * 2000) | st.just(b" " * (MAX_BYTES + 1)))
def test_anything_else_is_refused(data: bytes) -> None:
    with pytest.raises(DecodeError):
        decode(data)


json_values = st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5), st.lists)


@given(statuses, st.sampled_from(sorted(json.loads(encode(Status(0, {}, 0, 0, 0, "", []))))), json_values)
def test_any_part_may_be_wrong(status: Status, part: str, wrong: object) -> None:
    message = {**json.loads(encode(status)), part: wrong}
    try:
        decoded = decode(json.dumps(message).encode())
    except DecodeError:
        return
    assert json.loads(encode(decoded)) == message  # what is taken is taken as it was meant


def test_the_largest_message_is_taken() -> None:
    """As many epochs as are told and a day's past, every number as long as it may be."""
    most = 2**53 - 1
    lanes = {name: Lane([Counts(MAX_EPOCH - 1, most, most)] * MAX_EPOCHS, most, most) for name in LANES}
    status = Status(most, lanes, most, most, most, "f" * 300, [Sample(most, most, most)] * MAX_PAST)
    assert decode(encode(status)) == status
