"""The front door on machines that lack something: one clear sentence, exit 2. On copies, with a PATH of our own."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
TOOLS = ("dirname", "cat", "grep", "cmp", "cp", "rm", "tail", "tr", "ls", "sed", "mkdir", "chmod")


class Machine:
    """A folder with the front door, and a bin folder that is the whole PATH."""

    def __init__(self, folder: Path):
        self.root = folder / "kerb-copy"
        self.bin = folder / "bin"
        for made in (self.root, self.bin):
            made.mkdir()
        shutil.copy(ROOT / "kerb", self.root / "kerb")
        (self.root / "requirements.lock").write_text("one==1\ntwo==2\n")
        for tool in TOOLS:
            found = shutil.which(tool)
            assert found
            (self.bin / tool).symlink_to(found)

    def install(self, name: str, script: str) -> None:
        path = self.bin / name
        path.write_text("#!/bin/sh\n" + script)
        path.chmod(0o755)

    def kerb(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = ["/bin/sh", str(self.root / "kerb"), *arguments]
        return subprocess.run(
            command, capture_output=True, text=True, env={"PATH": str(self.bin)}, timeout=30, check=False
        )


@pytest.fixture
def machine(tmp_path):
    return Machine(tmp_path)


OLD = 'case "$1" in -c) exit 1 ;; *) echo "Python 3.9.2" ;; esac\n'
# Its virtual environment holds a pip that does as `pip` says, and a python that tells what it is asked to run.
NEW = """\
case "$1" in
-c) exit 0 ;;
--version) echo "Python 3.12.1" ;;
-m) mkdir -p "$3/bin" && printf '#!/bin/sh\\n{pip}\\n' >"$3/bin/pip" &&
    printf '#!/bin/sh\\necho ran "$@"\\n' >"$3/bin/python" && chmod +x "$3/bin/pip" "$3/bin/python" ;;
esac
"""


def test_no_python(machine):
    done = machine.kerb("demo")
    assert done.returncode == 2
    assert "needs Python 3.11 or newer, but found no python3" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_an_old_python(machine):
    machine.install("python3", OLD)
    done = machine.kerb("demo")
    assert done.returncode == 2
    assert "found Python 3.9.2" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_newer_python_beside_an_old_one_is_taken(machine):
    machine.install("python3", OLD)
    machine.install("python3.12", NEW.format(pip="exit 0"))
    done = machine.kerb("demo", "--seconds", "5")
    assert done.returncode == 0, done.stderr
    assert done.stdout == "ran -P -m hardware.sim.demo --seconds 5\n"


def test_a_missing_lock_file(machine):
    (machine.root / "requirements.lock").unlink()
    done = machine.kerb("demo")
    assert done.returncode == 2
    assert "requirements.lock is missing" in done.stderr


def test_a_virtual_environment_that_cannot_be_made(machine):
    machine.install("python3", 'case "$1" in -c) exit 0 ;; -m) echo "No module named ensurepip" >&2; exit 1 ;; esac\n')
    done = machine.kerb("demo")
    assert done.returncode == 2
    assert "No module named ensurepip" in done.stderr
    assert "python3-venv" in done.stderr


def test_an_installation_that_fails_is_told_and_tried_again_next_time(machine):
    machine.install("python3", NEW.format(pip='echo "ERROR: no route to the packages" >&2; exit 1'))
    for _ in range(2):
        done = machine.kerb("edge", "check", "x.toml")
        assert done.returncode == 2
        assert "installing failed: ERROR: no route to the packages" in done.stderr


def test_what_is_installed_is_not_installed_again_until_the_lock_file_changes(machine):
    machine.install("python3", NEW.format(pip='echo once >>"$0.count"'))
    count = machine.root / ".venv/bin/pip.count"
    for _ in range(2):
        assert machine.kerb("hub", "run").stdout == "ran -P -m hub run\n"
    assert count.read_text() == "once\n"
    (machine.root / "requirements.lock").write_text("one==1.1\n")
    assert machine.kerb("hub", "run").returncode == 0
    assert count.read_text() == "once\nonce\n"


def test_relative_paths_are_the_callers(tmp_path):
    """From another folder: what is given is found there, and nothing is written into the program's own."""
    config = tmp_path / "gateway.toml"
    config.write_text((ROOT / "hardware/sim/example.toml").read_text())
    module = [sys.executable, "-P", "-m", "edge", "check", "gateway.toml"]
    done = subprocess.run(
        module, cwd=tmp_path, env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=30, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "flat-12" in done.stdout


def test_an_unknown_command_or_benchmark(machine):
    (machine.root / "bench").mkdir()
    (machine.root / "bench" / "startup.py").touch()
    for arguments, said in (
        (["fly"], "no command fly"),
        (["bench"], "there are: startup"),
        (["bench", "x"], "no benchmark x"),
    ):
        done = machine.kerb(*arguments)
        assert done.returncode == 2
        assert said in done.stderr
