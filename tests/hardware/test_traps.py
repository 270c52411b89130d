"""The lint for MicroPython: each trap is found, and what it forbids fails on real MicroPython."""

import subprocess

import pytest

from hardware import traps
from hardware.sim.device import micropython

# source that CPython runs, and what is said of it
TRAPS = [
    ("from dataclasses import dataclass", "no module dataclasses"),
    ("import datetime", "no module datetime"),
    ("from __future__ import annotations", "no module __future__"),
    ("def f(a, /): pass", "SyntaxError"),
    ("a = [*(1, 2)]", "SyntaxError"),
    ("match 1:\n    case 1:\n        pass", "SyntaxError"),
    ("import struct\nstruct.Struct('<I')", "Struct: there is none"),
    ("(5).bit_length()", "bit_length: int has no such method"),
    ("'abc'.removeprefix('a')", "removeprefix"),
    ("import asyncio\nasyncio.TaskGroup", "use gather"),
    ("import asyncio\nasyncio.timeout", "use wait_for"),
    ("import os\nos.path", "path: there is none"),
    ("import os\nos.replace", "rename replaces"),
    ("list(zip([1], [2], strict=True))", "takes no `strict`"),
    ("import time\ntime.monotonic()", "ask the clock"),
]
# what MicroPython runs, but otherwise
SILENT = [
    ("import time\ntime.time()", "has 32 bits on a board"),
    ("int.from_bytes(b'\\xff', 'big', signed=True)", "takes no `signed`"),
    ("pow(3, -1, 7)", "is wrong"),
    ("import struct\nstruct.pack('I', 1)", "no byte order"),
    ("import machine", "by the ports alone"),
    ("import time\ntime.time_ns()", "from 1970 or from 2000"),
    ("import time\ntime.gmtime(0)", "from 1970 or from 2000"),
    ("{'b': 1, 'a': 2}.popitem()", "no order"),
    ("next(iter({'b': 1, 'a': 2}))", "no order"),
    ("unix_ms = 1795382519000\nunix_ms / 1000", "a time in a float"),
    ("def readblocks(block_num, buf):\n    buf[:] = bytes(len(buf))", "must not allocate"),
    ("def readblocks(block_num, buf):\n    buf[:] = buf[1:]", "must not allocate"),
]
FINE = """
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any
else:
    Any = None
import struct
def f(x: "Any") -> "list[int]":
    assert f"{x!r:>3}"
    return [struct.unpack("<I", bytes(4))[0]]
async def g():
    (lambda: 0)()
"""


@pytest.mark.parametrize(("source", "said"), TRAPS + SILENT)
def test_a_trap_is_found_where_it_is(source: str, said: str) -> None:
    found = traps.problems("firmware/core/bad.py", "\n\n" + source)
    assert any(said in problem for problem in found), found
    assert all(problem.startswith("firmware/core/bad.py") for problem in found)


@pytest.mark.parametrize(("source", "said"), TRAPS)
def test_a_trap_is_one(source: str, said: str) -> None:
    done = subprocess.run([micropython(), "-c", source], capture_output=True, text=True, timeout=10, check=False)
    assert done.returncode, said


@pytest.mark.parametrize(
    "source",
    [
        "import struct; assert struct.pack('<B', 300) == b','",
        "assert list({'zebra': 1, 'apple': 2, 'mango': 3, 'fig': 4}) != ['zebra', 'apple', 'mango', 'fig']",
        "assert pow(3, -1, 7) != 5",
        "assert int.from_bytes(b'\\xff', 'big', True) == 255",
    ],
)
def test_what_runs_otherwise_on_micropython(source: str) -> None:
    """What no lint can see in general, such as values that do not fit a format: the reason for checks of their own."""
    subprocess.run([micropython(), "-c", source], check=True, timeout=10)


def test_what_is_fine_is_left_alone() -> None:
    assert traps.problems("firmware/core/good.py", FINE) == []
    assert traps.problems("firmware/hal/board.py", "import machine\n") == []
    assert traps.problems("firmware/core/good.py", "import datetime  # traps: ok - never runs there\n") == []


def test_all_that_micropython_runs_is_free_of_traps(capsys: pytest.CaptureFixture[str]) -> None:
    assert traps.main() == 0, capsys.readouterr().out
