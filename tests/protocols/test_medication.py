"""Medication plans: one form for each, limits, and nothing else is one."""

import subprocess
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hardware.sim.device import ROOT, micropython
from protocols import cbor, medication
from protocols.errors import DecodeError
from protocols.medication import MedicationPlan, Medicine
from protocols.schedule import Entry

PLAN = MedicationPlan(
    device="dispenser-1",
    version=3,
    from_s=1_790_000_000,
    until_s=1_800_000_000,
    person="Wang Xiuying",
    language="zh",
    window_s=3600,
    least_gap_s=4 * 3600,
    entries=(Entry(480, 0x7F), Entry(1260, 0x15)),
    zone=((0, 60), (1_792_000_000, 120)),
    doses=28,
    medicines=(Medicine(("Aspirin", "阿司匹林"), ("1 tablet", "1片")),),
    warnings=(("No alcohol", "不要饮酒"),),
    characters="不匹司林片要酒阿饮",
    glyphs=bytes(9 * 32),
)
FIELDS = PLAN._fields


def test_a_plan_comes_back() -> None:
    assert medication.decode(medication.encode(PLAN)) == PLAN
    assert medication.characters_of(PLAN) == PLAN.characters


TEXT = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=16)
PAIR = st.tuples(TEXT, TEXT)


@given(
    st.builds(
        lambda medicines, warnings, entries, language, version: PLAN._replace(
            medicines=tuple(medicines), warnings=tuple(warnings), version=version, language=language,
            entries=tuple(Entry(minute, days) for minute, days in sorted(entries.items())), characters="", glyphs=b"",
        ),
        st.lists(st.builds(Medicine, PAIR, PAIR), min_size=1, max_size=8),
        st.lists(PAIR, max_size=6),
        st.dictionaries(st.sampled_from(range(0, 1440, 360)), st.integers(1, 127), min_size=1, max_size=4),
        st.sampled_from(medication.LANGUAGES),
        st.integers(1, 1 << 30),
    )
)  # fmt: skip
def test_every_plan_comes_back(plan: MedicationPlan) -> None:
    assert medication.decode(medication.encode(plan)) == plan


BAD: dict[str, dict[str, Any]] = {
    "no id": {"device": "dispenser 1"},
    "version 0": {"version": 0},
    "version true": {"version": True},
    "no version": {"version": None},
    "ends before it begins": {"until_s": 1_790_000_000},
    "another language": {"language": "de"},
    "window as long as the gap between doses": {"window_s": 660 * 60},
    "a least gap that no dose keeps": {"least_gap_s": 86400},
    "no entry": {"entries": ()},
    "entries out of order": {"entries": (Entry(600, 1), Entry(480, 1))},
    "a minute of no day": {"entries": (Entry(1440, 1),)},
    "a day of no week": {"entries": (Entry(480, 128),)},
    "thirteen entries": {"entries": tuple(Entry(100 * at, 1) for at in range(13))},
    "no zone": {"zone": ()},
    "a zone out of order": {"zone": ((0, 60), (0, 120))},
    "an offset of no place": {"zone": ((0, 15 * 60),)},
    "no dose": {"doses": 0},
    "more doses than a wheel has": {"doses": 101},
    "no medicine": {"medicines": ()},
    "a medicine without a name": {"medicines": (Medicine(("", "阿司匹林"), ("1", "1")),)},
    "a name too long": {"medicines": (Medicine(("x" * 33, "阿"), ("1", "1")),)},
    "a name with a line end": {"medicines": (Medicine(("a\nb", "阿"), ("1", "1")),)},
    "a character that takes two of UTF-16": {"warnings": (("\U0001f48a", "药"),)},
    "seven warnings": {"warnings": (("a", "b"),) * 7},
    "characters of others": {"characters": "不匹司林片要酒阿", "glyphs": bytes(8 * 32)},
    "too few glyphs": {"glyphs": bytes(8 * 32)},
    "glyphs as text": {"glyphs": "x" * 288},
}


@pytest.mark.parametrize("change", BAD.values(), ids=BAD.keys())
def test_what_no_plan_may_be(change: dict[str, Any]) -> None:
    with pytest.raises(DecodeError, match="medication plan"):
        medication.decode(medication.encode(PLAN._replace(**change)))


def test_every_other_form_is_refused() -> None:
    document = medication.encode(PLAN)
    assert document[:2] == b"\x90\x01"
    for other in (
        document + b"\0",
        b"\x98\x10" + document[1:],  # the array's length in two bytes
        b"\x90\x18\x01" + document[2:],  # a number in two bytes
        cbor.encode([2, *PLAN]),
        cbor.encode([1, *PLAN[:-1]]),
        cbor.encode({"device": "dispenser-1"}),
        b"\xf6",
    ):
        with pytest.raises(DecodeError):
            medication.decode(other)
    for length in range(len(document)):
        with pytest.raises(DecodeError):
            medication.decode(document[:length])


@given(st.binary(max_size=200))
def test_noise_is_no_plan(noise: bytes) -> None:
    with pytest.raises(DecodeError):
        medication.decode(noise)


def test_what_is_too_short_or_too_long_is_not_looked_at() -> None:
    for size in (0, medication.SIGNATURE_BYTES, medication.MAX_BYTES + 1):
        with pytest.raises(DecodeError):
            medication.split(bytes(size))


def test_micropython_reads_and_writes_the_same() -> None:
    document = medication.encode(PLAN)
    program = (
        f"from protocols import medication\ndocument = {document!r}\nplan = medication.decode(document)\n"
        "print(plan.device, plan.medicines[0].name[1], medication.encode(plan) == document)"
    )
    done = subprocess.run(
        [micropython(), "-X", "heapsize=190K", "-c", program],
        env={"MICROPYPATH": f"{ROOT}:.frozen"}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.strip() == "dispenser-1 阿司匹林 True"
