"""Runs a program on a machine whose wall clock is another one, and can be set while it runs.

`python -m bench.parts.other_clock FILE MODULE [ARGUMENTS]`: FILE says how far off the wall clock is, how fast it
drifts, and which start of the machine this is; see `Setting`. It is what the program's Python code sees. What is
written in C (OpenSSL, SQLite) sees the machine's own: libfaketime, which would reach that too, breaks CPython's sleep.
"""

import json
import runpy
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from runtime.files import write_whole

_wall_ns, _monotonic_ns = time.time_ns, time.monotonic_ns


@dataclass(frozen=True)
class Setting:
    """off_s: wall clock minus the right time; drift_ppm: since `since_ns` of the monotonic clock; boot: a name."""

    off_s: float = 0.0
    drift_ppm: float = 0.0
    since_ns: int = 0
    boot: str = "first"

    def write(self, path: Path) -> None:
        """From now on this holds."""
        write_whole(path, json.dumps(asdict(self)).encode())


class _Wall:
    """The wall clock, by a file that is read again when it has changed."""

    def __init__(self, path: Path):
        self._path = path
        self._changed_ns = 0
        self.setting = Setting()
        self.time_ns()

    def time_ns(self) -> int:
        changed_ns = self._path.stat().st_mtime_ns
        if changed_ns != self._changed_ns:
            self._changed_ns = changed_ns
            self.setting = Setting(**json.loads(self._path.read_text(encoding="utf-8")))
        drifted_ns = (_monotonic_ns() - self.setting.since_ns) * self.setting.drift_ppm / 1e6
        return _wall_ns() + int(self.setting.off_s * 1e9 + drifted_ns)

    def time(self) -> float:
        return self.time_ns() / 1e9


def main() -> None:
    """Take the clock's place, then run the module."""
    path, module = Path(sys.argv[1]), sys.argv[2]
    wall = _Wall(path)
    time.time_ns, time.time = wall.time_ns, wall.time
    boot_id = path.with_suffix(".boot")
    boot_id.write_text(wall.setting.boot, encoding="ascii")
    from edge import timekeeping  # noqa: PLC0415 - it takes the clock as it finds it

    timekeeping.BOOT_ID = boot_id
    sys.argv = [module, *sys.argv[3:]]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
