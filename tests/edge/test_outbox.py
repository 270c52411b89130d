"""The outbox on a real SQLite file: what is sent before and after a commit, restarts, eviction, the equation."""

import asyncio
import contextlib
import random
import shutil
import sqlite3

import pytest

from edge.links.base import Origin
from edge.outbox import Outbox
from edge.outbox_file import OutboxError, OutboxFile
from edge.outbox_rows import Batch, Content, Held, Row, make_row
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


def big_pack(seed, read):
    """A pack of 500 readings that no deflating makes small: about 4 kB; `read` counts all as of it."""
    values = random.Random(seed).sample(range(1 << 62), 500)
    body = Body([Column(1, list(range(1000, 1500)), [0] * 500, values)], [], {"meter": (read, 0)}, {})
    return body, Content({"meter": 500}, body.tallies, (1000, 1499))


def rows(outbox):
    return [row for batch in outbox._state.last() for row in batch.rows]


def on_disk(outbox, query):
    return outbox._file._connection.execute(query).fetchall()


def due(outbox, lane="bulk"):
    return [(h.epoch, h.seq) for h in outbox.senders[lane].due(0)]


async def until(condition):
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0.005)


async def settled(outbox):
    """All is on disk, and what had to give way has."""
    async with asyncio.timeout(20):
        while rows(outbox) or (await outbox._on_disk(outbox._file.holdings)).by_thing() != outbox.buffered():
            await asyncio.sleep(0.05)


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
        assert on_disk(outbox, "SELECT seq FROM pack") == [(2,)]
        outbox.release("bulk", outbox.epoch, 2)
        await until(lambda: not outbox.buffered())
        assert on_disk(outbox, "SELECT seq FROM pack") == []


