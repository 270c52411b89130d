"""The outbox on a real SQLite file: what is sent before and after a commit, restarts, eviction, the equation."""

import asyncio
import contextlib
import sqlite3

import pytest

from edge.links.base import Origin
from edge.outbox import Outbox
from edge.outbox_file import Batch, Content, OutboxError, OutboxFile, Row
from protocols.deflated import inflate
from protocols.pack import Body, Column, decode_body, encode_body
from tests.edge.commits import commits

BODY = Body([Column(1, [1000], [0], [5])], [], {"meter": (1, 0)}, {})
CONTENT = Content({"meter": 1}, {"meter": (1, 0)}, (1000, 1000))
ORIGIN = Origin("wearable", "bulk", 77, 1)


@contextlib.asynccontextmanager
async def running(path, **options):
    file = OutboxFile(path, max_bytes=options.pop("max_bytes", 1 << 20))
    outbox = Outbox(file, **options)
    task = asyncio.create_task(outbox.run())
    await asyncio.sleep(0)  # a task that is cancelled before its first step never runs its end either
    try:
        yield outbox
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        file.close()


def due(outbox, lane="bulk"):
    return [(h.epoch, h.seq) for h in outbox.senders[lane].due(0)]


async def until(condition):
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0.005)


async def test_our_own_readings_are_sent_before_their_commit(tmp_path):
    async with running(tmp_path / "o.db", commit_ms=10_000) as outbox:
        outbox.senders["bulk"].connected()
        outbox.append("bulk", BODY, CONTENT)
        assert due(outbox) == [(outbox.epoch, 1)]
        assert outbox.buffered() == {"meter": 1}


async def test_what_a_device_entrusted_to_us_is_sent_after_its_commit_and_so_is_what_follows(tmp_path):
    async with running(tmp_path / "o.db", commit_ms=50) as outbox:
        committed = []
        outbox.on_committed(committed.extend)
        outbox.senders["bulk"].connected()
        outbox.append("bulk", BODY, CONTENT)
        outbox.append("bulk", BODY, CONTENT, [ORIGIN])
        outbox.append("bulk", BODY, CONTENT)
        assert due(outbox) == [(outbox.epoch, 1)]
        assert committed == []
        await until(lambda: committed)
        assert committed == [ORIGIN]
        assert due(outbox) == [(outbox.epoch, 2), (outbox.epoch, 3)]


async def test_a_pack_that_the_hub_has_is_never_written(tmp_path):
    path = tmp_path / "o.db"
    async with running(path, commit_ms=50) as outbox:
        outbox.append("bulk", BODY, CONTENT)
        outbox.append("bulk", BODY, CONTENT)
        outbox.release("bulk", outbox.epoch, 1)
        assert outbox.buffered() == {"meter": 1}
        await until(lambda: commits(outbox))
        rows = sqlite3.connect(path).execute("SELECT seq FROM pack").fetchall()
        assert rows == [(2,)]
        outbox.release("bulk", outbox.epoch, 2)
        await until(lambda: not outbox.buffered())
        assert outbox.bytes_held == 0


async def test_a_restart_finds_what_was_committed_and_numbers_anew(tmp_path):
    path = tmp_path / "o.db"
    async with running(path, commit_ms=10) as outbox:
        first = outbox.epoch
        incarnation = outbox.incarnation
        alias = outbox.alias("meter", "voltage", "V")
        outbox.tally.packed("bulk", "meter", 1)
        for _ in range(3):
            outbox.append("bulk", BODY, CONTENT, [ORIGIN])
        outbox.release("bulk", first, 1)
    file = OutboxFile(path, max_bytes=1 << 20)
    assert file.incarnation == incarnation
    assert file.alias("meter", "voltage", "V") == alias
    assert file.alias("meter", "current", "A") != alias
    assert file.cursors() == {("wearable", "bulk"): {77: 1}}
    again = Outbox(file)
    assert again.epoch > first
    assert again.buffered() == {"meter": 2}
    assert again.tally.totals() == {"meter": (1, 0)}
    again.senders["bulk"].connected()
    assert due(again) == [(first, 2), (first, 3)]
    file.close()


