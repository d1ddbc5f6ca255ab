"""Labelled datasets on disk: a file or a folder of them, read by `domain.scorecard.readers`."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from domain.errors import BadInputError, NotFoundError
from domain.scorecard.readers import guess_format, read_fleet, read_run, read_windows
from domain.scorecard.runs import Fleet, Format, Run

WINDOW_FILES: Final = ("windows.json", "combined_windows.json")
"""Where NAB keeps its labels: beside the file, or in a folder above it."""

_SUFFIXES: Final = frozenset({".csv", ".tsv", ".txt"})
_HEAD_BYTES: Final = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class Dataset:
    """What was found under a path.

    Attributes:
        kind: The format of all of it.
        runs: Readings with labels.
        fleets: Machines observed until their failure.
        skipped: Names of files that are of no known or of another format.
    """

    kind: Format
    runs: tuple[Run, ...] = ()
    fleets: tuple[Fleet, ...] = ()
    skipped: tuple[str, ...] = ()


def read_dataset(path: Path, kind: Format | None = None) -> Dataset:
    """Read a labelled file, or every one in a folder and below.

    Args:
        path: File or folder.
        kind: Its format; told by each file's first line by default.

    Raises:
        NotFoundError: There is nothing.
        BadInputError: A file is broken, none is of a known format, or several formats are mixed.
    """
    if path.is_file():
        return _dataset([(path.name, path)], kind or guess_format(str(path), _head(path)), ())
    if not path.is_dir():
        raise NotFoundError("file or folder", str(path), "Name a labelled dataset on this machine")
    files = sorted(file for file in path.rglob("*") if file.suffix.lower() in _SUFFIXES)
    named = [(str(file.relative_to(path)), file) for file in files]
    kinds = {name: _guess(name, file) for name, file in named}
    found = sorted({one.value for one in kinds.values() if one is not None})
    if kind is None and len(found) != 1:
        what = f"it holds several datasets ({', '.join(found)})" if found else "no file is labelled"
        raise BadInputError(what, str(path), "Name one of its folders, or give --format")
    kind = kind or Format(found[0])
    chosen = [(name, file) for name, file in named if kinds[name] is kind]
    if not chosen:
        raise BadInputError(f"no file is of the format {kind.value}", str(path))
    return _dataset(chosen, kind, tuple(name for name in kinds if kinds[name] is not kind))


def _dataset(files: Sequence[tuple[str, Path]], kind: Format, skipped: tuple[str, ...]) -> Dataset:
    if kind is Format.CMAPSS:
        whole = [(name, file) for name, file in files if not file.name.startswith("test")]
        if not whole:
            raise BadInputError(
                "its machines do not end with their failure", files[0][0], "Name a train file"
            )
        fleets = tuple(read_fleet(name, _text(file)) for name, file in whole)
        return Dataset(kind=kind, fleets=fleets, skipped=skipped)
    runs = tuple(
        read_run(name, _text(file), kind, _windows(file) if kind is Format.NAB else ())
        for name, file in files
    )
    return Dataset(kind=kind, runs=runs, skipped=skipped)


def _windows(file: Path) -> Sequence[tuple[str, str]]:
    for folder in file.resolve().parents[:3]:
        for name in WINDOW_FILES:
            for place in (folder / name, folder / "labels" / name):
                if not place.is_file():
                    continue
                windows = read_windows(str(place), _text(place))
                for key, found in windows.items():
                    if key.rsplit("/", 1)[-1] == file.name:
                        return found
    raise BadInputError(
        "no windows.json beside it names this file", str(file), "NAB keeps its labels there"
    )


def _guess(name: str, file: Path) -> Format | None:
    try:
        return guess_format(name, _head(file))
    except BadInputError:
        return None


def _head(file: Path) -> str:
    try:
        with file.open("rb") as opened:
            return opened.read(_HEAD_BYTES).decode("utf-8", errors="replace")
    except OSError as error:
        raise BadInputError(f"cannot be read: {error.strerror}", str(file)) from None


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except OSError as error:
        raise BadInputError(f"cannot be read: {error.strerror}", str(file)) from None
    except UnicodeDecodeError as error:
        raise BadInputError(f"is not text: {error.reason}", str(file)) from None
