"""The firmware's types are held against each port's own: what a board lacks is found."""

import shutil
from pathlib import Path

import pytest

from hardware import images, port_types

has_stubs = pytest.mark.skipif(
    not all((port_types.stubs(port) / "machine.pyi").exists() for port in port_types.PORTS),
    reason="MicroPython's stubs are not installed; `./kerb check` does that",
)
MISTAKES = {
    "machine.Pin(pin, machine.Pin.IN, _PULLS[pull])": "machine.Pin(pin, machine.Pin.INPUT, _PULLS[pull])",
    "machine.ADC(machine.Pin(pin))": "machine.ADC(machine.Pin(pin), vref=3)",
    "machine.WDT(timeout=timeout_ms)": "machine.WDT(timeout_ms=timeout_ms)",
}


@has_stubs
@pytest.mark.parametrize("port", port_types.PORTS)
def test_what_a_board_lacks_is_found(tmp_path: Path, port: str) -> None:
    for name in ("firmware", "protocols"):
        shutil.copytree(images.ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    board = tmp_path / "firmware" / "hal" / "board.py"
    source = board.read_text()
    for right, wrong in MISTAKES.items():
        assert source.count(right) == 1, right
        source = source.replace(right, wrong)
    board.write_text(source)
    found = [
        problem for problem in port_types.problems(port, tmp_path) if "board.py" in problem and "error:" in problem
    ]
    assert len({problem.split(":")[2] for problem in found}) == len(MISTAKES), found