async def test_a_new_epoch_begins_though_devices_never_stop_sending(tmp_path):
    async with running(tmp_path / "o.db", commit_ms=20) as outbox:
        epochs = [outbox.epoch]
        outbox.senders["bulk"].connected()
        for _ in range(3):
            outbox.append("bulk", BODY, CONTENT, [ORIGIN])
            async with asyncio.timeout(5):
                await outbox.open_epoch()
            await until(lambda: outbox.epoch > epochs[-1])
            epochs.append(outbox.epoch)
        outbox.append("bulk", BODY, CONTENT, [ORIGIN])
        sent = []
        async with asyncio.timeout(5):
            while len(sent) < 4:
                await asyncio.sleep(0.01)
                sent += due(outbox)
        assert sorted(sent) == [(epoch, 1) for epoch in epochs]


async def test_a_full_outbox_declares_what_gives_way_and_spares_urgent_packs(tmp_path):
    path = tmp_path / "o.db"
    big = Body(
        [Column(1, list(range(1000, 3000, 7)), [0] * 286, [hash((i, "x")) % 10**9 for i in range(286)])], [], {}, {}
    )
    content = Content({"meter": 286}, {"meter": (286, 0)}, (1000, 2995))
    async with running(path, commit_ms=10, max_bytes=4000) as outbox:
        epoch = outbox.epoch
        outbox.append("urgent", BODY, CONTENT)
        for _ in range(10):
            outbox.append("bulk", big, content)
        await until(lambda: outbox.holdings.declared_lost)
        assert outbox.bytes_held <= 4000
        lost = outbox.holdings.declared_lost["meter"]
        assert lost % 286 == 0
        assert outbox.buffered()["meter"] + lost == 10 * 286 + 1
        file = OutboxFile(path, max_bytes=4000)
        record = decode_body(inflate(file.body("bulk", epoch, 1)))
        assert record == Body([], [], {"meter": (286, 0)}, {"meter": (286, 1000, 2995)})
        assert decode_body(inflate(file.body("urgent", epoch, 1))) == BODY
        file.close()


async def test_a_disk_that_fails_is_reported_and_tried_again(tmp_path):
    path = tmp_path / "o.db"
    async with running(path, commit_ms=10) as outbox:
        blocker = sqlite3.connect(path, isolation_level=None)
        blocker.execute("BEGIN EXCLUSIVE")
        outbox.append("bulk", BODY, CONTENT)
        async with asyncio.timeout(20):
            while not outbox.failure:
                await asyncio.sleep(0.05)
        assert outbox.buffered() == {"meter": 1}
        blocker.execute("ROLLBACK")
        blocker.close()
        async with asyncio.timeout(10):
            while outbox.failure:
                await asyncio.sleep(0.05)
    file = OutboxFile(path, max_bytes=1 << 20)
    assert file.holdings().by_thing() == {"meter": 1}
    file.close()


async def test_a_full_disk_keeps_nobody_from_sending(tmp_path):
    """Were a new epoch waited for, a gateway whose disk is full would never send again after an outage."""
    async with running(tmp_path / "o.db", commit_ms=10) as outbox:
        first = outbox.epoch
        db = outbox._file._connection
        db.execute("CREATE TEMP TRIGGER full BEFORE UPDATE ON meta BEGIN SELECT raise(ABORT, 'disk full'); END")
        async with asyncio.timeout(5):
            await outbox.line_up(after_outage=True)
        assert outbox.failure == "disk full"
        outbox.append("urgent", BODY, CONTENT)
        assert due(outbox, "urgent") == [(first, 1)]
        db.execute("DROP TRIGGER full")
        await outbox.line_up(after_outage=True)
        assert outbox.epoch > first


