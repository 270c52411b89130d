"""A sensor node for rooms, streets and cabinets: whatever sensors and inputs its board has, and limits of its own.

What may be set (`settings` in the config), all of it optional, in the units of the metrics:

{"period_s": 10, "silence_s": 60, "deadband": {"temperature": 0.1},
 "limits": [{"name": "overheat", "metric": "temperature", "above": 40, "hysteresis": 2, "output": "fan"}],
 "modbus": {"unit": 17, "registers": ["temperature", "door"], "outputs": ["fan"]}}
"""

import asyncio

from firmware.apps.inputs import Input, make_inputs
from firmware.apps.limits import Deadband, Limit
from firmware.apps.sensors import PINS, SENSORS, places
from firmware.core.device import Device
from firmware.errors import ConfigError, DriverError
from protocols.reading import BAD_INVALID, BAD_TIMEOUT, GOOD, DecimalFraction, reading
from protocols.topics import BULK, URGENT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from firmware.apps.sensors import Metric, Sensor
    from firmware.core.config import Config
    from firmware.core.modbus_slave import ModbusSlave
    from firmware.drivers.rs485 import Rs485
    from firmware.hal import DigitalOut, Port
    from protocols.reading import Reading

MODEL = "kerb-sensor-node"
_PERIOD_S, _SILENCE_S = 10, 60
_INPUT_S = 0.02
_EVEN = 0  # the parity that Modbus asks for
_LIMIT_MS = 10000  # beyond its period, within which a sensor's task has to report


class _Channel:
    """One metric: what of it is sent, and which limits it has."""

    def __init__(self, metric: "Metric", deadband: Deadband):
        self.metric = metric
        self.deadband = deadband
        self.limits: "list[tuple[str, Limit, DigitalOut | None]]" = []

    def made(self, value: "int | None", quality: int) -> "Reading":
        """The reading of a value."""
        name, unit, exponent = self.metric
        return reading(
            name, DecimalFraction(value, exponent) if value is not None and exponent else value, unit, quality
        )


