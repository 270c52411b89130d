"""Full and failing disks at a small count: nothing is lost that is not declared, urgent readings least of all."""

import shutil
import subprocess

import pytest

from bench.parts.faults import disk


def _may_mount() -> bool:
    trial = ["unshare", "--mount", "--map-root-user", "mount", "-t", "tmpfs", "none", "/mnt"]
    return (
        shutil.which("unshare") is not None and not subprocess.run(trial, capture_output=True, check=False).returncode
    )


pytestmark = [
    pytest.mark.skipif(not _may_mount(), reason="this user may not mount anything, not even in a namespace of his own"),
    pytest.mark.timeout(240),
]


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
def test_a_disk_of_two_megabytes():
    result = disk.run(3, 0, sizes_mb=[2])
    assert result["missing"] == result["duplicates"] == result["urgent_lost"] == 0
    assert result["declared_lost"] > 0  # of the outbox that got twice as much as there was room for
    assert result["memory_growth_mb"] <= 10
    assert result["faults"] == {"full": 1, "full, without a hub": 1, "read-only": 1}
