"""Folders of the store: for their owner alone."""

import stat
from collections.abc import Iterable, Iterator
from pathlib import Path

PRIVATE = 0o700


def make_private(folder: Path) -> None:
    """Make it, and what leads to it, with mode 0700; what is there stays as it is. Raises OSError."""
    try:
        folder.mkdir(PRIVATE, exist_ok=True)
    except FileNotFoundError:
        if folder.parent == folder:
            raise
        make_private(folder.parent)
        folder.mkdir(PRIVATE, exist_ok=True)


def open_to_others(folders: Iterable[Path]) -> Iterator[tuple[Path, int]]:
    """Those that are there with a mode wider than 0700, and that mode."""
    for folder in dict.fromkeys(folders):
        try:
            mode = stat.S_IMODE(folder.stat().st_mode)
        except OSError:  # it is made, or whoever opens the store says what is wrong
            continue
        if mode & ~PRIVATE & 0o777:
            yield folder, mode
