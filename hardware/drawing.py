"""Draws a board's wiring as SVG: the microcontroller on the left, what hangs on its pins on the right, a row a wire."""

from collections.abc import Iterator
from html import escape
from typing import NamedTuple

from hardware.boards import Board, parts
from hardware.catalogue import Name

_ROW, _TOP, _WIDTH = 24, 64, 940
_MICRO, _BOX, _BOX_WIDTH = (40, 190), 560, 340  # x of the microcontroller's edges and of the boxes
_TRUNK, _TRUNK_STEP = 250, 22
_COLOURS = {
    "sda": "#1565c0",
    "scl": "#6a1b9a",
    "int": "#ad1457",
    "input": "#2e7d32",
    "analog": "#00695c",
    "output": "#d84315",
}
_STYLE = (
    "text{font:13px sans-serif;fill:#212121}.small{font-size:11px;fill:#616161}.title{font-size:17px;font-weight:bold}"
    "rect{fill:#fafafa;stroke:#424242;stroke-width:1.5}path{fill:none;stroke-width:2}"
)


class _Wire(NamedTuple):
    """A row of a box: its label, the pin it leads to, and the kind of wire."""

    label: str
    pin: int
    kind: str


class _Box(NamedTuple):
    title: str
    note: str
    wires: tuple[_Wire, ...]


def draw(board: Board) -> str:
    """The picture, as the text of an SVG file."""
    boxes = [*_chip_boxes(board), *_serial_boxes(board), *_pin_boxes(board)]
    lines: list[str] = []
    y = _TOP
    pins: dict[int, int] = {}  # pin -> y of its row at the microcontroller
    trunks = _trunks(board)
    for box in boxes:
        lines += _draw_box(box, y)
        for row, wire in enumerate(box.wires):
            wire_y = y + _ROW * (row + 1) + _ROW // 2
            lines += _draw_wire(wire, wire_y, pins, trunks)
        y += _ROW * (len(box.wires) + 1) + 14
    height = y + 20
    lines += _draw_trunks(trunks)
    lines += _draw_micro(board, pins, y)
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" width="{_WIDTH}" height="{height}">'
        f"<title>{_both(board.board.name)}</title><style>{_STYLE}</style>"
        f'<rect x="0" y="0" width="{_WIDTH}" height="{height}" style="fill:#fff;stroke:none"/>'
    )
    title = f'<text class="title" x="40" y="32">{_both(board.board.name)}</text>'
    return "\n".join([head, title, *lines, "</svg>"]) + "\n"


def _chip_boxes(board: Board) -> Iterator[_Box]:
    for chip in board.chips:
        bus = next(bus for bus in board.i2c if bus.bus == chip.bus)
        wires = [_Wire("SDA", bus.sda, "sda"), _Wire("SCL", bus.scl, "scl")]
        if chip.int_pin is not None:
            pull = f", {chip.int_pullup_ohm / 1000:g} kΩ" if chip.int_pullup_ohm else ""
            wires.append(_Wire(f"INT{pull}", chip.int_pin, "int"))
        yield _Box(parts()[chip.chip].part, f"I2C {chip.bus}, 0x{chip.address:02X}, {chip.rail}", tuple(wires))


def _pin_boxes(board: Board) -> Iterator[_Box]:
    for pin in board.pins:
        pull = f" ({pin.pull})" if pin.use == "input" else ""
        yield _Box(pin.name, pin.to, (_Wire(f"{pin.use}{pull}", pin.pin, pin.use),))


def _serial_boxes(board: Board) -> Iterator[_Box]:
    for port in board.serial:
        wires = [_Wire("TX", port.tx, "output"), _Wire("RX", port.rx, "input")]
        if port.direction_pin is not None:
            wires.append(_Wire("direction", port.direction_pin, "output"))
        yield _Box(port.name, f"{port.to}, {port.baud} baud", tuple(wires))


def _trunks(board: Board) -> dict[int, tuple[int, str, list[int]]]:
    """The wires that several boxes share: pin -> (x, kind, the rows' y)."""
    shared: dict[int, tuple[int, str, list[int]]] = {}
    for bus in board.i2c:
        for pin, kind in ((bus.sda, "sda"), (bus.scl, "scl")):
            shared[pin] = (_TRUNK + _TRUNK_STEP * len(shared), kind, [])
    return shared


def _draw_box(box: _Box, y: int) -> list[str]:
    height = _ROW * (len(box.wires) + 1)
    lines = [
        f'<rect x="{_BOX}" y="{y}" width="{_BOX_WIDTH}" height="{height}" rx="4"/>',
        f'<text x="{_BOX + 10}" y="{y + 17}"><tspan font-weight="bold">{escape(box.title)}</tspan>'
        f'<tspan class="small" dx="8">{escape(box.note)}</tspan></text>',
    ]
    for row, wire in enumerate(box.wires):
        lines.append(f'<text class="small" x="{_BOX + 10}" y="{y + _ROW * (row + 1) + 16}">{escape(wire.label)}</text>')
    return lines


def _draw_wire(wire: _Wire, y: int, pins: dict[int, int], trunks: dict[int, tuple[int, str, list[int]]]) -> list[str]:
    colour = _COLOURS[wire.kind]
    if wire.pin in trunks:
        x, _, rows = trunks[wire.pin]
        start = x if rows else _MICRO[1]
        rows.append(y)
        pins.setdefault(wire.pin, y)
        return [f'<path stroke="{colour}" d="M{start} {y}H{_BOX}"/>']
    pins[wire.pin] = y
    return [f'<path stroke="{colour}" d="M{_MICRO[1]} {y}H{_BOX}"/>']


def _draw_trunks(trunks: dict[int, tuple[int, str, list[int]]]) -> Iterator[str]:
    for x, kind, rows in trunks.values():
        if len(rows) > 1:
            yield f'<path stroke="{_COLOURS[kind]}" d="M{x} {min(rows)}V{max(rows)}"/>'
            yield from (f'<circle cx="{x}" cy="{y}" r="4" fill="{_COLOURS[kind]}"/>' for y in rows)


def _draw_micro(board: Board, pins: dict[int, int], bottom: int) -> Iterator[str]:
    left, right = _MICRO
    yield f'<rect x="{left}" y="{_TOP}" width="{right - left}" height="{bottom - _TOP - 14}" rx="4"/>'
    yield f'<text x="{left + 10}" y="{_TOP + 17}" font-weight="bold">{escape(board.board.micro)}</text>'
    module = f"{board.board.module}, {board.power.rail}"
    yield f'<text class="small" x="{left}" y="{_TOP - 8}">{escape(module)}</text>'
    for pin, y in sorted(pins.items()):
        yield f'<text x="{right - 10}" y="{y + 5}" text-anchor="end">GPIO{pin}</text>'
    for place, bus in enumerate(board.i2c):
        if bus.pullup_ohm:
            text = f"I2C {bus.bus}: pull-ups {bus.pullup_ohm / 1000:g} kΩ, {bus.freq_hz // 1000} kHz"
            yield f'<text class="small" x="{_BOX}" y="{_TOP - 26 + 14 * place}">{text}</text>'


def _both(name: Name) -> str:
    return escape(f"{name.en} / {name.zh}")
