"""C-MAPSS on disk: test files are judged by what their train files teach."""

from pathlib import Path

import pytest

from domain.errors import BadInputError
from ray_app.datasets import read_dataset


def _write(folder: Path, name: str, *cycles: int) -> None:
    rows = (
        " ".join([str(unit), str(cycle), *["0.5"] * 24])
        for unit, count in enumerate(cycles, start=1)
        for cycle in range(1, count + 1)
    )
    (folder / name).write_text("\n".join(rows) + "\n")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two train files, of which one has tests with their remaining lives, and a lonely test."""
    _write(tmp_path, "train_FD001.txt", 4, 5)
    _write(tmp_path, "test_FD001.txt", 3, 2)
    (tmp_path / "RUL_FD001.txt").write_text("1\n6\n")
    _write(tmp_path, "train_FD002.txt", 6)
    _write(tmp_path, "test_FD003.txt", 2)
    return tmp_path


def test_a_folder_is_scored_by_its_own_split(folder: Path) -> None:
    """Train files with a test only teach; what cannot be scored is named."""
    found = read_dataset(folder)

    split, alone = found.fleets
    assert (split.name, alone.name) == ("test_FD001.txt", "train_FD002.txt")
    assert [len(life.values) for life in split.lives] == [4, 5]
    assert [life.left.tolist() for life in split.tests] == [[3, 2, 1], [7, 6]]
    assert (len(alone.lives), alone.tests) == (1, ())
    (left_out,) = found.skipped
    assert left_out.startswith("test_FD003.txt (no RUL_")


def test_a_test_file_finds_what_belongs_to_it(folder: Path) -> None:
    """Named alone it brings its train file; without one its machines judge each other."""
    assert len(read_dataset(folder / "test_FD001.txt").fleets[0].tests) == 2
    (folder / "train_FD001.txt").unlink()

    (alone,) = read_dataset(folder / "test_FD001.txt").fleets

    assert alone.tests == ()
    assert [life.unseen for life in alone.lives] == [1, 6]


def test_a_test_file_without_its_remaining_lives_is_refused(folder: Path) -> None:
    """The error says what to put beside it."""
    with pytest.raises(BadInputError, match="RUL_"):
        read_dataset(folder / "test_FD003.txt")
