"""Messages of firmware updates: what is written is read, and nothing else is."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols import update
from protocols.errors import DecodeError, TruncatedError
from protocols.update import MAX_PART_BYTES, REFUSED, TRIAL, WANTS, Offer, Part, Step

numbers = st.integers(0, (1 << 32) - 1)
offers = st.builds(
    Offer,
    id=numbers,
    version=st.integers(1, update.MAX_VERSION - 1),
    base=st.integers(0, update.MAX_VERSION - 1),
    manifest_bytes=st.integers(1, update.MAX_MANIFEST_BYTES),
    signature_bytes=st.integers(1, update.MAX_SIGNATURE_BYTES),
    patch_bytes=st.integers(1, update.MAX_IMAGE_BYTES),
)
steps = st.builds(
    Step,
    id=numbers,
    state=st.sampled_from([WANTS, REFUSED, TRIAL]),
    at=st.integers(0, update.MAX_IMAGE_BYTES),
    length=st.integers(1, MAX_PART_BYTES),
    reason=st.text(max_size=200),
)


@given(offers)
def test_an_offer_comes_back(offer: Offer) -> None:
    assert update.decode_offer(update.encode_offer(offer)) == offer


@given(steps)
def test_a_step_comes_back(step: Step) -> None:
    data = update.encode_step(step)
    if len(data) <= 1024:  # a reason of nothing but unusual characters becomes too long, and is refused
        assert update.decode_step(data) == step


@given(st.builds(Part, id=numbers, at=numbers, data=st.binary(max_size=MAX_PART_BYTES)))
def test_a_part_comes_back(part: Part) -> None:
    data = update.encode_part(part)
    assert update.decode_part(data) == part
    with pytest.raises(TruncatedError):
        update.decode_part(data[:7])


def test_a_part_that_is_too_long_is_refused() -> None:
    with pytest.raises(DecodeError, match="too many"):
        update.decode_part(bytes(8 + MAX_PART_BYTES + 1))


GOOD_OFFER = [7, 2, 1, 1500, 4756, 20000]
GOOD_STEP = {"id": 7, "state": WANTS, "at": 512, "length": 512, "reason": ""}


@pytest.mark.parametrize(("place", "value"), [(0, 1 << 32), (1, 0), (2, -1), (3, 0), (4, 8193), (5, True), (5, 1.5)])
def test_an_offer_out_of_range_is_refused(place: int, value: object) -> None:
    with pytest.raises(DecodeError, match="out of range"):
        update.decode_offer(json.dumps([*GOOD_OFFER[:place], value, *GOOD_OFFER[place + 1 :]]).encode())


@pytest.mark.parametrize(
    "change", [{"id": -1}, {"state": "taken"}, {"at": 1 << 30}, {"length": 0}, {"length": 4097}, {"reason": 5}]
)
def test_a_step_that_is_none_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(DecodeError):
        update.decode_step(json.dumps({**GOOD_STEP, **change}).encode())


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"7", b"[1, 2]", b"[" * 900, b"\xff", b" " * 1025])
def test_what_is_no_message_is_refused(data: bytes) -> None:
    for decode in (update.decode_offer, update.decode_step):
        with pytest.raises(DecodeError):
            decode(data)
