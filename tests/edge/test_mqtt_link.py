"""Devices' own packs on their way into the outbox: what cannot be read, what cannot be taken, and when to answer."""

import asyncio
import contextlib
import sqlite3

import pytest

from edge.device_authority import DeviceAuthority
from edge.links.base import Attached
from edge.links.mqtt import MqttLink
from edge.links.plan_files import PlanFiles
from edge.outbox import Outbox
from edge.outbox_file import OutboxFile
from edge.pipeline import Pipeline
from edge.update_images import Images
from hardware.catalogue import catalogue
from protocols.custody import epoch_number
from protocols.errors import DecodeError
from runtime.mqtt import Message
from runtime.process import free_port

EPOCH = epoch_number(4711, 1, 0)
NOW = 1_795_382_519_355
MODEL = catalogue()["kerb-wearable"]


class Gateway:
    """A link, a pipeline and an outbox on a real file; messages are put in where the broker would deliver them."""

    def __init__(self, folder):
        self.file = OutboxFile(folder / "o.db", max_bytes=1 << 20)
        self.outbox = Outbox(self.file, commit_ms=5)
        self.pipeline = Pipeline(self.outbox, {"w": MODEL}, clock=lambda: NOW)
        self.link = MqttLink(
            name="wifi",
            directory=folder / "broker",
            host="127.0.0.1",
            port=free_port(),
            devices=[Attached("w", MODEL, "")],
            authority=DeviceAuthority(folder),
            cursors=self.file.cursors(),
            images=Images(folder),
            plans=PlanFiles(folder, ["w"]),
            intake=self.pipeline,
            clock=lambda: NOW,
        )
        self.outbox.on_committed(self.link.committed)

    def hear(self, seq, body):
        header = f'"epoch":{EPOCH},"seq":{seq},"base":1,"oldest":{EPOCH},"backfill":false,"sent":5000'
        self.link._take(Message("d/w/up/bulk", f'[{{{header},"bn":"w/",{body}]'.encode(), False))

    def cursor(self):
        return self.link._entrusted._receivers["w", "bulk"].cursor()

    async def committed(self):
        async with asyncio.timeout(5):
            while self.link._entrusted._headers:
                await asyncio.sleep(0.005)


@pytest.fixture
async def gateway(tmp_path):
    made = Gateway(tmp_path)
    running = asyncio.create_task(made.outbox.run())
    await asyncio.sleep(0)
    yield made
    assert not running.done(), running.exception()
    running.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running
    made.file.close()


GOOD = '"bt":1795382519,"n":"heart_rate","u":"/min","v":70}'
UNREADABLE = {
    "half a character": '"bt":1,"n":"note","vs":"\\ud800"}',
    "half a character in a unit": '"bt":1,"n":"note","u":"\\ud800","v":1}',
    "a number beyond all range": '"bt":1,"n":"heart_rate","u":"/min","v":' + "9" * 400 + "}",
    "infinity": '"bt":1,"n":"heart_rate","u":"/min","v":1e999}',
    "a metric that is no name": '"bt":1,"n":"a b","v":1}',
    "a time before 1970": '"bt":-5,"n":"heart_rate","u":"/min","v":1}',
    "a time beyond all reason": '"bt":9007199254740,"n":"heart_rate","u":"/min","v":1,"t":9007199254740}',
}


@pytest.mark.parametrize("name", UNREADABLE)
async def test_a_pack_that_cannot_be_read_is_declared_lost_and_its_lane_goes_on(gateway, name):
    gateway.hear(1, UNREADABLE[name])
    gateway.hear(2, GOOD)
    assert gateway.pipeline.things["w"].counters["decode_errors"] == 1
    await gateway.committed()
    assert gateway.cursor() == {EPOCH: 2}
    assert gateway.outbox.tally.totals() == {"w": (2, 0)}
    assert gateway.outbox.buffered() == {"w": 1}


@pytest.mark.parametrize("number", ["9" * 30, "9" * 25 + ".125", "-" + "9" * 19])
async def test_numbers_of_more_than_64_bits_are_taken_as_floats(gateway, number):
    gateway.hear(1, f'"bt":1,"n":"heart_rate","u":"/min","v":{number}}}')
    assert gateway.pipeline.things["w"].last["heart_rate"].value == float(number)
    await gateway.committed()
    assert gateway.cursor() == {EPOCH: 1}


async def test_a_pack_that_could_not_be_taken_is_not_skipped(gateway):
    """Were it, the cursor would pass it with the next one, and the device would delete it."""
    db = gateway.file._connection
    gateway.hear(1, GOOD)
    db.execute("CREATE TEMP TRIGGER full BEFORE INSERT ON stream BEGIN SELECT raise(ABORT, 'disk full'); END")
    new = '"bt":1795382519,"n":"heart_rate","u":"/min","v":71},{"n":"steps","v":1}'
    with pytest.raises(sqlite3.Error):
        gateway.hear(2, new)
    gateway.hear(3, GOOD)  # as ahead of what is missing
    db.execute("DROP TRIGGER full")
    await gateway.committed()
    assert gateway.cursor() == {EPOCH: 1}
    gateway.hear(2, new)
    gateway.hear(3, GOOD)
    await gateway.committed()
    assert gateway.cursor() == {EPOCH: 3}
    assert gateway.outbox.tally.totals()["w"][0] == 4
    assert not gateway.link._entrusted._headers


async def test_a_time_on_the_clock_of_an_earlier_start_is_never_ahead_of_ours(gateway):
    gateway.hear(1, '"mono":4.900,"n":"heart_rate","u":"/min","v":70}')
    assert gateway.pipeline.things["w"].last["heart_rate"].time_ms == NOW - 100
    gateway.hear(2, '"mono":9000.000,"n":"heart_rate","u":"/min","v":71}')
    assert gateway.pipeline.things["w"].last["heart_rate"].time_ms == NOW


async def test_a_birth_nested_without_end_is_refused(gateway):
    with pytest.raises(DecodeError, match="birth certificate"):
        gateway.link._take(Message("d/w/birth", b"[" * 100_000, True))