def test_a_transaction_is_all_or_nothing(tmp_path):
    file = OutboxFile(tmp_path / "o.db", max_bytes=1 << 20)
    epoch = file.next_epoch()
    good = Row("bulk", epoch, 1, b"body", CONTENT)
    broken = Row("bulk", epoch, 2, None, CONTENT)
    with pytest.raises(sqlite3.IntegrityError):
        file.write(Batch([good, broken], {}, {("bulk", epoch, "meter"): (1, 0)}, [ORIGIN]))
    assert file.held("bulk") == []
    assert file.cursors() == {}
    assert file.tallies() == {}
    file.close()


def test_a_file_that_is_no_outbox_is_refused_by_name(tmp_path):
    path = tmp_path / "o.db"
    path.write_bytes(b"this is not a database, by any means" * 100)
    with pytest.raises(OutboxError, match=r"o\.db"):
        OutboxFile(path, max_bytes=1 << 20)
    assert path.read_bytes().startswith(b"this is not")


async def test_while_the_disk_fails_only_what_the_hub_has_not_is_kept_in_memory(tmp_path):
    async with running(tmp_path / "o.db", commit_ms=10) as outbox:
        outbox._file._connection.execute(
            "CREATE TEMP TRIGGER full BEFORE INSERT ON pack BEGIN SELECT raise(ABORT, 'disk full'); END"
        )
        outbox.senders["bulk"].connected()
        for _ in range(20):
            outbox.append("bulk", BODY, CONTENT)
        await until(lambda: outbox.failure)
        outbox.release("bulk", outbox.epoch, 18)
        assert outbox.buffered() == {"meter": 2}
        assert [row.seq for row in outbox._state.last().rows] == [19, 20]
        outbox._file._connection.execute("DROP TRIGGER full")
        await until(lambda: not outbox.failure)
        assert outbox.buffered() == {"meter": 2}
        assert outbox._file.held("bulk") == [(outbox.epoch, 19, 20)]


async def test_a_commit_counts_once_though_room_cannot_be_made_after_it(tmp_path):
    big = Body([Column(1, list(range(100)), [0] * 100, [hash((i, "y")) % 10**9 for i in range(100)])], [], {}, {})
    content = Content({"meter": 100}, {}, (0, 99))
    async with running(tmp_path / "o.db", commit_ms=10, max_bytes=600) as outbox:
        db = outbox._file._connection
        outbox.append("bulk", BODY, CONTENT)
        await until(lambda: commits(outbox))
        db.execute("CREATE TEMP TRIGGER full BEFORE UPDATE ON pack BEGIN SELECT raise(ABORT, 'disk full'); END")
        outbox.release("bulk", outbox.epoch, 1)
        for _ in range(3):
            outbox.append("bulk", big, content)
        await until(lambda: outbox.failure)
        assert outbox.buffered() == {"meter": 300}  # the released one is gone, the others are held
        held = "SELECT sum(length(body)) FROM pack"
        assert outbox.bytes_held == db.execute(held).fetchone()[0]
        db.execute("DROP TRIGGER full")
        outbox.append("bulk", BODY, CONTENT)
        await until(lambda: outbox.holdings.declared_lost)
        assert outbox.bytes_held == db.execute(held).fetchone()[0]
        assert outbox.buffered()["meter"] + outbox.holdings.declared_lost["meter"] == 301


async def test_while_the_disk_fails_every_pack_can_be_sent(tmp_path):
    async with running(tmp_path / "o.db", commit_ms=10) as outbox:
        db = outbox._file._connection
        db.execute("CREATE TEMP TRIGGER full BEFORE INSERT ON pack BEGIN SELECT raise(ABORT, 'disk full'); END")
        for _ in range(600):
            outbox.append("bulk", BODY, CONTENT)
        await until(lambda: outbox.failure)
        outbox.senders["bulk"].connected()
        headers = outbox.senders["bulk"].due(0)
        bodies = [await outbox.body("bulk", header) for header in headers]
        assert [header.seq for header in headers] == list(range(1, 65))
        assert {inflate(body or b"") for body in bodies} == {encode_body(BODY)}
        db.execute("DROP TRIGGER full")
