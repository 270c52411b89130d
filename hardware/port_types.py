"""Type-checks the firmware against MicroPython's stubs for each port: part of `./kerb check`.

All of firmware/, and what it imports, is checked as the port has it: its `machine`, its `esp32` or `rp2`, and its own
standard library in place of CPython's. `./kerb check` installs the stubs by requirements-<port>.lock, each port's into
a folder of its own, since they hold the same modules.
"""

import subprocess
import sys
from pathlib import Path

from hardware import images

PORTS = ("esp32", "rp2")
_CONFIG = """\
[mypy]
strict = True
python_version = 3.11
explicit_package_bases = True
mypy_path = {stubs}
custom_typeshed_dir = {stubs}
platform = {port}
# These are told of the same lines by the check against CPython's library, which has other types in places.
warn_unused_ignores = False
warn_return_any = False

# Faults of the stubs themselves.
[mypy-machine,rp2.*,vfs,math,_mpy_shed.*]
ignore_errors = True

# boot/ finds it in the root of the flash.
[mypy-slots]
ignore_missing_imports = True

# Packs are read by gateways alone, on CPython.
[mypy-protocols.senml]
disable_error_code = call-arg

# The stubs lack SSLContext.verify_mode, which every port has.
[mypy-firmware.core.identity]
disable_error_code = attr-defined
"""


def stubs(port: str) -> Path:
    """Where the port's stubs are installed."""
    return Path(sys.prefix) / "stubs" / port


def problems(port: str, root: Path = images.ROOT) -> list[str]:
    """What mypy says of the firmware on a port; nothing if all is well. Raises SystemExit without the port's stubs."""
    folder = stubs(port)
    if not (folder / "machine.pyi").exists():
        raise SystemExit(f"{folder} has no stubs; `./kerb check` installs them")
    config = folder / "mypy.ini"
    config.write_text(_CONFIG.format(stubs=folder, port=port))
    others = {root / "firmware" / "hal" / f"{name}.py" for name in (*PORTS, "sim") if name != port}
    files = sorted(str(path) for path in {*(root / "firmware").rglob("*.py")} - others)
    line = [sys.executable, "-m", "mypy", "--config-file", str(config), "--cache-dir", f".mypy_cache/{port}"]
    done = subprocess.run([*line, *files], cwd=root, capture_output=True, text=True, check=False)
    return [f"{port}: {text}" for text in (done.stdout + done.stderr).splitlines()] if done.returncode else []


def main() -> int:
    """All ports; the exit code."""
    found = [problem for port in PORTS for problem in problems(port)]
    print("\n".join(found) or f"the firmware's types agree with the stubs of {' and '.join(PORTS)}")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
