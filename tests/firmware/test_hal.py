"""The ports have what firmware.hal says; the simulated board's pins, converter and serial port do as they should."""

import ast
import os
import tty
from collections.abc import Iterator
from pathlib import Path

import pytest

from hardware.sim.shims import machine, simboard

HAL = Path(__file__).parents[2] / "firmware" / "hal"


def board(**description: object) -> simboard.Board:
    made = simboard.Board({"unique_id": "00", "chips": [], **description}, tick_ms=0)
    simboard.install(made)
    return made


def functions(tree: ast.AST) -> dict[str, str]:
    """Name -> parameters of the functions right below."""
    found = {}
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
            node.args.args = [each for each in node.args.args if each.arg != "self"]
            found[node.name] = ast.unparse(node.args)
    return found


def test_each_port_has_what_the_interface_says() -> None:
    trees = {path.stem: ast.parse(path.read_text(encoding="utf-8")) for path in HAL.glob("*.py")}
    [wanted] = [node for node in ast.walk(trees["__init__"]) if isinstance(node, ast.ClassDef) and node.name == "Port"]
    interface = functions(wanted)
    for port in ("esp32", "rp2", "sim"):
        found: dict[str, str] = {}
        for node in ast.walk(trees[port]):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("firmware.hal."):
                there = functions(trees[str(node.module).rpartition(".")[2]])
                found |= {alias.name: there[alias.name] for alias in node.names}
        found |= functions(trees[port])
        assert found == interface, port


def test_an_input_follows_its_pull_until_it_is_driven() -> None:
    line = board().line(14)
    down = machine.Pin(14, machine.Pin.IN, machine.Pin.PULL_DOWN)
    assert down.value() == 0
    line.drive(1)
    assert down.value() == 1
    line.drive(None)
    assert down.value() == 0


@pytest.mark.parametrize(
    ("trigger", "seen"),
    [
        (machine.Pin.IRQ_FALLING, [0, 0]),
        (machine.Pin.IRQ_RISING, [1, 1]),
        (machine.Pin.IRQ_FALLING | machine.Pin.IRQ_RISING, [0, 1, 0, 1]),
    ],
)
def test_edges_interrupt(trigger: int, seen: list[int]) -> None:
    line = board().line(14)
    pin = machine.Pin(14, machine.Pin.IN, machine.Pin.PULL_UP)
    levels: list[int | None] = []
    pin.irq(lambda each: levels.append(each.value()), trigger)
    for level in (1, 0, 0, None, 0, 1):
        line.drive(level)
    assert levels == seen
    pin.irq(None)
    line.drive(0)
    assert levels == seen


def test_an_output_drives_its_line_and_models_see_it() -> None:
    line = board().line(3)
    seen: list[int] = []
    line.watchers.append(seen.append)
    out = machine.Pin(3, machine.Pin.OUT, value=0)
    out.value(1)
    out.value(1)
    out.value(0)
    assert seen == [0, 1, 0]
    drain = machine.Pin(3, machine.Pin.OPEN_DRAIN)
    drain.value(1)
    line.pull(1)
    assert drain.value() == 1
    drain.value(0)
    assert drain.value() == 0


def test_a_contact_keeps_its_times_and_loses_no_pulse() -> None:
    wired = [
        {"model": "contact", "pins": {"contact": 14}, "with": {"changes": [[0, 1], [40, 0], [41, 1]], "repeat_ms": 100}}
    ]
    made = board(wired=wired)
    pin = machine.Pin(14, machine.Pin.IN, machine.Pin.PULL_UP)
    falls: list[int] = []
    pin.irq(lambda _: falls.append(1), machine.Pin.IRQ_FALLING)
    made.advance(39_999)
    assert not falls
    made.advance(40_500)
    assert pin.value() == 0
    made.advance(345_000)
    assert len(falls) == 4
    with pytest.raises(simboard.BoardError, match="no model of lever"):
        board(wired=[{"model": "lever", "pins": {}}])


def test_the_converter_reads_the_level_or_the_voltage() -> None:
    made = board()
    converter = machine.ADC(machine.Pin(26))
    assert converter.read_u16() == 65535
    made.line(26).u16 = 31000
    assert converter.read_u16() == 31000


@pytest.fixture
def terminal() -> Iterator[tuple[int, str]]:
    """One end of a pseudo-terminal, and the name of the other."""
    ours, theirs = os.openpty()
    tty.setraw(theirs)
    yield ours, os.ttyname(theirs)
    os.close(ours)
    os.close(theirs)


def port(baud: int = 9600, rxbuf: int = 256) -> machine.UART:
    return machine.UART(1, baud, tx=machine.Pin(8), rx=machine.Pin(9), rxbuf=rxbuf)


def test_a_serial_port_on_a_terminal(terminal: tuple[int, str]) -> None:
    made = board(terminals={"1": terminal[1]})
    uart = port()
    assert uart.any() == 0
    assert uart.read(10) is None
    os.write(terminal[0], b"$GPRMC\r\n")
    assert uart.any() == 8
    assert (uart.read(2), uart.read(99), uart.read(1)) == (b"$G", b"PRMC\r\n", None)
    uart.write(b"\x00\x11\x13\xff")
    assert os.read(terminal[0], 99) == b"\x00\x11\x13\xff"
    made.close()


def test_a_serial_port_sends_at_its_speed_and_forgets_what_it_has_no_room_for() -> None:
    made = board()
    uart = port(baud=10_000, rxbuf=4)
    made.wire(1).arrived += b"123456"
    assert uart.read(99) == b"1234"
    uart.write(b"abc")
    assert not uart.txdone()
    made.advance(2_999)
    assert not uart.txdone()
    made.advance(3_000)
    assert uart.txdone()
    assert made.wire(1).sent == b"abc"
