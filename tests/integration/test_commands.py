"""Commands through a real gateway that is killed, over connections that are cut; and from the command lines."""

import re
import subprocess
import sys
from pathlib import Path

from bench.commands import campaign


async def test_no_command_acts_twice_and_each_ends(tmp_path: Path) -> None:
    result = await campaign(tmp_path, count=60, kills=2, faults=0.1, devices=3, registers=4)
    assert result["double_actuations"] == 0
    assert result["done_without_actuation"] == 0
    assert result["done"] + result["refused"] + result["expired"] + result["failed"] == 60
    assert result["done"] >= 30


def test_a_command_line_without_a_gateway_says_so(tmp_path: Path) -> None:
    config = Path("hardware/sim/example.toml").read_text(encoding="utf-8")
    for name in re.findall(r'"([\w./-]+\.(?:password|pem|key))"', config):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("secret")
    (tmp_path / "gateway.toml").write_text(config, encoding="utf-8")
    line = [sys.executable, "-m", "edge", "command", str(tmp_path / "gateway.toml"), "meter-1"]
    for arguments, said in (
        (["reset", "1"], "there is no running gateway"),
        (["reset", "1", "--expires", "0"], "--expires must be"),
        (["re set", "1"], "is not 1 to 64 of"),
    ):
        ended = subprocess.run([*line, *arguments], capture_output=True, text=True, timeout=60, check=False)
        assert ended.returncode == 2
        assert said in ended.stderr
        assert ended.stderr.count("\n") == 1
