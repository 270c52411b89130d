"""A hub's data as one file and back: whole, or refused with a reason; and custody stays exact after a restore."""

import io
import json
import subprocess
import sys
import tarfile
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from hub import backup as backups
from hub import logins
from hub.authority import Authority
from hub.backup import backup, restore
from hub.errors import SetupError
from hub.intake import Intake
from hub.only_one import only_one
from hub.store.querying import Querying
from hub.store.schema import FILE, connect
from hub.store.writing import Writer
from protocols import cursor
from protocols.custody import Header, Sender, epoch_number
from protocols.reading import reading
from runtime.mqtt import Message
from tests.hub.conftest import ROOT
from tests.hub.gateway import ID, INCARNATION, birth, body, message

UP = f"g/{ID}/up/bulk"
CURSOR = f"g/{ID}/cursor/bulk"
BORN = Message(f"g/{ID}/birth", birth(), False)


class Hub:
    """A hub's intake over its data."""

    def __init__(self, data: Path):
        self.data = data
        self.writer = Writer(data)
        self.intake = Intake(self.writer, data.name)
        self.querying = Querying(data)
        self.intake.take([BORN])

    def values(self) -> list[object]:
        """The heart rates that are stored."""
        stream = self.querying.streams("wearable-1")[0].id
        return [point.value for point in self.querying.history(stream, 0, 1 << 53)[0]]


class Gateway:
    """A gateway's bulk lane: the pack with seq n holds the value n."""

    def __init__(self) -> None:
        self.sender = Sender()
        self.epochs: list[int] = []
        self.last = 0
        self.sender.connected()
        self.open()

    def open(self) -> None:
        """Go on in a new epoch."""
        self.epochs.append(epoch_number(INCARNATION, len(self.epochs) + 1, 0))
        self.sender.open(self.epochs[-1])
        self.last = 0

    def make(self, count: int) -> None:
        """Make packs."""
        for _ in range(count):
            self.last += 1
            self.sender.appended(self.epochs[-1], self.last)

    def send(self, hub: Hub, *, heard: bool = True) -> None:
        """Send what is due; hear what the hub answers, or not."""
        answer = hub.intake.take([self.message(header) for header in self.sender.due(0)])
        if heard:
            self.hear(answer.publish[CURSOR])

    def hear(self, payload: bytes) -> None:
        """A cursor has come."""
        self.sender.cursor(*cursor.decode(payload), 0)

    def message(self, header: Header) -> Message:
        """A pack as it travels."""
        at = 1000 * header.seq + 1_000_000 * self.epochs.index(header.epoch)
        made = [("wearable-1", reading("heart_rate", header.seq, "/min", time_ms=at))]
        return Message(UP, message(header, body(made, tallies={"wearable-1": (header.seq, 0)})), False)


@pytest.fixture
def open_hub():
    opened: list[Hub] = []

    def call(data: Path) -> Hub:
        opened.append(Hub(data))
        return opened[-1]

    yield call
    for hub in opened:
        hub.writer.close()


@pytest.fixture
def hub(data: Path, open_hub: Callable[[Path], Hub]) -> Hub:
    return open_hub(data)


def made_of(hub: Hub, tmp_path: Path) -> Path:
    """A backup of a hub with ten readings."""
    gateway = Gateway()
    gateway.make(10)
    gateway.send(hub)
    backup(hub.data, tmp_path / "backup")
    return tmp_path / "backup"


def test_everything_is_there_again(hub: Hub, tmp_path: Path, open_hub: Callable[[Path], Hub]) -> None:
    logins.admit(hub.data, "block-1")
    authority = Authority(hub.data)
    (hub.data / "broker" / "jetstream").mkdir(parents=True)
    (hub.data / "broker" / "jetstream" / "retained").write_text("of the broker")
    gateway = Gateway()
    gateway.make(20)
    gateway.send(hub)
    hub.writer.seal_all()
    gateway.make(3)
    gateway.send(hub)
    made = backup(hub.data, tmp_path / "backup")
    assert made.readings == 23
    assert (tmp_path / "backup").stat().st_mode & 0o777 == 0o600
    restore(tmp_path / "backup", tmp_path / "new")
    again = open_hub(tmp_path / "new")
    assert again.values() == hub.values() == list(range(1, 24))
    assert again.querying.custody() == hub.querying.custody()
    assert again.writer.cursors() == hub.writer.cursors()
    assert Authority(again.data).pem == authority.pem
    assert (again.data / logins.FILE).read_text() == (hub.data / logins.FILE).read_text()
    assert (again.data / "ca" / "authority.pem").stat().st_mode & 0o777 == 0o600
    assert not (again.data / "broker").exists()
    assert [one.backup_ms for one in again.querying.restores()] == [made.made_ms]
    assert hub.querying.restores() == []


