"""The watchdog starves when a task does not report, and why is kept."""

from pathlib import Path

from firmware.core import crash
from firmware.core.clock import Clock
from firmware.core.watchdog import Watchdog


class Board:
    """A port's clock, moved by the test, and its watchdog."""

    def __init__(self) -> None:
        self.now_ms = 0
        self.meals = 0

    def ticks_ms(self) -> int:
        return self.now_ms

    def ticks_diff(self, after: int, before: int) -> int:
        return after - before

    def unix_ms(self) -> int | None:
        return None

    def random_bits(self, count: int) -> int:
        return 0

    def feed(self) -> None:
        self.meals += 1


def test_it_is_fed_while_all_report_and_starves_when_one_does_not(tmp_path: Path) -> None:
    board = Board()
    watchdog = Watchdog(board, Clock(board), lambda reason: crash.keep(str(tmp_path), reason))
    quick, slow = watchdog.watch("quick", 1000), watchdog.watch("slow", 5000)
    for _ in range(10):
        board.now_ms += 900
        quick()
        if board.now_ms % 3600 == 0:
            slow()
        watchdog.look()
    assert board.meals == 10
    board.now_ms += 1001
    watchdog.look()
    assert board.meals == 10
    assert crash.kept(str(tmp_path)) == "no word from quick"
    quick()
    slow()
    watchdog.look()
    assert board.meals == 10  # whatever it says now: it has hung, and the board starts anew


def test_the_first_reason_is_kept_until_it_is_forgotten(tmp_path: Path) -> None:
    folder = str(tmp_path)
    assert crash.kept(folder) == ""
    crash.forget(folder)
    crash.keep(folder, "x" * 1000 + " the end")
    crash.keep(folder, "another")
    assert crash.kept(folder).endswith(" the end")
    assert len(crash.kept(folder)) == 600
    crash.forget(folder)
    assert crash.kept(folder) == ""


def test_a_flash_that_refuses_it_is_no_second_failure(tmp_path: Path) -> None:
    crash.keep(str(tmp_path / "nowhere"), "reason")
    assert crash.kept(str(tmp_path / "nowhere")) == ""
