"""The device's uplink: what happens when the journal fails while a cursor is followed."""

import asyncio

import pytest

from firmware.core.clock import Clock
from firmware.core.config import Config
from firmware.core.epochs import Epochs
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


def make(tmp_path, journal, urgent=None):
    hal = Hal()
    epochs = Epochs(str(tmp_path), hal)
    kept = urgent or Journal(NorFlash(8))
    return Uplink(Config(CONFIG), Clock(hal), journal, epochs, urgent=kept, storage=str(tmp_path), birth={})


def bulk(uplink):
    return uplink._lanes[-1].handover


class Line:
    """A connection that brings one cursor, and then nothing but its end."""

    def __init__(self, payload):
        self.payload = payload

    async def serve(self, on_message):
        on_message("d/w/cursor/bulk", self.payload)
        raise AssertionError("the cursor was followed, though the flash refused it")


async def test_a_connection_ends_when_a_cursor_cannot_be_followed(tmp_path, monkeypatch):
    """Else the device would send for ever, and hear nothing."""
    journal = Journal(NorFlash(8))
    uplink = make(tmp_path, journal)
    uplink.append([Reading("heart_rate", 70, "/min", GOOD, 1)], wall_clock=False)
    epoch = bulk(uplink).epoch

    def refuse(epoch, upto):
        raise OSError(5, "the flash does not answer")

    monkeypatch.setattr(journal, "release", refuse)
    uplink._failure = None
    await uplink._serve(Line(cursor.encode("s", {epoch: 1})))
    with pytest.raises(MqttError, match="flash"):
        await uplink._send_packs(None)


def test_what_the_flash_refuses_is_declared_lost_when_it_takes_records_again(tmp_path):
    flash = NorFlash(8)
    journal = Journal(flash)
    uplink = make(tmp_path, journal)

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
    bulk(uplink).connected()
    packs = [senml.decode_pack(bulk(uplink).message(header, 0), "w") for header in bulk(uplink).due(0)]
    assert [(pack.lost, len(pack.readings)) for pack in packs] == [(6, 0), (0, 2), (0, 2)]


def test_a_flash_that_refuses_a_new_epoch_leaves_the_present_one_as_it_is(tmp_path, monkeypatch):
    flash = NorFlash(8)
    journal = Journal(flash)
    uplink = make(tmp_path, journal)
    readings = [Reading("heart_rate", 70, "/min", GOOD, 1)]
    for _ in range(6):
        uplink.append(readings, wall_clock=True)
    journal.release(bulk(uplink).epoch, 6)

    def refuse(flash, at, after):
        raise OSError(5, "the flash does not answer")

    flash.watcher = refuse
    with pytest.raises(OSError, match="does not answer"):
        bulk(uplink).connected()
    flash.watcher = None
    uplink.append(readings, wall_clock=True)
    bulk(uplink).connected()
    uplink.append(readings, wall_clock=True)
    assert [header.seq for header in bulk(uplink).due(0)] == [1, *range(1, 8)]


def test_what_is_urgent_goes_first_by_its_own_numbers(tmp_path):
    journals = Journal(NorFlash(8)), Journal(NorFlash(8))
    uplink = make(tmp_path, *journals)
    sent = []

    class Client:
        async def publish_all(self, topic, messages):
            sent.extend((topic, senml.decode_pack(each, "w").readings[0].value) for each in messages)

    for number in range(20):
        uplink.append([Reading("heart_rate", number, "/min", GOOD, 1)], wall_clock=True)
    uplink.append([Reading("fall", 1, "1", GOOD, 1)], wall_clock=True, lane="urgent")
    for lane in uplink._lanes:
        lane.handover.connected()

    async def send():
        while await uplink._send_some(Client()):
            if len(sent) == 9:
                uplink.append([Reading("fall", 0, "1", GOOD, 1)], wall_clock=True, lane="urgent")

    asyncio.run(send())
    topics = [topic for topic, _ in sent]
    assert topics[0] == "d/w/up/urgent"
    assert topics.index("d/w/up/urgent", 1) == 9
    assert sorted(value for topic, value in sent if topic == "d/w/up/bulk") == list(range(20))
    epochs = {journal.epochs()[0][0] for journal in journals}
    assert len(epochs) == 2
