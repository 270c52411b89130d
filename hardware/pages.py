"""Writes docs/devices from hardware/devices, and docs/boards (board_pages.py): a page for each, and their lists."""

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from hardware import board_pages
from hardware.catalogue import DEVICES, Ble, Command, DeviceModel, Metric, Modbus, Register, Serial, catalogue
from hardware.tables import table

PAGES = Path(__file__).parent.parent / "docs" / "devices"
_METRIC = ("metric", "name", "名称", "unit / 单位", "where / 位置", "values / 取值", "deadband / 死区")
_COMMAND = ("command", "name", "名称", "writes / 写入", "values / 取值")
_LINKS = {"modbus": "Modbus", "ble": "Bluetooth LE", "serial": "Serial / 串口", "mqtt": "MQTT"}
_BLOCKS = {
    "modbus": 'host = "192.0.2.10"  # or: serial = {{ port = "/dev/serial/by-id/...", baud = 9600 }}',
    "ble": 'adapter = "bluez"',
    "serial": 'port = "/dev/serial/by-id/..."',
    "mqtt": "port = 8884",
}
_DEVICES = {
    "modbus": 'address = "{unit_id}"',
    "ble": 'address = "C0:12:34:56:78:9A"',
    "serial": "",
    "mqtt": "",
}


def pages() -> dict[str, str]:
    """The text of each page by its file's name."""
    models = catalogue()
    return {"README.md": _index(models), **{f"{name}.md": _page(model) for name, model in models.items()}}


def _index(models: Mapping[str, DeviceModel]) -> str:
    rows = []
    for link, title in _LINKS.items():
        for name, model in models.items():
            if model.device.link == link:
                head = model.device
                rows.append((f"[{name}]({name}.md)", head.maker, head.name.en, head.name.zh, title))
    lines = [
        "# Devices / 设备",
        "",
        "Each page is written by `./kerb docs` from the model's file in [hardware/devices](../../hardware/devices).",
        "",
        "各页由 `./kerb docs` 根据 [hardware/devices](../../hardware/devices) 中的设备文件生成。",
        "",
        *table(("model", "maker", "device", "设备", "link"), rows),
    ]
    return "\n".join(lines) + "\n"


def _page(model: DeviceModel) -> str:
    head = model.device
    lines = [f"# {head.name.en} / {head.name.zh}", "", _source(head.model), ""]
    facts = [("maker / 厂商", head.maker), ("model / 型号", f"`{head.model}`"), ("link / 接口", _LINKS[head.link])]
    lines += table(("", ""), [*facts, *_facts(model)])
    lines += ["", "## Attach it / 接入", "", "```toml", *_block(model), "```"]
    lines += ["", "## Metrics / 指标", ""]
    lines += table(_METRIC, [_metric(name, metric) for name, metric in model.metrics.items()])
    if model.commands:
        lines += ["", "## Commands / 命令", ""]
        lines += table(_COMMAND, [_command(name, command) for name, command in model.commands.items()])
    if model.examples:
        lines += ["", "## Examples / 示例", ""]
        rows = [(f"`{example.raw}`", example.metric, f"{example.value:g}") for example in model.examples]
        lines += table(("raw / 原始数据", "metric", "value / 值"), rows)
    return "\n".join(lines) + "\n"


def _source(model: str) -> str:
    """What the file says of the device and where its facts are from: its first comment."""
    lines = (DEVICES / f"{model}.toml").read_text(encoding="utf-8").splitlines()
    first = next(number for number, line in enumerate(lines) if not line.startswith("#"))
    return " ".join(line.removeprefix("#").strip() for line in lines[:first])


def _facts(model: DeviceModel) -> Iterator[tuple[str, str]]:
    if model.modbus:
        yield from _modbus_facts(model.modbus)
    if model.ble:
        yield from _ble_facts(model.ble)
    if model.serial:
        yield from _serial_facts(model.serial)


def _modbus_facts(modbus: Modbus) -> Iterator[tuple[str, str]]:
    yield "unit id / 站号", f"{modbus.unit_id}"
    yield "period / 周期", f"{modbus.period_ms} ms"
    for name, group in modbus.groups.items():
        yield f"period of {name} / {name} 周期", f"{group.period_ms} ms"
    yield "order / 次序", f"bytes {modbus.byte_order}, words {modbus.word_order}"
    if modbus.max_registers < 125:
        yield "registers at once / 一次最多读取", f"{modbus.max_registers}"
    if modbus.fingerprint:
        register = modbus.fingerprint.register_
        values = " or ".join(map(str, modbus.fingerprint.values))
        yield "known by / 识别", f"{register.table} 0x{register.address:04X} = {values}"


