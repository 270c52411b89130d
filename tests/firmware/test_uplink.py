"""The device's uplink: what happens when the journal fails while a cursor is followed."""

import pytest

from firmware.core.clock import Clock, Epochs
from firmware.core.config import Config
from firmware.core.journal import Journal
from firmware.core.uplink import Uplink
from firmware.errors import JournalError, MqttError
from hardware.sim.chips.norflash import NorFlash
from protocols import cursor, senml
from protocols.reading import GOOD, Reading

CONFIG = {
    "device": "w",
    "app": "wearable",
    "broker": {"host": "127.0.0.1", "port": 1883},
    "board": {"i2c": [], "chips": []},
}


class Hal:
    """A port whose clock stands still."""

    def ticks_ms(self):
        return 0

    def ticks_diff(self, after, before):
        return after - before

    def unix_ms(self):
        return None

    def random_bits(self, count):
        return 4711


class Line:
    """A connection that brings one cursor, and then nothing but its end."""

    def __init__(self, payload):
        self.payload = payload

    async def serve(self, on_message):
        on_message("d/w/cursor/bulk", self.payload)
        raise AssertionError("the cursor was followed, though the flash refused it")


async def test_a_connection_ends_when_a_cursor_cannot_be_followed(tmp_path, monkeypatch):
    """Else the device would send for ever, and hear nothing."""
    hal = Hal()
    journal = Journal(NorFlash(8))
    uplink = Uplink(Config(CONFIG), Clock(hal), journal, Epochs(str(tmp_path), hal), storage=str(tmp_path), birth={})
    uplink.append([Reading("heart_rate", 70, "/min", GOOD, 1)], wall_clock=False)
    epoch = uplink._handover.epoch

    def refuse(epoch, upto):
        raise OSError(5, "the flash does not answer")

    monkeypatch.setattr(journal, "release", refuse)
    uplink._failure = None
    await uplink._serve(Line(cursor.encode("s", {epoch: 1})))
    with pytest.raises(MqttError, match="flash"):
        await uplink._send_packs(None)


def test_what_the_flash_refuses_is_declared_lost_when_it_takes_records_again(tmp_path):
    hal = Hal()
    flash = NorFlash(8)
    journal = Journal(flash)
    uplink = Uplink(Config(CONFIG), Clock(hal), journal, Epochs(str(tmp_path), hal), storage=str(tmp_path), birth={})

    def refuse(flash, at, after):
        raise OSError(5, "the flash does not answer")

    readings = [Reading("heart_rate", 70, "/min", GOOD, 1), Reading("signal_quality", 99, "%", GOOD, 1)]
    flash.watcher = refuse
    for _ in range(3):
        with pytest.raises(JournalError):
            uplink.append(readings, wall_clock=True)
    flash.watcher = None
    uplink.append(readings, wall_clock=True)
    uplink.append(readings, wall_clock=True)
    uplink._handover.connected()
    packs = [senml.decode_pack(uplink._handover.message(header, 0), "w") for header in uplink._handover.due(0)]
    assert [(pack.lost, len(pack.readings)) for pack in packs] == [(6, 0), (0, 2), (0, 2)]


def test_a_flash_that_refuses_a_new_epoch_leaves_the_present_one_as_it_is(tmp_path, monkeypatch):
    hal = Hal()
    flash = NorFlash(8)
    journal = Journal(flash)
    uplink = Uplink(Config(CONFIG), Clock(hal), journal, Epochs(str(tmp_path), hal), storage=str(tmp_path), birth={})
    readings = [Reading("heart_rate", 70, "/min", GOOD, 1)]
    for _ in range(6):
        uplink.append(readings, wall_clock=True)
    journal.release(uplink._handover.epoch, 6)

    def refuse(flash, at, after):
        raise OSError(5, "the flash does not answer")

    flash.watcher = refuse
    with pytest.raises(OSError, match="does not answer"):
        uplink._handover.connected()
    flash.watcher = None
    uplink.append(readings, wall_clock=True)
    uplink._handover.connected()
    uplink.append(readings, wall_clock=True)
    assert [header.seq for header in uplink._handover.due(0)] == [1, *range(1, 8)]
