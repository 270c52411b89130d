"""Medication plans that a gateway passes on to its dispensers."""

from pathlib import Path

from edge.links.plan_files import PlanFiles
from protocols import medication


def test_a_plan_is_given_once_and_again_when_it_or_the_broker_is_new(tmp_path: Path) -> None:
    files = PlanFiles(tmp_path, ["dispenser-1", "dispenser-2"])
    assert list(files.news()) == []
    (tmp_path / "plans").mkdir()
    plan = tmp_path / "plans" / "dispenser-1.plan"
    plan.write_bytes(b"one")
    assert list(files.news()) == [("dispenser-1", b"one")]
    assert list(files.news()) == []
    plan.write_bytes(b"two")
    assert list(files.news()) == [("dispenser-1", b"two")]
    files.forget()
    assert list(files.news()) == [("dispenser-1", b"two")]


def test_what_is_too_long_for_a_plan_stays(tmp_path: Path) -> None:
    (tmp_path / "plans").mkdir()
    (tmp_path / "plans" / "dispenser-1.plan").write_bytes(bytes(medication.MAX_BYTES + 1))
    assert list(PlanFiles(tmp_path, ["dispenser-1"]).news()) == []