def _ble_facts(ble: Ble) -> Iterator[tuple[str, str]]:
    yield "service / 服务", f"0x{ble.service:04X}"
    if ble.characteristics:
        yield "characteristics / 特征", ", ".join(f"0x{each:04X}" for each in ble.characteristics)
    if ble.advertises:
        yield "advertises / 广播", ble.advertises
    if ble.local_name:
        yield "known by / 识别", f"`{ble.local_name}…`"
    if ble.bond:
        yield "bond / 绑定", "yes / 是"
    if ble.records:
        yield "stored records / 存储记录", f"{ble.records}"


def _serial_facts(serial: Serial) -> Iterator[tuple[str, str]]:
    yield "line / 线路", f"{serial.baud} baud, parity {serial.parity}, {serial.stop_bits} stop"
    yield "framing / 帧格式", serial.framing
    if serial.frame:
        parts = {"start": serial.frame.start, "length": serial.frame.length, "end": serial.frame.end}
        yield "frame / 帧", ", ".join(f"{part} {value}" for part, value in parts.items() if value)
        yield "check / 校验", serial.frame.check or "none / 无"
    if serial.request:
        yield "request / 请求", f"`{serial.request}`, {serial.period_ms} ms"
    silence = f"{serial.silence_s:g} s" if serial.silence_s else "never / 从不"
    yield "offline after / 离线判定", silence


def _block(model: DeviceModel) -> Iterator[str]:
    head = model.device
    unit_id = model.modbus.unit_id if model.modbus else ""
    words = {"model": head.model, "unit_id": unit_id}
    yield "[[links]]"
    yield f'name = "{head.link}-1"'
    yield f'kind = "{head.link}"'
    yield _BLOCKS[head.link].format(**words)
    more = _DEVICES[head.link].format(**words)
    yield f'devices = [{{ thing = "{head.kind}-1", model = "{head.model}"{", " if more else ""}{more} }}]'


def _metric(name: str, metric: Metric) -> tuple[str, ...]:
    unit = f"`{metric.unit}`" if metric.unit else ""
    deadband = "" if metric.deadband is None else f"{metric.deadband:g}"
    return name, metric.name.en, metric.name.zh, unit, _place(metric), _values(metric), deadband


def _place(metric: Metric) -> str:
    if metric.register_:
        register = metric.register_
        scaled = f" × {register.scale:g}" if register.scale != 1 else ""
        shifted = f" {register.offset:+g}" if register.offset else ""
        bit = f" bit {register.bit}" if register.bit is not None else ""
        return _register(register) + bit + scaled + shifted
    if metric.sentence:
        return metric.sentence
    if metric.field:
        field = metric.field
        scaled = f" × {field.scale:g}" if field.scale != 1 else ""
        return (f"part {field.index}" if field.index is not None else f"byte {field.at} {field.type}") + scaled
    return ""


def _register(register: Register) -> str:
    place = f"{register.table} 0x{register.address:04X}"
    return place if register.table in ("coil", "discrete") else f"{place} {register.type}"


def _values(of: Metric | Command) -> str:
    if isinstance(of, Metric) and of.states:
        return "; ".join(f"{code}: {name.en} / {name.zh}" for code, name in of.states.items())
    return "" if of.range is None else f"{of.range[0]:g} … {of.range[1]:g}"


def _command(name: str, command: Command) -> tuple[str, ...]:
    if command.register_:
        target = _register(command.register_)
    elif command.characteristic is not None:
        target = f"0x{command.characteristic:04X} {command.type}"
    else:
        target = f"`{command.frame}`" if command.frame else ""
    return name, command.name.en, command.name.zh, target, _values(command)


def main() -> int:
    """Write the pages of devices and boards; those of what is gone go too."""
    for folder, written in ((PAGES, pages()), (board_pages.PAGES, board_pages.files())):
        folder.mkdir(parents=True, exist_ok=True)
        for old in folder.iterdir():
            if old.name not in written:
                old.unlink()
        for name, text in written.items():
            (folder / name).write_text(text, encoding="utf-8")
        print(f"{len(written)} files in {folder}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