def test_a_backup_is_of_one_moment_though_the_hub_goes_on(hub: Hub, tmp_path: Path, open_hub) -> None:
    gateway = Gateway()
    stop = threading.Event()

    def work() -> None:
        while not stop.is_set():
            gateway.make(20)
            gateway.send(hub)
            hub.writer.seal_all()

    working = threading.Thread(target=work)
    working.start()
    try:
        files = [tmp_path / f"backup-{number}" for number in range(5)]
        counts = [backup(hub.data, file).readings for file in files]
    finally:
        stop.set()
        working.join()
    assert counts == sorted(counts)
    for number, (file, count) in enumerate(zip(files, counts, strict=True)):
        restore(file, tmp_path / f"new-{number}")
        again = open_hub(tmp_path / f"new-{number}")
        assert again.values() == list(range(1, count + 1))[-10_000:]
        assert again.writer.cursors().get((ID, "bulk"), {}) == ({gateway.epochs[0]: count} if count else {})


def test_what_was_stored_after_the_backup_is_asked_for_again(hub: Hub, tmp_path: Path, open_hub) -> None:
    gateway = Gateway()
    gateway.make(5)
    gateway.send(hub)
    backup(hub.data, tmp_path / "backup")
    gateway.make(5)
    gateway.send(hub, heard=False)
    assert hub.values() == list(range(1, 11))
    restore(tmp_path / "backup", tmp_path / "new")
    again = open_hub(tmp_path / "new")
    gateway.hear(again.intake.all_cursors()[CURSOR])
    gateway.send(again)
    assert again.values() == list(range(1, 11))
    assert again.querying.skips() == []
    assert [one.duplicates for one in again.querying.custody() if one.thing == "wearable-1"] == [0]


def test_what_the_gateway_has_let_go_of_is_named(hub: Hub, tmp_path: Path, open_hub) -> None:
    gateway = Gateway()
    gateway.make(5)
    gateway.send(hub)
    backup(hub.data, tmp_path / "backup")
    gateway.make(3)
    gateway.send(hub)  # 6 to 8 are let go of
    gateway.make(2)
    restore(tmp_path / "backup", tmp_path / "new")
    again = open_hub(tmp_path / "new")
    gateway.hear(again.intake.all_cursors()[CURSOR])
    gateway.send(again)
    assert again.values() == [1, 2, 3, 4, 5, 9, 10]
    (skip,) = again.querying.skips()
    assert (skip.gateway, skip.lane, skip.epoch, skip.first, skip.last) == (ID, "bulk", gateway.epochs[0], 6, 8)
    (account,) = again.querying.accounts()
    assert account.read - account.suppressed - account.stored - account.declared_lost == 3  # held or missing
    gateway.make(1)
    gateway.send(again)
    assert again.values()[-1] == 11
    assert again.querying.skips() == [skip]


def test_epochs_that_began_after_the_backup_are_named_too(hub: Hub, tmp_path: Path, open_hub) -> None:
    gateway = Gateway()
    gateway.make(1)
    gateway.send(hub)
    backup(hub.data, tmp_path / "backup")
    gateway.open()
    gateway.make(4)
    gateway.send(hub)
    gateway.make(2)
    restore(tmp_path / "backup", tmp_path / "new")
    again = open_hub(tmp_path / "new")
    gateway.hear(again.intake.all_cursors()[CURSOR])
    gateway.send(again)
    assert again.values() == [1, 5, 6]
    assert [(skip.epoch, skip.first, skip.last) for skip in again.querying.skips()] == [(gateway.epochs[1], 1, 4)]


def test_an_existing_store_is_put_aside_only_if_told(hub: Hub, tmp_path: Path, open_hub) -> None:
    file = made_of(hub, tmp_path)
    hub.writer.close()
    (hub.data / "mark").write_text("of the old one")
    with pytest.raises(SetupError, match="is not empty"):
        restore(file, hub.data)
    with only_one(hub.data, "ingest"), pytest.raises(SetupError, match="another ingest"):
        restore(file, hub.data, replace=True)
    assert (hub.data / "mark").exists()
    restore(file, hub.data, replace=True)
    assert not (hub.data / "mark").exists()
    (aside,) = tmp_path.glob("data-before-*")
    assert (aside / "mark").read_text() == "of the old one"
    assert Querying(aside).stored() == Querying(hub.data).stored() == 10


