"""The pages of docs/boards, written from hardware/boards: wiring diagram and table, bill of materials, power budget."""

from collections.abc import Iterator
from pathlib import Path

from hardware import boards, wiring
from hardware.boards import Board
from hardware.drawing import draw
from hardware.tables import table

PAGES = Path(__file__).parent.parent / "docs" / "boards"
_WIRING = ("pin / 引脚", "what / 用途", "to / 接到", "idle / 静态")


def files() -> dict[str, str]:
    """The text of each file of the folder by its name."""
    found = {name: boards.find(name) for name in boards.names()}
    written = {"README.md": _index(found)}
    for name, board in found.items():
        written[f"{name}.svg"] = draw(board)
        written[f"{name}.md"] = _page(name, board)
    return written


def _index(found: dict[str, Board]) -> str:
    rows = [
        (f"[{name}]({name}.md)", board.board.name.en, board.board.name.zh, board.board.micro, board.board.app)
        for name, board in found.items()
    ]
    lines = [
        "# Boards / 电路板",
        "",
        "Each page is written by `./kerb docs` from a file in [hardware/boards](../../hardware/boards);",
        "`./kerb hardware check` looks for what would not work.",
        "",
        "各页由 `./kerb docs` 根据 [hardware/boards](../../hardware/boards) 中的文件生成;",
        "`./kerb hardware check` 检查接线错误。",
        "",
        *table(("board", "name", "名称", "micro", "app"), rows),
    ]
    return "\n".join(lines) + "\n"


def _page(name: str, board: Board) -> str:
    head = board.board
    lines = [f"# {head.name.en} / {head.name.zh}", "", _source(name), "", f"![]({name}.svg)", ""]
    lines += [
        "## Wiring / 接线",
        "",
        *table(_WIRING, list(_wires(board))),
    ]
    lines += ["", "## Parts / 物料", "", *table(("part / 型号", "count / 数量"), list(_parts(board)))]
    lines += ["", "## Power / 功耗", "", f"{board.power.source}", "", *_power(board)]
    return "\n".join(lines) + "\n"


def _source(name: str) -> str:
    return (boards.BOARDS / f"{name}.toml").read_text(encoding="utf-8").splitlines()[0].removeprefix("# ")


def _wires(board: Board) -> Iterator[tuple[str, ...]]:
    targets = {pin.name: pin.to for pin in board.pins}
    for port in board.serial:
        targets |= dict.fromkeys((f"TX of {port.name}", f"RX of {port.name}", f"direction of {port.name}"), port.to)
    names = {f"interrupt of {chip.chip}": boards.parts()[chip.chip].part for chip in board.chips}
    for bus in board.i2c:
        on_it = ", ".join(boards.parts()[chip.chip].part for chip in board.chips if chip.bus == bus.bus)
        pull = f", {bus.pullup_ohm / 1000:g} kΩ" if bus.pullup_ohm else ""
        names |= {f"SDA of I2C {bus.bus}": on_it + pull, f"SCL of I2C {bus.bus}": on_it + pull}
    for pin, what, _, held in sorted(wiring.uses(board)):
        yield f"GPIO{pin}", what, targets.get(what) or names.get(what, ""), held or "driven / 由外部驱动"


def _parts(board: Board) -> Iterator[tuple[str, str]]:
    yield board.board.module, "1"
    for chip in board.chips:
        yield boards.parts()[chip.chip].part, "1"
    for load in board.loads:
        yield f"{load.part} ({load.name})", "1"
    for part, count in board.parts.items():
        yield part, f"{count}"


def _power(board: Board) -> Iterator[str]:
    rows = []
    total = 0.0
    limits = {rail.name: rail for rail in board.rails}
    for rail, loads in wiring.peaks(board).items():
        for what, peak, average in loads:
            rows.append((rail, what, f"{peak:g}", f"{average:g}"))
        peaks = sum(peak for _, peak, _ in loads)
        averages = sum(average for _, _, average in loads)
        limit = f"**of {limits[rail].limit_ma:g} mA at {limits[rail].volts:g} V**"
        rows.append((rail, limit, f"**{peaks:g}**", f"**{averages:g}**"))
        total += averages
    yield from table(("rail / 电源轨", "what / 负载", "peak mA / 峰值", "average mA / 平均"), rows)
    if board.power.battery_mah:
        hours = board.power.battery_mah / total
        yield ""
        yield f"{board.power.battery_mah:g} mAh last about {hours:.0f} hours / 约可用 {hours:.0f} 小时."
