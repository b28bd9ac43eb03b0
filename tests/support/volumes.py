"""Disks of a test's own, and what clients of a relay whose store is in trouble see of it."""

import os
import shutil
import subprocess
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from relay.sink.fake_mta import FakeMta
from relay.testing.injection import InjectionRefusedError
from relay.testing.process import RelayProcess
from relay.testing.waiting import eventually


def _may_mount() -> bool:
    """Whether this user may have a file system of his own for a test."""
    if os.geteuid() != 0 or shutil.which("unshare") is None:
        return False
    probe = ["unshare", "-m", "mount", "-t", "tmpfs", "tmpfs", "/mnt"]
    return subprocess.run(probe, capture_output=True, check=False).returncode == 0


MAY_MOUNT = _may_mount()


@contextmanager
def mounted(folder: Path, size_bytes: int) -> Iterator[Path]:
    """A new folder, with so many bytes of its own."""
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size_bytes}", "tmpfs", folder], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


def fill(volume: Path) -> None:
    """Another program takes all that is free there, into the file `filler`."""
    with (volume / "filler").open("ab", buffering=0) as file:
        for size in (1 << 20, 1 << 12):
            try:
                while True:
                    file.write(bytes(size))
            except OSError:
                continue


async def answer(relay: RelayProcess, to: str, text: str = "Hello.\r\n") -> int:
    """The code that a client hears at the end."""
    try:
        await relay.inject(to, ip_pool="marketing", text=text)
    except InjectionRefusedError as refusal:
        return refusal.code
    return 250


async def all_arrive(mta: FakeMta, recipients: set[str], timeout_s: float = 20) -> Counter[str]:
    """How often each did. Raises TimeoutError."""

    async def arrived() -> bool:
        return {attempt.recipient for attempt in mta.accepted} >= recipients

    await eventually(arrived, timeout_s)
    return Counter(attempt.recipient for attempt in mta.accepted)
