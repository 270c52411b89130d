"""A label's text: what was not read whole, or is another's, is told from a label."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.label import Label, LabelError

IDS = st.text("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-", min_size=1, max_size=64)


@given(IDS, st.binary(min_size=16, max_size=16))
def test_a_label_is_read_back(device: str, secret: bytes) -> None:
    label = Label(device, secret)
    assert Label.parse(f" {label.text()}\r\n") == label
    assert secret.hex() not in repr(label)


@given(st.integers(0, 31), st.sampled_from("ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"))
def test_a_letter_read_wrongly_is_noticed(place: int, letter: str) -> None:
    text = Label("wearable-7", bytes(range(16))).text()
    at = len(text) - 32 + place
    wrong = text[:at] + letter + text[at + 1 :]
    if wrong != text:
        with pytest.raises(LabelError, match="the label of wearable-7 was not read whole"):
            Label.parse(wrong)


@pytest.mark.parametrize("text", ["", "WIFI:T:WPA;S:x;;", "kerb-label-1:", "kerb-label-2:a:b", "kerb-label-1:a b:AAAA"])
def test_what_is_no_label_is_told(text: str) -> None:
    with pytest.raises(LabelError, match="no label of Kerb's"):
        Label.parse(text)


@pytest.mark.parametrize("code", ["", "A", "A" * 31, "A" * 40, "1" * 32, "é" * 32])
def test_what_was_not_read_whole_is_told(code: str) -> None:
    with pytest.raises(LabelError, match="was not read whole"):
        Label.parse(f"kerb-label-1:wearable-7:{code}")


def test_secrets_differ_and_ids_are_checked() -> None:
    assert len({Label.make("a").secret for _ in range(50)}) == 50
    with pytest.raises(LabelError, match="cannot name a device"):
        Label.make("wearable 7")
