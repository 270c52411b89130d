"""Rows out of SQLite's pages without SQLite, held against what SQLite itself has written."""

import sqlite3
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.sqlite_pages import cut_short, frames_of, rows_of

PAGE = 1024
VALUES = st.one_of(
    st.none(),
    st.integers(-(1 << 63), (1 << 63) - 1),
    st.integers(-300, 300),
    st.floats(allow_nan=False),
    st.text(max_size=40),
    st.binary(max_size=3000),
)


def pages_of(data: bytes) -> dict[int, bytes]:
    return {at // PAGE + 1: data[at : at + PAGE] for at in range(0, len(data), PAGE)}


def open_database(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute(f"PRAGMA page_size = {PAGE}")
    connection.execute("PRAGMA locking_mode = EXCLUSIVE")
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA wal_autocheckpoint = 0")
    return connection


@settings(max_examples=60, deadline=None)
@given(st.dictionaries(st.integers(-(1 << 40), 1 << 40), st.tuples(VALUES, VALUES, VALUES), max_size=80))
def test_every_row_is_found_in_the_file_and_in_the_log(tmp_path_factory, rows):
    path = tmp_path_factory.mktemp("pages") / "a.db"
    connection = open_database(path)
    connection.execute("CREATE TABLE t (k INTEGER PRIMARY KEY, a, b, c) WITHOUT ROWID")
    connection.execute("BEGIN")
    connection.executemany("INSERT INTO t VALUES (?, ?, ?, ?)", [(key, *values) for key, values in rows.items()])
    connection.execute("COMMIT")
    written = sorted(connection.execute("SELECT * FROM t"))
    frames = frames_of(path.with_name("a.db-wal").read_bytes(), PAGE)
    assert all(frame.valid for frame in frames)
    assert frames[-1].commit
    assert not cut_short(frames)
    logged = {frame.number: frame.page for frame in frames}
    connection.close()
    for pages in (logged, pages_of(path.read_bytes())):
        found = sorted(row for number in pages for row in rows_of(pages, number) if len(row) == 4)
        assert repr(found) == repr(written)


@pytest.fixture
def log(tmp_path):
    """The log of five transactions, each of one frame or two."""
    connection = open_database(tmp_path / "a.db")
    connection.execute("CREATE TABLE t (k INTEGER PRIMARY KEY, a) WITHOUT ROWID")
    for key in range(4):
        connection.execute("INSERT INTO t VALUES (?, ?)", (key, b"x" * 900 * (key % 2 + 1)))
    content = tmp_path.joinpath("a.db-wal").read_bytes()
    connection.close()
    return content


def test_a_damaged_frame_is_told_from_a_transaction_that_the_power_cut_short(log):
    whole = frames_of(log, PAGE)
    ends = [place for place, frame in enumerate(whole) if frame.commit]
    for place in range(len(whole)):
        damaged = bytearray(log)
        damaged[32 + place * (24 + PAGE) + 500] ^= 1
        frames = frames_of(bytes(damaged), PAGE)
        if place == len(whole) - 1:
            assert len(frames) == place
        else:
            assert [frame.valid for frame in frames] == [other != place for other in range(len(whole))]
        assert cut_short(frames) is (place < ends[-2])


def test_what_is_no_log_has_no_frames(log):
    for content in (b"", log[:31], bytes(32) + log[32:], bytes(len(log))):
        assert frames_of(content, PAGE) == []
    assert all(not frame.valid for frame in frames_of(log[:32] + bytes(5000) + log[32:], PAGE)[:4])
    assert frames_of(log + bytes(10_000), PAGE) == frames_of(log, PAGE)


@settings(max_examples=300, deadline=None)
@given(st.binary(min_size=PAGE, max_size=PAGE), st.sampled_from((b"\x02", b"\x0a")), st.integers(0, 400))
def test_garbage_is_survived(page, kind, cells):
    """Whatever comes out of it has no checksum that is right."""
    pages = {2: kind + b"\0\0" + cells.to_bytes(2, "big") + page[5:], 3: page}
    list(rows_of(pages, 2))
