"""Files that are there whole or not at all, and for whom they are meant."""

import stat

import pytest

from runtime.files import write_whole


def test_a_file_is_replaced_with_its_mode_and_nothing_else_stays(tmp_path):
    path = tmp_path / "a.key"
    write_whole(path, b"one")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    write_whole(path, b"two", mode=0o644)
    assert path.read_bytes() == b"two"
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    assert list(tmp_path.iterdir()) == [path]


def test_what_cannot_be_put_there_leaves_no_draft(tmp_path):
    (tmp_path / "folder").mkdir()
    with pytest.raises(IsADirectoryError):
        write_whole(tmp_path / "folder", b"one")
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]