def test_any_bit_that_is_wrong_is_found(hub: Hub, tmp_path: Path) -> None:
    whole = made_of(hub, tmp_path).read_bytes()
    file = tmp_path / "damaged"
    refused = 0
    with tarfile.open(tmp_path / "backup") as tar:
        inside = [(one.offset_data, one.size) for one in tar.getmembers()]
    for begin, size in inside:
        for place in (begin, begin + size // 2, begin + size - 1):
            file.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
            with pytest.raises(SetupError, match="damaged"):
                restore(file, tmp_path / "new")
            refused += 1
    assert refused >= 6
    for length in (0, 100, 512, len(whole) // 2, inside[-1][0] + 5):
        file.write_bytes(whole[:length])
        with pytest.raises(SetupError, match=r"cut off|damaged"):
            restore(file, tmp_path / "new")
    assert not (tmp_path / "new").exists()
    assert list(tmp_path.glob(".kerb-restore-*")) == []


def write(tar: tarfile.TarFile, member: tarfile.TarInfo, content: bytes) -> None:
    member.size = len(content)
    tar.addfile(member, io.BytesIO(content))


def repacked(file: Path, change: Callable[[dict[str, object]], None]) -> None:
    """Write a backup anew with another manifest."""
    with tarfile.open(file) as tar:
        members = [(one, tar.extractfile(one).read()) for one in tar.getmembers()]  # type: ignore[union-attr]
    with tarfile.open(file, "w") as tar:
        for member, content in members:
            if member.name == "manifest.json":
                manifest = json.loads(content)
                change(manifest)
                write(tar, member, json.dumps(manifest).encode())
            else:
                write(tar, member, content)


def test_what_is_no_backup_of_a_hub_is_refused(hub: Hub, tmp_path: Path) -> None:
    file = made_of(hub, tmp_path)
    for content in (b"a letter", b"", b"\0" * 10240):
        (tmp_path / "foreign").write_bytes(content)
        with pytest.raises(SetupError, match="is no backup of a hub"):
            restore(tmp_path / "foreign", tmp_path / "new")
    with tarfile.open(tmp_path / "foreign", "w") as tar:
        tar.add(ROOT / "README.md", "README.md")
    with pytest.raises(SetupError, match="is no backup of a hub"):
        restore(tmp_path / "foreign", tmp_path / "new")
    repacked(file, lambda manifest: manifest.update(version=2))
    with pytest.raises(SetupError, match="version 2"):
        restore(file, tmp_path / "new")
    with pytest.raises(FileNotFoundError):
        restore(tmp_path / "nothing", tmp_path / "new")


def test_no_file_lands_outside_of_the_data(hub: Hub, tmp_path: Path) -> None:
    file = made_of(hub, tmp_path)
    with tarfile.open(file) as tar:
        members = [(one, tar.extractfile(one).read()) for one in tar.getmembers()]  # type: ignore[union-attr]
    with tarfile.open(file, "w") as tar:
        for member, content in members:
            if member.name == FILE:
                outside = tarfile.TarInfo("../outside")
                tar.addfile(outside)
            tar.addfile(member, io.BytesIO(content))
    repacked(file, lambda manifest: manifest["files"].update({"../outside": {"bytes": 0, "sha256": ""}}))  # type: ignore[attr-defined]
    with pytest.raises(SetupError, match=r"'../outside' in it is no file"):
        restore(file, tmp_path / "new")
    assert not (tmp_path / "outside").exists()


def test_a_store_of_a_newer_version_is_refused(hub: Hub, tmp_path: Path) -> None:
    hub.writer._db.execute(
        "INSERT INTO _sqlite_migrations (migration_set, name, applied_at) VALUES ('hub', 'of_tomorrow', '')"
    )
    file = made_of(hub, tmp_path)
    with pytest.raises(SetupError, match="of_tomorrow"):
        restore(file, tmp_path / "new")


def test_a_store_that_was_damaged_before_is_not_called_whole(hub: Hub, tmp_path: Path) -> None:
    gateway = Gateway()
    gateway.make(60)
    gateway.send(hub)
    hub.writer.seal_all()
    hub.writer._db.execute("PRAGMA writable_schema = ON")
    hub.writer._db.execute("UPDATE sqlite_master SET rootpage = 2 WHERE name = 'block'")
    backup(hub.data, tmp_path / "backup")
    with pytest.raises(SetupError, match="damaged"):
        restore(tmp_path / "backup", tmp_path / "new")


def test_a_backup_never_overwrites_and_leaves_nothing_behind(hub: Hub, tmp_path: Path, monkeypatch) -> None:
    file = made_of(hub, tmp_path)
    before = file.read_bytes()
    with pytest.raises(SetupError, match="exists already"):
        backup(hub.data, file)
    with pytest.raises(SetupError, match="no store"):
        backup(tmp_path / "nowhere", tmp_path / "other")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(backups, "_readings", full)
    with pytest.raises(OSError, match="No space"):
        backup(hub.data, tmp_path / "other")
    assert file.read_bytes() == before
    assert {path.name for path in tmp_path.iterdir()} == {"backup", "data"}


def test_the_commands(hub: Hub, tmp_path: Path) -> None:
    def run(*words: str) -> "subprocess.CompletedProcess[str]":
        command = [sys.executable, "-m", "hub", *words]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=30, check=False)

    file = made_of(hub, tmp_path)
    said = run("backup", "--data", str(hub.data), str(tmp_path / "second"))
    assert (said.returncode, "10 readings" in said.stdout) == (0, True)
    assert run("restore", str(tmp_path / "second"), "--data", str(tmp_path / "new")).returncode == 0
    assert Querying(tmp_path / "new").stored() == 10
    for words, reason in (
        (("backup", "--data", str(hub.data), str(file)), "exists already"),
        (("restore", str(file), "--data", str(hub.data)), "is not empty"),
        (("restore", str(tmp_path / "nothing"), "--data", str(tmp_path / "x")), "No such file"),
    ):
        said = run(*words)
        assert (said.returncode, said.stderr.count("\n")) == (2, 1)
        assert reason in said.stderr
    connection = connect(tmp_path / "new" / FILE, readonly=True)
    assert connection.execute("PRAGMA journal_mode").fetchone()[0] == "wal"
    connection.close()
