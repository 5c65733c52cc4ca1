"""A file is written whole or not at all."""

from __future__ import annotations

import pytest

from bayestrans.files import whole, write_text


def write_half(path, interruption):
    with whole(path) as partial:
        partial.write_text("half")
        raise interruption


def test_a_finished_block_replaces_the_file_and_leaves_nothing_beside_it(tmp_path):
    write_text(tmp_path / "a.txt", "old")
    write_text(tmp_path / "a.txt", "new")
    assert [(p.name, p.read_text()) for p in tmp_path.iterdir()] == [("a.txt", "new")]


@pytest.mark.parametrize("interruption", [KeyboardInterrupt, OSError])
def test_an_interrupted_block_leaves_the_old_file(tmp_path, interruption):
    write_text(tmp_path / "a.txt", "old")
    with pytest.raises(interruption):
        write_half(tmp_path / "a.txt", interruption)
    assert [(p.name, p.read_text()) for p in tmp_path.iterdir()] == [("a.txt", "old")]


def test_a_block_that_wrote_nothing_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError), whole(tmp_path / "a.txt"):
        pass
    assert list(tmp_path.iterdir()) == []
