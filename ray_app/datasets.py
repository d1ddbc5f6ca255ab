"""Labelled datasets on disk: a file or a folder of them, read by `domain.scorecard.readers`."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from domain.errors import BadInputError, NotFoundError
from domain.scorecard.readers import (
    guess_format,
    read_fleet,
    read_run,
    read_unseen,
    read_windows,
)
from domain.scorecard.runs import Fleet, Format, Run

WINDOW_FILES: Final = ("windows.json", "combined_windows.json")
"""Where NAB keeps its labels: beside the file, or in a folder above it."""

_PART: Final = re.compile(r"(?:train|test|rul)(_.*)", re.IGNORECASE)
_SUFFIXES: Final = frozenset({".csv", ".tsv", ".txt"})
_HEAD_BYTES: Final = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class Dataset:
    """What was found under a path.

    Attributes:
        kind: The format of all of it.
        runs: Readings with labels.
        fleets: Machines observed until their failure.
        skipped: Names of files that are left out, with the reason.
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
    why = f"not of the format {kind.value}"
    others = (name for name, file in named if kinds[name] is not kind and not _is_truth(file))
    return _dataset(chosen, kind, tuple(f"{name} ({why})" for name in others))


def _dataset(files: Sequence[tuple[str, Path]], kind: Format, skipped: tuple[str, ...]) -> Dataset:
    if kind is Format.CMAPSS:
        return _fleets(files, skipped)
    runs = tuple(
        read_run(name, _text(file), kind, _windows(file) if kind is Format.NAB else ())
        for name, file in files
    )
    return Dataset(kind=kind, runs=runs, skipped=skipped)


def _fleets(files: Sequence[tuple[str, Path]], skipped: tuple[str, ...]) -> Dataset:
    """Read C-MAPSS: where test files and their remaining lives are there, by its own split.

    What a train file teaches, its test file is judged by; a test file alone is judged as a train
    file is, by cross-validation.
    """
    fleets, left_out, present = [], [], {file for _, file in files}
    for name, file in files:
        truth = _sibling(file, "RUL")
        if not file.name.lower().startswith("test_"):
            if truth is None or _sibling(file, "test") not in present:
                fleets.append(read_fleet(name, _text(file)))
        elif truth is None:
            left_out.append(name)
        else:
            fleets.append(_split(name, file, truth))
    if not fleets:
        what = "its machines do not end with their failure"
        raise BadInputError(what, left_out[0], "Put its RUL_… beside it, or name a train file")
    why = "no RUL_… beside it tells when its machines failed"
    told = (*skipped, *(f"{name} ({why})" for name in left_out))
    return Dataset(kind=Format.CMAPSS, fleets=tuple(fleets), skipped=told)


def _split(name: str, file: Path, truth: Path) -> Fleet:
    """Read a test file, and what its train file teaches where there is one."""
    fleet = read_fleet(name, _text(file), read_unseen(str(truth), _text(truth)))
    train = _sibling(file, "train")
    if train is None:
        return fleet
    return replace(fleet, lives=read_fleet(str(train), _text(train)).lives, tests=fleet.lives)


def _is_truth(file: Path) -> bool:
    return file.name.lower().startswith("rul_") and _sibling(file, "test") is not None


def _sibling(file: Path, kind: str) -> Path | None:
    """Return the file of the same part of C-MAPSS and of another kind: train, test or RUL."""
    found = _PART.fullmatch(file.name)
    other = file.with_name(f"{kind}{found[1]}") if found else file
    return other if other != file and other.is_file() else None


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
