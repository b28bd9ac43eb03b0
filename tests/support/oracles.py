"""What a relay spends while something is done to it: CPU, memory, turns of its event loop."""

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from relay.testing.process import RelayProcess

_TICK = os.sysconf("SC_CLK_TCK")


class WatchedProcess(RelayProcess):
    """The real program, whose event loop is watched (`tests.support.watched`)."""

    module = "tests.support.watched"

    async def start(self, timeout_s: float = 20) -> None:
        os.environ["LOOP_WATCH"] = str(self._watch)
        try:
            await super().start(timeout_s)
        finally:
            del os.environ["LOOP_WATCH"]

    @property
    def _watch(self) -> Path:
        return self.config.with_name("loop.jsonl")

    def mark(self) -> int:
        """Where `long_turns` is to begin."""
        return self._watch.stat().st_size if self._watch.exists() else 0

    def long_turns(self, since: int = 0) -> list[tuple[float, str]]:
        """CPU milliseconds of single callbacks since that mark, the longest first, and what they were."""
        if not self._watch.exists():
            return []
        with self._watch.open("rb") as file:
            file.seek(since)
            lines = [json.loads(line) for line in file]
        return sorted(((one["cpu_ms"], one["what"]) for one in lines), reverse=True)


@dataclass(frozen=True, slots=True)
class Spent:
    """By a process and all that descend from it."""

    cpu_s: float
    """Children that ended and were waited for included."""
    memory_bytes: int
    """Proportional: pages that several share count once."""


def spent_by(pid: int) -> Spent:
    """Of the tree as it is now. Raises ProcessLookupError when the process is gone."""
    parents = _parents()
    if pid not in parents:
        raise ProcessLookupError(pid)
    tree = [one for one in parents if _descends(one, pid, parents)]
    return Spent(sum(map(_cpu_s, tree)), sum(map(_memory_bytes, tree)))


def _parents() -> Mapping[int, int]:
    return dict(_all_parents())


def _all_parents() -> Iterator[tuple[int, int]]:
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                text = (folder / "stat").read_text()
            except OSError:
                continue
            yield int(folder.name), int(text[text.rindex(")") + 2 :].split()[1])


def _descends(pid: int, root: int, parents: Mapping[int, int]) -> bool:
    while pid in parents and pid != root:
        pid = parents[pid]
    return pid == root


def _cpu_s(pid: int) -> float:
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return 0.0
    fields = text[text.rindex(")") + 2 :].split()
    return sum(int(field) for field in fields[11:15]) / _TICK


def _memory_bytes(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))
