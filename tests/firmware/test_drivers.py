"""Each driver on the register-level model of its chip, with the data sheets' own figures, and a bus that fails."""

import asyncio
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firmware.drivers import ds3231
from firmware.drivers.bme280 import Bme280
from firmware.drivers.ds3231 import Ds3231
from firmware.drivers.max30205 import Max30205
from firmware.drivers.mpu6050 import Mpu6050
from firmware.drivers.scd41 import Scd41, crc8
from firmware.errors import DriverError
from hardware import boards
from hardware.sim.chips import scd41 as scd41_model
from hardware.sim.chips.ds3231 import Ds3231 as Clock
from hardware.sim.shims import machine, simboard

CHIPS = {"bme280": 0x76, "ds3231": 0x68, "max30205": 0x48, "mpu6050": 0x69, "scd41": 0x62}
DRIVERS = {"bme280": Bme280, "ds3231": Ds3231, "max30205": Max30205, "mpu6050": Mpu6050, "scd41": Scd41}
SECOND_US = 1_000_000


class Bench:
    """A board with all chips on one bus, whose time passes when a driver sleeps, or when the test says so."""

    def __init__(self) -> None:
        chips = [{"chip": name, "bus": 0, "scl": 5, "sda": 4, "address": at} for name, at in CHIPS.items()]
        self.board = simboard.Board({"unique_id": "00", "chips": chips}, tick_ms=0)
        self.now_us = 0
        simboard.install(self.board)
        self.bus = machine.I2C(0, scl=machine.Pin(5), sda=machine.Pin(4))

    def driver(self, name: str) -> Any:
        return DRIVERS[name](self.bus, address=CHIPS[name])

    def chip(self, name: str) -> Any:
        return self.board.chips[0, CHIPS[name]]

    def pass_time(self, seconds: float) -> None:
        self.now_us += round(seconds * SECOND_US)
        self.board.advance(self.now_us)


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    made = Bench()
    really_sleep = asyncio.sleep

    async def sleep(seconds: float) -> None:
        made.pass_time(seconds)
        await really_sleep(0)

    monkeypatch.setattr(asyncio, "sleep", sleep)
    yield made
    made.board.close()


async def begin(driver: Any) -> Any:
    started = driver.start() if hasattr(driver, "start") else None
    return await started if asyncio.iscoroutine(started) else started


async def measure(driver: Any) -> Any:
    for name in ("read", "temperature_mc", "acceleration_mg"):
        if hasattr(driver, name):
            found = getattr(driver, name)()
            return await found if asyncio.iscoroutine(found) else found
    raise AssertionError("it measures nothing")


def test_the_parts_list_knows_the_addresses_of_the_drivers() -> None:
    for name, address in CHIPS.items():
        assert address in boards.parts()[name].addresses


@pytest.mark.parametrize("name", sorted(CHIPS))
async def test_a_silent_bus_names_the_chip(bench: Bench, name: str) -> None:
    driver = bench.driver(name)
    await begin(driver)
    bench.board.fail(0, CHIPS[name])
    with pytest.raises(DriverError, match=f"{name} at 0x{CHIPS[name]:02x}: ") as caught:
        await measure(driver)
    assert (caught.value.chip, caught.value.address) == (name, CHIPS[name])
    bench.board.fail(0, CHIPS[name], failing=False)
    await begin(driver)
    bench.pass_time(6)
    await measure(driver)


@pytest.mark.parametrize(("name", "register"), [("bme280", 0xD0), ("mpu6050", 0x75)])
async def test_another_chip_is_refused(bench: Bench, name: str, register: int) -> None:
    bench.chip(name).registers[register] = 0x11
    with pytest.raises(DriverError, match="its id is 0x11, not 0x6"):
        await begin(bench.driver(name))


# --- BME280 ---


async def test_bme280_gives_the_data_sheets_example(bench: Bench) -> None:
    """BMP280 data sheet, section 3.12: 25.08 degrees, 100653.27 Pa."""
    driver = bench.driver("bme280")
    await driver.start()
    hundredths, pascals, percent = await driver.read()
    assert (hundredths, pascals) == (2508, 100653)
    fine = driver.fine(519888)
    assert fine == 128422
    assert driver.pressure_256(415148, fine) / 256 == pytest.approx(100653.27, abs=0.02)  # in whole numbers
    assert percent == pytest.approx(1000 * humidity_by_floats(30000, fine), abs=30)


