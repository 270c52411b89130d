"""kerb plan: from what a person writes to what a device believes."""

import json
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from firmware.core import ecdsa
from hardware import plans
from hardware.fonts import ROOT
from protocols import medication

EXAMPLE = ROOT / "hardware" / "sim" / "medication.toml"


@pytest.fixture
def key(tmp_path: Path) -> Path:
    assert plans.main(["key", str(tmp_path / "pharmacy.key")]) == 0
    return tmp_path / "pharmacy.key"


def made(tmp_path: Path, key: Path, source: Path = EXAMPLE) -> Path:
    out = tmp_path / "signed.plan"
    assert plans.main(["make", str(source), "--key", str(key), "--out", str(out)]) == 0
    return out


def test_a_plan_is_made_and_checked(tmp_path: Path, key: Path, capsys: pytest.CaptureFixture[str]) -> None:
    signed = made(tmp_path, key)
    capsys.readouterr()
    assert plans.main(["check", str(signed), "--key", f"{key}.pub", "--device", "dispenser-1"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["medicines"][0] == [["Aspirin", "阿司匹林肠溶片"], ["100 mg, 1 tablet", "100毫克 1片"]]
    assert told["entries"] == [[480, 127], [840, 127], [1260, 127]]
    assert told["zone"] == [[0, 480]]


def test_the_device_believes_it(tmp_path: Path, key: Path) -> None:
    signature, document = medication.split(made(tmp_path, key).read_bytes())
    point = bytes.fromhex(Path(f"{key}.pub").read_text())
    for _ in ecdsa.steps(point, medication.PURPOSE + document, signature):
        pass


def test_json_is_as_good_as_toml(tmp_path: Path) -> None:
    (tmp_path / "plan.json").write_text(
        json.dumps(
            {
                "device": "d-1", "version": 1, "person": "x", "language": "en", "from": "2026-01-01T00:00:00Z",
                "until": "2026-02-01T00:00:00Z", "zone": "UTC", "window_minutes": 60, "least_gap_minutes": 0,
                "doses": 7, "times": [{"at": "08:00", "days": "sun mon"}], "medicines": [
                    {"name": {"en": "A", "zh": "药"}, "amount": {"en": "1", "zh": "1片"}}],
            }
        )
    )  # fmt: skip
    plan = plans.read(tmp_path / "plan.json")
    assert plan.entries == ((480, 0x41),)
    assert (plan.characters, len(plan.glyphs)) == ("片药", 64)


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ('"Asia/Shanghai"', '"Asia/Nowhere"', "zone: there is no time zone Asia/Nowhere"),
        ('at = "08:00"', 'at = "8"', "times.0.at"),
        ('at = "08:00"', 'at = "08:00", days = "someday"', "someday is no day"),
        ('until = 2027-01-01', 'until = 2025-01-01', "it ends before it begins"),
        ("window_minutes = 60", "window_minutes = 600", "its window must be shorter"),
        ("version = 1", "version = 0", "version is not between 1"),
        ("doses = 28", "doses = 28\npills = 1", "pills: there is no such key here"),
        ('zh = "起身要慢"', 'zh = "起身要慢𠮷"', "there is no picture of '𠮷' (U+20BB7)"),
        ("2026-01-01T00:00:00+08:00", "2026-01-01T00:00:00", "from"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named(
    tmp_path: Path, key: Path, capsys: pytest.CaptureFixture[str], old: str, new: str, complaint: str
) -> None:
    source = tmp_path / "plan.toml"
    source.write_text(EXAMPLE.read_text().replace(old, new, 1))
    assert plans.main(["make", str(source), "--key", str(key), "--out", str(tmp_path / "out")]) == 2
    assert complaint in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_what_is_not_signed_for_this_device_is_refused(
    tmp_path: Path, key: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    signed = made(tmp_path, key)
    check = ["check", str(signed), "--key", f"{key}.pub"]
    assert plans.main([*check, "--device", "dispenser-2"]) == 2
    assert "is for dispenser-1, not for dispenser-2" in capsys.readouterr().err
    signed.write_bytes(signed.read_bytes().replace(b"Aspirin", b"Arsenic"))
    assert plans.main(check) == 2
    assert "was not signed with this key" in capsys.readouterr().err


def test_a_key_is_not_made_anew(key: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert plans.main(["key", str(key)]) == 2
    assert "is there already" in capsys.readouterr().err
    assert key.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("zone", ["Europe/Berlin", "America/New_York", "Asia/Shanghai", "Australia/Lord_Howe"])
def test_the_clocks_changes_are_found_to_the_second(zone: str) -> None:
    since, until = datetime(2026, 1, 1, tzinfo=UTC), datetime(2028, 1, 1, tzinfo=UTC)
    found = plans.offsets(zone, since, until)
    assert len(found) == (1 if zone == "Asia/Shanghai" else 5)
    for at, minutes in found[1:]:
        before, after = (datetime.fromtimestamp(second, ZoneInfo(zone)).utcoffset() for second in (at - 1, at))
        assert before != after
        assert after is not None
        assert after.total_seconds() == 60 * minutes
