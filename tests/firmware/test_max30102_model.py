"""The model against the MAX30102's data sheet (19-7740, "Register Map" and "FIFO")."""

import pytest

from hardware.sim.chips.max30102 import Max30102

SECOND = 1_000_000
MIDDLE = 512 * 256

# register addresses and bits as the data sheet prints them
STATUS_1, STATUS_2, ENABLE_1, ENABLE_2 = 0x00, 0x01, 0x02, 0x03
WR_PTR, OVF, RD_PTR, DATA = 0x04, 0x05, 0x06, 0x07
FIFO_CONFIG, MODE, SPO2, LED1, LED2, SLOTS = 0x08, 0x09, 0x0A, 0x0C, 0x0D, 0x11
A_FULL, PPG_RDY, PWR_RDY = 0x80, 0x40, 0x01


def steady(at_us: int) -> int:
    return MIDDLE


@pytest.fixture
def chip() -> Max30102:
    return Max30102(steady)


def write(chip: Max30102, register: int, *values: int) -> None:
    chip.i2c_write(bytes([register, *values]))


def read(chip: Max30102, register: int, count: int = 1) -> bytes:
    chip.i2c_write(bytes([register]))
    return chip.i2c_read(count)


def start(chip: Max30102, *, mode: int = 0x03, spo2: int = 0x27, fifo: int = 0x00) -> None:
    """100 samples/s, 18 bits, 4096 nA, unless told otherwise."""
    write(chip, FIFO_CONFIG, fifo)
    write(chip, SPO2, spo2)
    write(chip, LED1, 0x24, 0x24)
    write(chip, MODE, mode)
    read(chip, STATUS_1)


def test_identity(chip: Max30102) -> None:
    assert read(chip, 0xFF) == b"\x15"
    assert chip.address == 0x57


def test_registers_are_zero_after_power_on_except_power_ready(chip: Max30102) -> None:
    assert chip.pulls_int_low()  # power-ready cannot be disabled
    assert read(chip, STATUS_1, 0x22) == bytes([PWR_RDY]) + bytes(0x21)
    assert not chip.pulls_int_low()
    assert read(chip, STATUS_1) == b"\x00"


def test_reset_clears_itself_and_all_settings_and_raises_no_interrupt(chip: Max30102) -> None:
    start(chip)
    write(chip, MODE, 0x40)
    assert read(chip, STATUS_1, 0x22) == bytes(0x22)
    chip.advance(SECOND)
    assert read(chip, WR_PTR) == b"\x00"


def test_addresses_step_on_except_at_the_fifo(chip: Max30102) -> None:
    write(chip, LED1, 0x11, 0x22)
    assert read(chip, 0x0C, 2) == b"\x11\x22"
    start(chip)
    chip.advance(20_000)
    burst = read(chip, DATA, 12)  # the light is steady, so both samples are alike
    assert burst[:6] == burst[6:] != bytes(6)