def humidity_by_floats(raw: int, fine: int) -> float:
    """The data sheet's other formula (section 8.1), in floating point, with the model's constants."""
    h1, h2, h3, h4, h5, h6 = 75, 362, 0, 325, 50, 30
    base = fine - 76800.0
    value = (raw - (h4 * 64.0 + h5 / 16384.0 * base)) * (
        h2 / 65536.0 * (1.0 + h6 / 67108864.0 * base * (1.0 + h3 / 67108864.0 * base))
    )
    return min(max(value * (1.0 - h1 * value / 524288.0), 0.0), 100.0)


@given(st.integers(0, 0xFFFF), st.integers(-40 * 5120, 85 * 5120))
def test_bme280_humidity_agrees_with_the_other_formula(raw: int, fine: int) -> None:
    driver = Bench().driver("bme280")
    chip = simboard.board().chips[0, 0x76]
    driver.calibrate(bytes(chip.registers[0x88:0xA2]), bytes(chip.registers[0xE1:0xE8]))
    assert driver.humidity_1024(raw, fine) / 1024 == pytest.approx(humidity_by_floats(raw, fine), abs=0.05)


async def test_bme280_that_never_finishes_is_an_error(bench: Bench) -> None:
    driver = bench.driver("bme280")
    await driver.start()
    bench.chip("bme280")._measure = lambda: None
    with pytest.raises(DriverError, match="does not finish measuring"):
        await driver.read()


# --- DS3231 ---


@given(st.integers(946684800, 4102444799))
def test_ds3231_keeps_any_time_of_its_century(unix_s: int) -> None:
    clock = Bench().driver("ds3231")
    assert clock.read() is None  # it was never set
    clock.set(unix_s)
    assert clock.read() == unix_s
    fields = simboard.board().chips[0, 0x68].registers[0:7]
    at = datetime.fromtimestamp(unix_s, UTC)
    shown = [int(f"{field:x}") for field in fields]
    assert shown == [at.second, at.minute, at.hour, at.isoweekday(), at.day, at.month, at.year - 2000]


def test_ds3231_knows_every_day_of_its_century() -> None:
    first = date(2000, 1, 1)
    for days in range(36525):
        day = first + timedelta(days=days)
        assert ds3231._date(days) == (day.year - 2000, day.month, day.day)


@pytest.mark.parametrize("text", ["2026-12-31T23:59:58", "2028-02-28T23:59:58", "2027-02-28T23:59:58"])
def test_ds3231_runs_across_the_ends_of_things(bench: Bench, text: str) -> None:
    unix_s = int(datetime.fromisoformat(text + "+00:00").timestamp())
    clock = bench.driver("ds3231")
    clock.set(unix_s)
    for passed in range(1, 5):
        bench.pass_time(1)
        assert clock.read() == unix_s + passed


def test_ds3231_whose_supplies_failed_is_not_believed(bench: Bench) -> None:
    clock = bench.driver("ds3231")
    clock.set(1_795_000_000)
    bench.chip("ds3231").lose_power()
    assert clock.read() is None
    clock.set(1_795_000_000)
    bench.chip("ds3231").registers[1] = 0x99
    with pytest.raises(DriverError, match="shows no time"):
        clock.read()
    with pytest.raises(ValueError, match="not in this century"):
        clock.set(4102444800)


@pytest.mark.parametrize(("registers", "mc"), [(b"\x19\x40", 25250), (b"\x00\x00", 0), (b"\xff\xc0", -250)])
def test_ds3231_temperature(bench: Bench, registers: bytes, mc: int) -> None:
    """25.25 degrees is the data sheet's example."""
    bench.chip("ds3231").registers[0x11:0x13] = registers
    assert bench.driver("ds3231").temperature_mc() == mc


def test_the_model_of_the_clock_has_the_flag_of_a_new_one() -> None:
    assert Clock().registers[0x0F] & 0x80


