"""Checks a board's wiring as a careful colleague would before it is ordered: each problem is one sentence."""

from collections.abc import Iterator

from hardware.boards import Board, Chip, Micro, Part, micro, parts

_PULLUP_OHM = (1000, 10000)


def problems(board: Board) -> list[str]:
    """What is wrong with the board, in the order of its file; nothing if it may be built. Raises BoardError."""
    known = parts()
    chip = micro(board.board.micro)
    unknown = [f"chips: there is no part {each.chip} in parts.toml" for each in board.chips if each.chip not in known]
    if unknown:
        return unknown
    return [
        *_pin_problems(board, chip),
        *_bus_problems(board, chip),
        *_chip_problems(board, known),
        *_power_problems(board, chip, known),
        *_storage_problems(board, chip),
    ]


def uses(board: Board) -> Iterator[tuple[int, str, str, str | None]]:
    """Every use of a pin: (pin, what for, "input", "output" or "bus", the level that it is held at when idle)."""
    for bus in board.i2c:
        yield bus.sda, f"SDA of I2C {bus.bus}", "bus", "high"
        yield bus.scl, f"SCL of I2C {bus.bus}", "bus", "high"
    for chip in board.chips:
        if chip.int_pin is not None:
            held = "high" if parts()[chip.chip].interrupt == "open drain" else None
            yield chip.int_pin, f"interrupt of {chip.chip}", "input", held
    for port in board.serial:
        yield port.tx, f"TX of {port.name}", "output", "high"
        yield port.rx, f"RX of {port.name}", "input", "high"
        if port.direction_pin is not None:
            yield port.direction_pin, f"direction of {port.name}", "output", None
    levels = {"up": "high", "down": "low"}
    for pin in board.pins:
        yield pin.pin, pin.name, pin.use, levels.get(pin.pull or "")


def _pin_problems(board: Board, chip: Micro) -> Iterator[str]:
    taken: dict[int, str] = {}
    for pin, what, use, held in uses(board):
        where = f"pin {pin} ({what})"
        if pin not in chip.pins:
            yield f"{where}: the {chip.micro} has no such pin that is free"
        if pin in taken:
            yield f"{where}: is {taken[pin]} already"
        taken[pin] = what
        if use == "analog" and pin not in chip.analog:
            yield f"{where}: has no converter that works beside the radio"
        if pin in chip.input_only and use not in ("input", "analog"):
            yield f"{where}: can only be an input"
        if pin in chip.usb:
            yield f"{where}: belongs to USB, by which the board is provisioned"
        if pin in chip.console:
            yield f"{where}: belongs to the console"
        if pin in chip.straps and held != chip.straps[pin]:
            yield f"{where}: must be {chip.straps[pin]} when the {chip.micro} starts, and nothing here holds it so"
    for each in board.pins:
        if each.use == "input" and each.pull is None:
            yield f"pin {each.pin} ({each.name}): an input that nothing holds needs a pull"


def _bus_problems(board: Board, chip: Micro) -> Iterator[str]:
    numbers = [bus.bus for bus in board.i2c]
    for bus in board.i2c:
        where = f"I2C {bus.bus}"
        if numbers.count(bus.bus) > 1:
            yield f"{where}: is there twice"
        low, high = _PULLUP_OHM
        if bus.pullup_ohm is None:
            yield f"{where}: has no pull-up resistors"
        elif not low <= bus.pullup_ohm <= high:
            yield f"{where}: pull-ups of {bus.pullup_ohm} ohm are not between {low} and {high}"
        if chip.i2c_of_pin:
            for pin, name, odd in ((bus.sda, "SDA", 0), (bus.scl, "SCL", 1)):
                if pin % 2 != odd or pin % chip.i2c_of_pin // 2 != bus.bus:
                    yield f"{where}: {name} of this block cannot be led to pin {pin}"
    for bus_number in {each.bus for each in board.chips} - set(numbers):
        yield f"chips: there is no I2C {bus_number}"


def _chip_problems(board: Board, known: dict[str, Part]) -> Iterator[str]:
    taken: dict[tuple[int, int], str] = {}
    speeds = {bus.bus: bus.freq_hz for bus in board.i2c}
    for chip in board.chips:
        part = known[chip.chip]
        if chip.address not in part.addresses:
            possible = ", ".join(f"0x{address:02x}" for address in part.addresses)
            yield f"{chip.chip}: cannot have the address 0x{chip.address:02x}, only {possible}"
        where = (chip.bus, chip.address)
        if where in taken:
            yield f"{chip.chip}: 0x{chip.address:02x} on I2C {chip.bus} is {taken[where]}'s already"
        taken[where] = chip.chip
        if speeds.get(chip.bus, 0) > part.freq_hz:
            yield f"{chip.chip}: I2C {chip.bus} is faster than its {part.freq_hz} Hz"
        yield from _interrupt_problems(chip, part)


def _interrupt_problems(chip: Chip, part: Part) -> Iterator[str]:
    if chip.int_pin is not None and part.interrupt == "none":
        yield f"{chip.chip}: has no interrupt output"
    if chip.int_pin is not None and part.interrupt == "open drain" and chip.int_pullup_ohm is None:
        yield f"{chip.chip}: its interrupt output is an open drain and has no pull-up resistor"


def peaks(board: Board) -> dict[str, list[tuple[str, float, float]]]:
    """Per rail what takes current from it: (what, peak in mA, average in mA)."""
    chip = micro(board.board.micro)
    known = parts()
    drawn: dict[str, list[tuple[str, float, float]]] = {rail.name: [] for rail in board.rails}
    drawn.setdefault(board.power.rail, []).append((board.board.module, chip.peak_ma, chip.average_ma))
    for each in board.chips:
        part = known[each.chip]
        drawn.setdefault(each.rail, []).append((part.part, part.peak_ma, part.average_ma))
    for load in board.loads:
        drawn.setdefault(load.rail, []).append((load.name, load.peak_ma, load.average_ma))
    return drawn


def _power_problems(board: Board, chip: Micro, known: dict[str, Part]) -> Iterator[str]:
    rails = {rail.name: rail for rail in board.rails}
    for name, loads in peaks(board).items():
        if name not in rails:
            yield f"rail {name}: there is none, but {', '.join(what for what, _, _ in loads)} would hang on it"
            continue
        total = sum(peak for _, peak, _ in loads)
        if total > rails[name].limit_ma:
            yield f"rail {name}: {total:g} mA at the worst, but it gives {rails[name].limit_ma:g} mA"
    supplied = [(each.chip, each.rail, known[each.chip].volts) for each in board.chips]
    for what, name, (low, high) in [(chip.micro, board.power.rail, chip.volts), *supplied]:
        if name in rails and not low <= rails[name].volts <= high:
            yield f"{what}: {rails[name].volts:g} V of rail {name} are not between {low:g} and {high:g}"


def _storage_problems(board: Board, chip: Micro) -> Iterator[str]:
    room = board.board.flash_kb - chip.firmware_kb
    kept = board.storage.journal_kb + board.storage.urgent_kb + board.storage.records_kb
    if kept > room:
        yield f"storage: journals and records of {kept} kB; beside the firmware there are {max(room, 0)} kB"