async def test_what_the_hub_confirms_in_time_costs_the_disk_nothing(tmp_path):
    async with running(tmp_path / "o.db", commit_ms=200) as outbox:
        for seq in range(1, 41):
            outbox.append("bulk", BODY, CONTENT)
            await asyncio.sleep(0.02)
            outbox.release("bulk", outbox.epoch, seq - 1)
        assert commits(outbox) == 0
        await until(lambda: commits(outbox))  # nobody confirms the last one
        assert on_disk(outbox, "SELECT seq FROM pack") == [(40,)]
        assert on_disk(outbox, "SELECT released FROM mark") == [(39,)]


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
            outbox.open_epoch()
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
    async with running(tmp_path / "o.db", commit_ms=10) as outbox:
        epoch = outbox.epoch
        outbox.append("urgent", BODY, CONTENT)
        for count in range(1, 201):
            outbox.append("bulk", *big_pack(count, 500 * count))
        await settled(outbox)
        size = sum(file.stat().st_size for file in tmp_path.iterdir())
        assert size <= 1 << 20
    lost = outbox.holdings.declared_lost["meter"]
    assert outbox.buffered()["meter"] + lost == 200 * 500 + 1
    file = OutboxFile(tmp_path / "o.db", max_bytes=1 << 20)
    assert file.held("bulk") == [Held(epoch, 1, 200, [(1, lost // 500)])]
    assert file.holdings().by_thing() == outbox.buffered()
    record = decode_body(inflate(file.body("bulk", epoch, 1, lost // 500)))
    assert record == Body([], [], {"meter": (lost, 0)}, {"meter": (lost, 1000, 1499)})
    assert decode_body(inflate(file.body("urgent", epoch, 1, 1))) == BODY
    again = Outbox(file)
    again.senders["bulk"].connected()
    gap, pack, *_ = again.senders["bulk"].due(0)
    assert (gap.first, gap.seq, pack.first, pack.seq) == (1, lost // 500, lost // 500 + 1, lost // 500 + 1)
    file.close()


async def test_a_disk_that_fails_is_reported_and_tried_again(tmp_path):
    path = tmp_path / "o.db"
    async with running(path, commit_ms=10) as outbox:
        db = outbox._file._connection
        db.execute("CREATE TEMP TRIGGER full BEFORE INSERT ON pack BEGIN SELECT raise(ABORT, 'disk full'); END")
        outbox.append("bulk", BODY, CONTENT)
        await until(lambda: outbox.failure == "disk full")
        assert outbox.buffered() == {"meter": 1}
        db.execute("DROP TRIGGER full")
        await until(lambda: not outbox.failure)
    file = OutboxFile(path, max_bytes=1 << 20)
    assert file.holdings().by_thing() == {"meter": 1}
    file.close()


def test_a_restored_file_gives_no_alias_again_that_it_gave_after_its_image(tmp_path):
    path, image = tmp_path / "o.db", tmp_path / "image" / "o.db"
    file = OutboxFile(path, max_bytes=1 << 20)
    first = file.alias("meter", "voltage", "V")
    file.close()
    shutil.copytree(tmp_path, image.parent)
    given = []
    for opened, thing in ((path, "wearable-1"), (image, "wearable-2")):
        file = OutboxFile(opened, max_bytes=1 << 20)
        assert file.alias("meter", "voltage", "V") == first
        given.append({file.alias(thing, metric, "1") for metric in ("heart_rate", "steps", "motion")})
        assert len(given[-1]) == 3
        file.close()
    assert not given[0] & given[1]  # but once in half a million times


def test_an_outbox_that_another_gateway_has_open_is_refused(tmp_path):
    file = OutboxFile(tmp_path / "o.db", max_bytes=1 << 20)
    with pytest.raises(OutboxError, match="locked"):
        OutboxFile(tmp_path / "o.db", max_bytes=1 << 20)
    file.close()


async def test_a_full_disk_keeps_nobody_from_sending(tmp_path):
    """Were a new epoch waited for, a gateway whose disk is full would never send again after an outage."""
    async with running(tmp_path / "o.db", commit_ms=10) as outbox:
        first = outbox.epoch
        db = outbox._file._connection
        db.execute("CREATE TEMP TRIGGER full BEFORE INSERT ON meta BEGIN SELECT raise(ABORT, 'disk full'); END")
        outbox.line_up(after_outage=True)
        outbox.append("bulk", BODY, CONTENT)
        assert due(outbox) == [(first, 1)]
        await until(lambda: on_disk(outbox, "SELECT 1 FROM pack"))
        assert outbox.epoch == first
        db.execute("DROP TRIGGER full")
        outbox.append("bulk", BODY, CONTENT)
        await until(lambda: outbox.epoch > first)


def test_a_transaction_is_all_or_nothing(tmp_path):
    file = OutboxFile(tmp_path / "o.db", max_bytes=1 << 20)
    epoch = file.next_epoch()
    good = make_row("bulk", epoch, 1, body=b"body", content=CONTENT, origins=[ORIGIN])
    broken = Row("bulk", epoch, 2, 2, good.note, None)
    with pytest.raises(sqlite3.IntegrityError):
        file.write(Batch([good, broken], {}, {("bulk", epoch, "meter"): (1, 0)}))
    assert file.held("bulk") == []
    assert file.cursors() == {}
    assert file.tallies() == {}
    file.close()


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
        assert [row.seq for row in rows(outbox)] == [19, 20]
        outbox._file._connection.execute("DROP TRIGGER full")
        await until(lambda: not outbox.failure)
        assert outbox.buffered() == {"meter": 2}
        assert outbox._file.held("bulk") == [Held(outbox.epoch, 19, 20, [])]


async def test_a_commit_counts_once_though_room_cannot_be_made_after_it(tmp_path):
    async with running(tmp_path / "o.db", commit_ms=10) as outbox:
        db = outbox._file._connection
        outbox.append("bulk", BODY, CONTENT)
        await until(lambda: commits(outbox))
        db.execute("CREATE TEMP TRIGGER full BEFORE DELETE ON pack BEGIN SELECT raise(ABORT, 'disk full'); END")
        for count in range(1, 201):
            outbox.append("bulk", *big_pack(count, 500 * count))
        await until(lambda: outbox.failure)
        assert outbox.buffered() == {"meter": 200 * 500 + 1}
        db.execute("DROP TRIGGER full")
        await settled(outbox)
        assert outbox.holdings.declared_lost["meter"] > 0
        assert outbox.buffered()["meter"] + outbox.holdings.declared_lost["meter"] == 200 * 500 + 1


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


async def killed_after_sending(path, count):
    """A gateway that sends packs of one reading each and dies before any of them is on disk. Its epoch."""
    file = OutboxFile(path, max_bytes=1 << 20)
    outbox = Outbox(file)
    for _ in range(count):
        outbox.tally.packed("bulk", "meter", 1)
        outbox.append("bulk", BODY, CONTENT)
    file.close()
    return outbox.epoch


async def test_what_was_sent_before_a_sudden_end_is_counted_once_the_hub_has_told(tmp_path):
    path = tmp_path / "o.db"
    epoch = await killed_after_sending(path, 7)
    told = {"urgent": {}, "bulk": {"meter": (7, 0)}}
    for _ in range(2):  # also when it ends in order after that, and hears so again
        async with running(path, commit_ms=10) as outbox:
            outbox.recall(epoch, told)
            outbox.recall(epoch, told)
            outbox.recall(epoch, {"urgent": {}, "bulk": {"meter": (5, 0)}})  # said before it
            assert outbox.tally.totals() == {"meter": (7, 0)}
    file = OutboxFile(path, max_bytes=1 << 20)
    assert file.tallies() == {"meter": (7, 0)}
    file.close()


async def test_what_the_hub_tells_of_other_epochs_changes_nothing(tmp_path):
    path = tmp_path / "o.db"
    async with running(path, commit_ms=10) as outbox:
        outbox.tally.packed("bulk", "meter", 1)
        outbox.append("bulk", BODY, CONTENT)
        first = outbox.epoch
    async with running(path, commit_ms=10) as outbox:
        outbox.release("bulk", first, 1)
        await until(lambda: not outbox.buffered())
        outbox.tally.packed("bulk", "meter", 1)
        outbox.append("bulk", BODY, CONTENT)
        second = outbox.epoch
    async with running(path, commit_ms=10) as outbox:
        assert not on_disk(outbox, f"SELECT * FROM tally WHERE epoch = {first}")  # added up long since
        for epoch in (first, outbox.epoch, outbox.epoch + 1, (second >> 38) - 1 << 38):
            outbox.recall(epoch, {"urgent": {}, "bulk": {"meter": (99, 0)}})
        assert outbox.tally.totals() == {"meter": (2, 0)}


async def test_several_sudden_ends_are_all_counted(tmp_path):
    path = tmp_path / "o.db"
    total = 0
    for count in (3, 4, 5):
        epoch = await killed_after_sending(path, count)
        total += count
        async with running(path, commit_ms=10) as outbox:
            outbox.recall(epoch, {"urgent": {}, "bulk": {"meter": (count, 0)}})
            assert outbox.tally.totals() == {"meter": (total, 0)}


def test_what_other_parts_remember_outlasts_a_restart_and_a_damage_in_its_newest_version(tmp_path):
    path = tmp_path / "o.db"
    file = OutboxFile(path, max_bytes=1 << 20)
    for number in range(40):
        file.write(Batch([], {}, {}, {"alarm/a": f"{number} " + "x" * 900, "alarm/b": str(number)}))
    file.write(Batch([], {}, {}, {"alarm/b": None, "alarm/c": "1"}))
    file.close()
    kept = {"alarm/a": "39 " + "x" * 900, "alarm/c": "1"}
    file = OutboxFile(path, max_bytes=1 << 20)
    assert file.kept() == kept
    file.close()
    whole = path.read_bytes()
    path.write_bytes(b"damage" + whole[6:])
    file = OutboxFile(path, max_bytes=1 << 20)
    assert (file.damages, file.kept()) == (1, kept)
    file.write(Batch([], {}, {}, {"alarm/b": "again"}))
    assert file.kept() == kept | {"alarm/b": "again"}
    file.close()
