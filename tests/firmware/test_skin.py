"""Skin temperature: contact, warming up, and what is no skin."""

import math

from firmware.apps.skin import SkinThermometer
from protocols.reading import BAD_INVALID, BAD_RANGE, GOOD, UNCERTAIN


def after(thermometer: SkinThermometer, seconds: range, *, worn: bool = True, skin_mc: int = 33500) -> SkinThermometer:
    """A sensor that comes from 24 degrees, two thirds of the way in half a minute."""
    for second in seconds:
        temperature = skin_mc - round((skin_mc - 24000) * math.exp(-second / 30))
        thermometer.feed(temperature, 1000 * second, worn=worn)
    return thermometer


def test_it_settles() -> None:
    value, quality = after(SkinThermometer(), range(60)).temperature()
    assert quality == UNCERTAIN
    value, quality = after(SkinThermometer(), range(300)).temperature()
    assert quality == GOOD
    assert value is not None
    assert abs(value.mantissa - 3350) <= 10


def test_taken_off_it_has_none_and_begins_anew() -> None:
    thermometer = after(SkinThermometer(), range(300))
    after(thermometer, range(300, 301), worn=False)
    assert thermometer.temperature() == (None, BAD_INVALID)
    after(thermometer, range(301, 330))
    assert thermometer.temperature()[1] == UNCERTAIN


def test_what_no_skin_has_is_out_of_range() -> None:
    assert after(SkinThermometer(), range(300), skin_mc=50000).temperature() == (None, BAD_RANGE)
    assert after(SkinThermometer(), range(300), skin_mc=12000).temperature() == (None, BAD_RANGE)
