"""The shared vectors, each a test on CPython, and all of them once on MicroPython."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.vectors import run

ROOT = Path(__file__).parents[2]
ALL = [(name, codec, vector) for name in run.files() for codec, vector in run.load(name)]


def micropython() -> str:
    beside = Path(sys.executable).parent / "micropython"
    found = str(beside) if beside.exists() else shutil.which("micropython")
    if found is None:
        pytest.skip("micropython is not installed")
    return found


@pytest.mark.parametrize(("codec", "vector"), [pytest.param(c, v, id=f"{n}:{v['name']}") for n, c, v in ALL])
def test_vector(codec: str, vector: dict[str, object]) -> None:
    assert run.problems(codec, vector) == []


def test_names_are_unique_and_sources_given() -> None:
    names = [(name, vector["name"]) for name, _, vector in ALL]
    assert len(names) == len(set(names))
    assert all(vector["source"] for _, _, vector in ALL)


def test_micropython_passes_the_same_vectors() -> None:
    result = subprocess.run(
        [micropython(), "tests/vectors/run.py"],
        cwd=ROOT,
        env={**os.environ, "MICROPYPATH": ".:.frozen"},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert result.stdout.splitlines()[-1:] == [f"{len(ALL)} passed, 0 failed"], result.stdout + result.stderr
    assert result.returncode == 0


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        ({"input": "07ff", "expect": {"mantissa": 2047, "exponent": 0}}, "gives nan"),
        ({"input": "07ff", "error": "DecodeError"}, "gives nan"),
        ({"input": "10000", "expect": {"mantissa": 0, "exponent": 0}}, "raises DecodeError"),
        ({"input": "0048", "expect": {"mantissa": 72, "exponent": 0}, "encodes": "0049"}, "encodes to 0048"),
    ],
)
def test_the_runner_notices(broken: dict[str, object], said: str) -> None:
    (found,) = run.problems("sfloat", {"name": "broken", **broken})
    assert said in found


def test_the_runner_notices_an_accepted_prefix() -> None:
    vector = {"input": "4b65", "args": {"uuid": "2A29"}, "expect": [["manufacturer_name", "Ke", ""]]}
    assert run.problems("gatt", vector) == ["cut to 0 is accepted", "cut to 1 is accepted"]