@pytest.mark.parametrize(("code", "rate"), [(0, 50), (1, 100), (2, 200), (3, 400), (4, 800), (5, 1000), (6, 1600)])
def test_sample_rates(chip: Max30102, code: int, rate: int) -> None:
    start(chip, spo2=code << 2)
    for place in range(1, 21):
        chip.advance(place * SECOND // rate)
        assert read(chip, WR_PTR) == bytes([place])


def test_wide_pulses_leave_no_room_for_fast_sampling(chip: Max30102) -> None:
    """At 411 us with two LEDs 400 samples/s are the most; the highest possible rate is put into the register."""
    write(chip, SPO2, 0x1F)
    write(chip, MODE, 0x03)
    assert read(chip, SPO2) == b"\x0f"


@pytest.mark.parametrize(("bits", "every"), [(0, 1), (1, 2), (2, 4), (3, 8), (4, 16), (5, 32), (6, 32), (7, 32)])
def test_sample_averaging(chip: Max30102, bits: int, every: int) -> None:
    start(chip, fifo=bits << 5)
    chip.advance(every * 10_000 - 1)
    assert read(chip, WR_PTR) == b"\x00"
    chip.advance(every * 10_000)
    assert read(chip, WR_PTR) == b"\x01"


def test_averaging_averages() -> None:
    levels = iter([0, 256 * 512, 256 * 1024, 256 * 512])
    chip = Max30102(lambda at_us: next(levels))
    start(chip, fifo=2 << 5)
    chip.advance(40_000)
    plain = Max30102(steady)
    start(plain)
    plain.advance(10_000)
    assert read(chip, DATA, 6) == read(plain, DATA, 6)


def test_without_rollover_new_samples_are_lost_and_counted_up_to_31(chip: Max30102) -> None:
    start(chip)
    chip.advance(32 * 10_000)
    assert read(chip, WR_PTR, 3) == b"\x00\x00\x00"  # 32 samples: the pointers meet again
    chip.advance(37 * 10_000)
    assert read(chip, WR_PTR, 3) == b"\x00\x05\x00"
    chip.advance(200 * 10_000)
    assert read(chip, WR_PTR, 3) == b"\x00\x1f\x00"
    read(chip, DATA, 6)
    assert read(chip, WR_PTR, 3) == b"\x00\x00\x01"  # popping a sample clears the counter
    chip.advance(201 * 10_000)
    assert read(chip, WR_PTR) == b"\x01"


def test_with_rollover_the_oldest_samples_go() -> None:
    chip = Max30102(lambda at_us: at_us // 10_000 * 256)
    start(chip, fifo=0x10)
    chip.advance(40 * 10_000)
    assert read(chip, WR_PTR, 3) == bytes([8, 8, 8])
    oldest_first = [int.from_bytes(read(chip, DATA, 6)[:3], "big") for _ in range(32)]
    fresh = Max30102(lambda at_us: at_us // 10_000 * 256)
    start(fresh)
    fresh.advance(9 * 10_000)
    ninth = [int.from_bytes(read(fresh, DATA, 6)[:3], "big") for _ in range(9)][-1]
    assert oldest_first[0] == ninth


@pytest.mark.parametrize(("free", "held"), [(0, 32), (1, 31), (15, 17)])
def test_almost_full(chip: Max30102, free: int, held: int) -> None:
    start(chip, fifo=free)
    write(chip, ENABLE_1, A_FULL)
    chip.advance(held * 10_000 - 1)
    assert not chip.pulls_int_low()
    chip.advance(held * 10_000)
    assert chip.pulls_int_low()
    assert read(chip, STATUS_1)[0] & A_FULL
    assert not chip.pulls_int_low()


def test_sample_ready_is_cleared_by_the_status_or_by_the_data(chip: Max30102) -> None:
    start(chip)
    write(chip, ENABLE_1, PPG_RDY)
    for register in (STATUS_1, DATA):
        chip.advance(chip._now_us + 10_000)
        assert chip.pulls_int_low()
        read(chip, register)
        assert not chip.pulls_int_low()


def test_a_disabled_interrupt_shows_in_the_status_only(chip: Max30102) -> None:
    start(chip)
    chip.advance(10_000)
    assert not chip.pulls_int_low()
    assert read(chip, STATUS_1) == bytes([PPG_RDY])


def test_read_pointer_moves_with_the_first_byte(chip: Max30102) -> None:
    start(chip)
    chip.advance(30_000)
    assert read(chip, RD_PTR) == b"\x00"
    read(chip, DATA, 1)
    assert read(chip, RD_PTR) == b"\x01"
    read(chip, DATA, 5)
    assert read(chip, RD_PTR) == b"\x01"


def test_a_sample_can_be_read_again_by_stepping_back(chip: Max30102) -> None:
    start(chip)
    chip.advance(10_000)
    sample = read(chip, DATA, 6)
    write(chip, RD_PTR, 0)
    assert read(chip, DATA, 6) == sample


@pytest.mark.parametrize(("width", "unused"), [(0, 3), (1, 2), (2, 1), (3, 0)])
def test_resolution_is_left_justified(width: int, unused: int) -> None:
    seen = 0
    chip = Max30102(lambda at_us: at_us // 100)
    start(chip, spo2=0x24 | width)
    for place in range(1, 200):
        chip.advance(place * 10_000)
        seen |= int.from_bytes(read(chip, DATA, 6)[:3], "big")
    assert seen & ((1 << unused) - 1) == 0
    assert seen >> unused & 1
    assert seen < 1 << 18


@pytest.mark.parametrize(("adc", "lsb_pa"), [(0, 7.81), (1, 15.63), (2, 31.25), (3, 62.5)])
def test_counts_follow_the_adc_range_and_the_led_current(chip: Max30102, adc: int, lsb_pa: float) -> None:
    """The photodiode current of a finger in the model is 260 pA per uA of the infrared LED, 0.2 mA a step."""
    write(chip, LED2, 0x12)
    write(chip, SPO2, adc << 5 | 0x07)
    write(chip, MODE, 0x03)
    chip.advance(10_000)
    infrared = int.from_bytes(read(chip, DATA, 6)[3:], "big")
    assert infrared == pytest.approx(0x12 * 200 * 260 / lsb_pa, rel=1e-3)


def test_too_much_light_saturates_at_18_bits(chip: Max30102) -> None:
    write(chip, LED2, 0xFF)
    write(chip, SPO2, 0x07)
    write(chip, MODE, 0x03)
    chip.advance(10_000)
    assert read(chip, DATA, 6)[3:] == b"\x03\xff\xff"


def test_more_blood_is_fewer_counts() -> None:
    chip = Max30102(lambda at_us: 256 * (1023 if at_us > 10_000 else 0))
    start(chip)
    chip.advance(20_000)
    bright = read(chip, DATA, 6)
    dim = read(chip, DATA, 6)
    assert dim[:3] < bright[:3]
    assert dim[3:] < bright[3:]


def test_heart_rate_mode_samples_red_alone(chip: Max30102) -> None:
    start(chip, mode=0x02)
    chip.advance(20_000)
    assert read(chip, DATA, 3) == read(chip, DATA, 3)
    assert read(chip, RD_PTR) == b"\x02"


def test_multi_led_slots_choose_the_order(chip: Max30102) -> None:
    write(chip, SLOTS, 0x12)  # slot 1 infrared, slot 2 red
    start(chip, mode=0x07)
    plain = Max30102(steady)
    start(plain)
    for each in (chip, plain):
        each.advance(10_000)
    swapped, straight = read(chip, DATA, 6), read(plain, DATA, 6)
    assert swapped == straight[3:] + straight[:3]


def test_shutdown_keeps_registers_and_stops_sampling(chip: Max30102) -> None:
    start(chip)
    write(chip, ENABLE_1, PPG_RDY)
    chip.advance(10_000)
    write(chip, MODE, 0x83)
    assert not chip.pulls_int_low()
    chip.advance(SECOND)
    assert read(chip, WR_PTR) == b"\x01"
    assert read(chip, LED1) == b"\x24"


def test_die_temperature() -> None:
    chip = Max30102(steady, temperature_c16=-3 * 16 + 4)  # -2.75 degC
    write(chip, ENABLE_2, 0x02)
    read(chip, STATUS_1)
    write(chip, 0x21, 0x01)
    chip.advance(28_000)
    assert not chip.pulls_int_low()
    chip.advance(29_000)
    assert chip.pulls_int_low()
    assert read(chip, 0x1F) == b"\xfd"
    assert chip.pulls_int_low()
    assert read(chip, 0x20) == b"\x04"  # reading the fraction clears the interrupt
    assert not chip.pulls_int_low()
    assert read(chip, 0x21) == b"\x00"
