"""SenML JSON: valid by RFC 8428, exact in its digits, and strict with what comes in."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols import senml
from protocols.custody import Header
from protocols.errors import DecodeError
from protocols.reading import BAD_INVALID, GOOD, DecimalFraction, Reading

HEADER = Header(epoch=7 << 20 | 1, seq=3, base=2, oldest=7 << 20 | 1, backfill=False, first=3)
NOW = 1_795_382_519_355
READINGS = [
    Reading("heart_rate", 72, "/min", GOOD, NOW),
    Reading("body_temperature", DecimalFraction(3760, -2), "Cel", GOOD, NOW + 10),
    Reading("signal_quality", None, "%", BAD_INVALID, NOW + 10),
    Reading("worn", True, "", GOOD, NOW + 20),
    Reading("note", '面"\n', "", GOOD, NOW + 20),
]


def message(readings=READINGS, *, wall_clock=True, device="wearable-1"):
    return senml.encode_pack(HEADER, senml.encode_body(readings, device=device, wall_clock=wall_clock), 5000)


def test_a_pack_is_json_with_the_labels_of_rfc_8428():
    records = json.loads(message())
    assert records[0]["bn"] == "wearable-1/"
    assert records[0]["bt"] == NOW / 1000
    assert [record["n"] for record in records] == [reading.metric for reading in READINGS]
    assert records[0]["v"] == 72
    assert "t" not in records[0]
    assert records[1]["t"] == 0.01
    assert b'"v":37.60' in message()
    assert records[3]["vb"] is True
    assert records[4]["vs"] == '面"\n'
    assert not {"v", "vs", "vb"} & records[2].keys()


def test_a_pack_there_and_back():
    assert senml.decode_pack(message(), "wearable-1") == senml.DevicePack(HEADER, READINGS, None, 0)


def test_without_a_wall_clock_the_times_are_the_devices_own():
    readings = [Reading("heart_rate", 72, "/min", GOOD, 4200)]
    pack = senml.decode_pack(message(readings, wall_clock=False), "wearable-1")
    assert pack.sent_ms == 5000
    assert pack.readings == readings


def test_a_gap_record():
    pack = senml.decode_pack(senml.encode_pack(HEADER, senml.encode_lost(12, device="w"), 5000), "w")
    assert pack == senml.DevicePack(HEADER, [], None, 12)


def test_a_gap_record_for_several_packs():
    header = HEADER._replace(first=1)
    pack = senml.decode_pack(senml.encode_pack(header, senml.encode_lost(12, device="w"), 5000), "w")
    assert pack == senml.DevicePack(header, [], None, 12)


@given(st.lists(st.builds(DecimalFraction, st.integers(-(10**12), 10**12), st.integers(-9, 0)), min_size=1))
def test_digits_survive(values):
    readings = [Reading("m", value, "V", GOOD, NOW) for value in values]
    found = senml.decode_pack(message(readings), "wearable-1").readings
    for sent, got in zip(values, found, strict=True):
        assert got.value == (sent.mantissa if sent.exponent == 0 else sent)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{}",
        "[]",
        "[1]",
        '[{"bn":"w/","epoch":1,"seq":1,"base":1}]',
        '[{"bn":"w/","epoch":1,"seq":1,"base":2,"oldest":1,"n":"m","v":1}]',
        '[{"bn":"w/","epoch":1,"seq":1,"base":1,"oldest":1,"first":2,"n":"m","v":1}]',
        '[{"bn":"other/","epoch":1,"seq":1,"base":1,"oldest":1,"n":"m","v":1}]',
        '[{"bn":"w/","epoch":1,"seq":1,"base":1,"oldest":1,"n":"m","v":"1"}]',
        '[{"bn":"w/","epoch":1,"seq":1,"base":1,"oldest":1,"n":"m","v":NaN}]',
        '[{"bn":"w/","epoch":1,"seq":1,"base":1,"oldest":1,"n":"m","v":1,"vs":"1"}]',
        '[{"bn":"w/","epoch":1,"seq":1,"base":1,"oldest":1,"n":5,"v":1}]',
        '[{"bn":"w/","epoch":1,"seq":1,"base":1,"oldest":1,"n":"m","v":1,"q":300}]',
        '[{"bn":"w/","epoch":1,"seq":1,"base":1,"oldest":1,"bt":1e99,"n":"m","v":1}]',
        '[{"bn":"w/","epoch":true,"seq":1,"base":1,"oldest":1,"n":"m","v":1}]',
        '[{"bn":"w/","epoch":1,"seq":1,"base":1,"oldest":1,"lost":-1}]',
    ],
)
def test_what_is_no_pack_is_refused(text):
    with pytest.raises(DecodeError):
        senml.decode_pack(text.encode(), "w")


@given(st.binary(max_size=200))
def test_garbage_is_refused_with_our_own_error(data):
    with pytest.raises(DecodeError):
        senml.decode_pack(data, "w")


def test_oversize_is_refused_before_parsing():
    with pytest.raises(DecodeError, match="too many"):
        senml.decode_pack(b"[" * 70_000, "w")