# --- MAX30205, MPU-6050 ---


@pytest.mark.parametrize(
    ("raw", "mc"),
    [(0x4000, 64000), (0x2580, 37500), (0x0001, 4), (0x0080, 500), (0x0000, 0), (0xFF80, -500)],
)
def test_max30205_by_its_data_format(bench: Bench, raw: int, mc: int) -> None:
    """16 bits, two's complement, 1/256 degree (data sheet, table "Temperature, Normal Format")."""
    driver = bench.driver("max30205")
    driver.start()
    bench.chip("max30205").temperature = lambda at_us: mc
    assert driver.temperature_mc() == mc
    assert int.from_bytes(bench.bus.readfrom_mem(CHIPS["max30205"], 0, 2), "big") == raw


def test_max30205_that_is_another_chip(bench: Bench) -> None:
    bench.chip("max30205")._wide[3] = 0x4800
    with pytest.raises(DriverError, match="another chip"):
        bench.driver("max30205").start()


def test_mpu6050_measures_gravity_and_a_blow(bench: Bench) -> None:
    driver = bench.driver("mpu6050")
    driver.start()
    bench.pass_time(0.1)
    assert driver.acceleration_mg() == (0, 0, 1000)
    bench.chip("mpu6050").motion = lambda at_us: (-2500, 7999, -9000)
    bench.pass_time(0.1)
    x, y, z = driver.acceleration_mg()
    assert (x, y) == (-2500, pytest.approx(7999, abs=1))
    assert z == -8000  # the range ends there


def test_mpu6050_collects_every_sample(bench: Bench) -> None:
    driver = bench.driver("mpu6050")
    driver.start()
    driver.collect()
    bench.pass_time(0.001)
    driver.read()
    bench.chip("mpu6050").motion = lambda at_us: (at_us // 20_000, 0, -1000)
    bench.pass_time(0.5)
    assert driver.read() == (25, False)
    xs, zs = driver.samples_mg[0:75:3], driver.samples_mg[2:75:3]
    assert list(xs) == pytest.approx(list(range(xs[0], xs[0] + 25)), abs=1)
    assert set(zs) == {-1000}
    assert driver.read() == (0, False)
    bench.pass_time(5)  # longer than the FIFO holds
    assert driver.read() == (0, True)
    bench.pass_time(0.2)
    assert driver.read() == (10, False)


def test_mpu6050_that_stays_asleep(bench: Bench) -> None:
    bench.chip("mpu6050").write = lambda register, value: None
    with pytest.raises(DriverError, match="register 0x6b does not keep"):
        bench.driver("mpu6050").start()


# --- SCD41 ---


async def test_scd41_gives_the_data_sheets_example(bench: Bench) -> None:
    """500 ppm, 25 degrees, 37 % (section 3.5.2)."""
    driver = bench.driver("scd41")
    assert await driver.start() == scd41_model.SERIAL
    assert await driver.read() is None
    bench.pass_time(5)
    co2, mc, percent = await driver.read()
    assert co2 == 500
    assert mc == pytest.approx(25_000, abs=5)
    assert percent == pytest.approx(37_000, abs=5)
    assert await driver.read() is None


@pytest.mark.parametrize(("word", "checksum"), [("beef", 0x92), ("01f4", 0x33), ("6667", 0xA2), ("5eb9", 0x3C)])
def test_scd41_checksums_of_the_data_sheet(word: str, checksum: int) -> None:
    assert crc8(bytes.fromhex(word)) == checksum
    assert scd41_model._checksum(int(word, 16)) == checksum


@pytest.mark.parametrize("bit", range(0, 72, 5))
async def test_scd41_whose_answer_is_damaged(bench: Bench, bit: int) -> None:
    driver = bench.driver("scd41")
    await driver.start()
    bench.pass_time(5)
    original = bench.chip("scd41").i2c_write

    def write(data: bytes) -> None:
        original(data)
        if data == b"\xec\x05":
            bench.chip("scd41").flip = bit

    bench.chip("scd41").i2c_write = write
    with pytest.raises(DriverError, match="is damaged"):
        await driver.read()
