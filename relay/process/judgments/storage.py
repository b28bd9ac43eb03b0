"""Where the store is to be: a place that is there and can be written."""

import errno
import os
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

from relay.process.judgments.case import Case, Finding, Judgment

_NOT_OURS = {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOENT, errno.ENOTDIR}
"""What will not be better at the start; a disk that is full may be."""


def _place(case: Case) -> Iterator[Finding]:
    path = case.config.store_file
    try:
        trouble = _trouble_at(path)
    except OSError as error:
        trouble = f"{path}: {error.strerror}: expected a file that this user may read and write"
    if trouble:
        yield case.found("store", trouble, refuses=True)


def _trouble_at(path: Path) -> str:
    """Empty: there is none. Raises OSError where nobody may look."""
    if path.is_dir():
        return f"{path} is a folder: expected a file in it, such as relay.db"
    if path.exists() and not os.access(path, os.R_OK | os.W_OK):
        return f"{path}: expected a file that this user may read and write"
    # A link has its log where it leads to, and all else where it stands.
    return _trouble_in(path.parent) or _trouble_in(path.resolve().parent)


def _trouble_in(folder: Path) -> str:
    """Why nothing can be made in the folder, or the folder itself cannot be; empty: it can."""
    there = folder
    while not there.exists() and there != there.parent:
        there = there.parent
    try:
        with tempfile.TemporaryFile(dir=there):
            return ""
    except OSError as error:
        if error.errno not in _NOT_OURS:
            return ""
        told = f"{folder} cannot be made" if there != folder else f"{folder} cannot be written"
        why = "" if there == folder else f" in {there}"
        return f"{told}{why} ({error.strerror}): expected a folder that this user may write"


def _wide_folders(case: Case) -> Iterator[Finding]:
    path = case.config.store_file
    if path.exists() and not path.is_file():
        return
    for folder, mode in case.wide:
        yield case.found("store", told_of_wide(folder, mode))


def told_of_wide(folder: Path, mode: int) -> str:
    """Of a folder that others on this machine can read or change, and its mode."""
    is_the_systems = bool(mode & stat.S_ISVTX) or folder == Path(folder.anchor)
    own = "keep the store in a folder of its own, with mode 0700"
    remedy = own if is_the_systems else f"chmod 700 {folder}"
    return f"others on this machine can look into {folder} (mode {mode:04o}): {remedy}"


STORAGE: tuple[Judgment, ...] = (_place, _wide_folders)