class _SensorNode:
    def __init__(self, device: Device):
        self._device = device
        settings = device.config.settings
        self._period_s: int = _number(settings, "period_s", _PERIOD_S, least=1)
        self._silence_ms = 1000 * _number(settings, "silence_s", _SILENCE_S, least=1)
        self._channels: "dict[str, _Channel]" = {}
        self._working: "dict[str, bool]" = {}
        self._suppressed = 0
        self._latest: "dict[str, Any]" = {}  # by metric, for Modbus
        self._sensors = [
            (name, sensor, self._channels_of(sensor, settings), sensor.make(device, place))
            for name, sensor in SENSORS
            for place in places(device.config, name)
        ]
        taken = [name for pins in PINS.values() for name in pins]
        inputs = [pin for pin in device.config.entries("pins") if pin["name"] not in taken]
        self._inputs = make_inputs(inputs, device.hal)
        for entry in settings.get("limits", []):
            self._add_limit(entry)
        self._modbus = self._make_modbus(settings["modbus"]) if "modbus" in settings else None
        device.check("sensors", lambda: all(self._working.values()))

    async def run(self) -> None:
        """Until one of the tasks fails; then the device starts anew."""
        tasks = [self._sample(*each) for each in self._sensors]
        for name, _, _, chip in self._sensors:
            if hasattr(chip, "run"):
                tasks.append(chip.run(self._device.watch(name + " line")))
        if self._inputs:
            tasks.append(self._watch_inputs())
        if self._modbus is not None:
            tasks.append(_serve(*self._modbus))
        await self._device.run(*tasks, figures=lambda: f", {self._suppressed} readings within their deadbands")

    def _channels_of(self, sensor: "Sensor", settings: "dict[str, Any]") -> "list[_Channel | None]":
        """A channel for each of the sensor's metrics, None for those that another one gives already."""
        made: "list[_Channel | None]" = []
        widths = settings.get("deadband", {})
        for metric in sensor.metrics:
            if metric.name in self._channels:
                made.append(None)
                continue
            width = _scaled(_number(widths, metric.name, 0), metric.exponent)
            self._channels[metric.name] = _Channel(metric, Deadband(width, self._silence_ms))
            made.append(self._channels[metric.name])
        return made

    def _add_limit(self, entry: "dict[str, Any]") -> None:
        channel = self._channels.get(entry.get("metric", ""))
        if channel is None or not isinstance(entry.get("name"), str):
            raise ConfigError(
                "settings.limits", f"{entry} needs a name and one of the metrics {sorted(self._channels)}"
            )
        exponent = channel.metric.exponent
        above, below = [
            _scaled(_number(entry, key, 0), exponent) if key in entry else None for key in ("above", "below")
        ]
        limit = Limit(above=above, below=below, hysteresis=_scaled(_number(entry, "hysteresis", 0), exponent))
        output = None
        if "output" in entry:
            output = self._output(entry["output"])
        channel.limits.append((entry["name"], limit, output))

    def _output(self, name: str) -> "DigitalOut":
        return self._device.hal.digital_out(self._device.config.pin(name, "output")["pin"])

    # --- sensors ---

    async def _sample(self, name: str, sensor: "Sensor", channels: "list[_Channel | None]", chip: "Any") -> None:
        """Measure in each period; a sensor that fails is said to, and started again."""
        alive = self._device.watch(name, 1000 * self._period_s + _LIMIT_MS)
        clock = self._device.clock
        self._working[name] = False
        due_ms = clock.monotonic_ms()
        while True:
            alive()
            try:
                if not self._working[name] and hasattr(chip, "start"):
                    await _done(chip.start())
                values = await _done(getattr(chip, sensor.read)())
                self._working[name] = True
                self._publish(channels, values if isinstance(values, tuple) else (values,), GOOD)
            except DriverError as error:
                print("sensor_node:", error)
                self._working[name] = False
                self._publish(channels, (None,) * len(channels), BAD_TIMEOUT)
            due_ms = max(due_ms + 1000 * self._period_s, clock.monotonic_ms())
            await asyncio.sleep((due_ms - clock.monotonic_ms()) / 1000)

    def _publish(self, channels: "list[_Channel | None]", values: "tuple[int | None, ...]", quality: int) -> None:
        """Send what is worth it; what passes a limit is urgent, with the reading that did."""
        now_ms = self._device.clock.monotonic_ms()
        if values == (None,) and quality == GOOD:
            return  # nothing new yet
        readings: "list[Reading]" = []
        urgent: "list[Reading]" = []
        for channel, value in zip(channels, values):
            if channel is None:
                continue
            self._latest[channel.metric.name] = value
            passed = self._passed(channel, value)
            said = BAD_INVALID if value is None and quality == GOOD else quality  # the sensor itself has none
            worth = channel.deadband.passes(value, said, now_ms)
            if passed:
                urgent.append(channel.made(value, said))
                urgent += passed
            elif worth:
                readings.append(channel.made(value, said))
            else:
                self._suppressed += 1
        if urgent:
            self._device.publish(urgent, lane=URGENT)
        if readings:
            self._device.publish(readings)

    def _passed(self, channel: _Channel, value: "int | None") -> "list[Reading]":
        """The limits that this value passes, either way; their outputs follow at once, whatever the line does."""
        changed = []
        for name, limit, output in channel.limits:
            if value is not None and limit.feed(value):
                if output is not None:
                    output.value(1 if limit.active else 0)
                changed.append(reading(name, 1 if limit.active else 0, "1"))
        return changed

    # --- inputs ---

    async def _watch_inputs(self) -> None:
        """Send every change at once, and all states again after a silence."""
        alive = self._device.watch("inputs")
        clock = self._device.clock
        told_ms: "int | None" = None
        while True:
            alive()
            now_ms = clock.monotonic_ms()
            changed = [each for each in self._inputs if each.look(now_ms)]
            if told_ms is None or now_ms - told_ms >= self._silence_ms:
                self._publish_states(self._inputs, BULK)
                told_ms = now_ms
            else:
                self._publish_states([each for each in changed if each.urgent], URGENT)
                self._publish_states([each for each in changed if not each.urgent], BULK)
            await asyncio.sleep(_INPUT_S)

    def _publish_states(self, inputs: "list[Input]", lane: str) -> None:
        readings = _states(inputs)
        self._latest.update([(each.metric, each.value) for each in readings])
        if readings:
            self._device.publish(readings, lane=lane)

    # --- Modbus ---

    def _make_modbus(self, settings: "dict[str, Any]") -> "tuple[ModbusSlave, Rs485]":
        """The slave's role on the board's RS-485 line."""
        from firmware.apps.modbus_registers import NodeRegisters  # noqa: PLC0415 - few nodes have it
        from firmware.core.modbus_slave import ModbusSlave  # noqa: PLC0415
        from firmware.drivers.rs485 import Rs485  # noqa: PLC0415

        hal, port = self._device.hal, self._device.config.serial("rs485")
        uart = hal.uart(port["uart"], tx=port["tx"], rx=port["rx"], baud=port["baud"], parity=_EVEN)
        direction = hal.digital_out(port["direction_pin"]) if "direction_pin" in port else None
        outputs = [self._output(name) for name in settings.get("outputs", [])]
        registers = NodeRegisters(settings.get("registers", []), outputs, self._latest)
        try:
            slave = ModbusSlave(settings.get("unit", 0), registers)
        except ValueError as error:
            raise ConfigError("settings.modbus", str(error)) from error
        return slave, Rs485(uart, direction, self._device.clock, baud=port["baud"])


async def _serve(slave: "ModbusSlave", line: "Rs485") -> None:
    while True:
        answer = slave.answer(await line.receive())
        if answer is not None:
            await line.send(answer)


def _states(inputs: "list[Input]") -> "list[Reading]":
    return [reading(name, 1 if state else 0, "1") for each in inputs for name, state in each.states()]


async def _done(result: "Any") -> "Any":
    """What a driver's method gives, at once or after a while."""
    return await result if hasattr(result, "send") else result


def _number(table: "dict[str, Any]", key: str, otherwise: int, least: int = 0) -> "Any":
    value = table.get(key, otherwise)
    if not isinstance(value, (int, float)) or (key.endswith("_s") and value < least):
        raise ConfigError("settings." + key, f"{value!r} is not a number of {least} or more")
    return value


def _scaled(number: "int | float", exponent: int) -> int:
    """A number of the settings in units of 10^exponent."""
    mantissa: int = round(number * 10**-exponent)
    return mantissa


def run(config: "Config", hal: "Port") -> None:
    """Run the app; ends only with an error."""
    asyncio.run(_SensorNode(Device(config, hal, model=MODEL)).run())
