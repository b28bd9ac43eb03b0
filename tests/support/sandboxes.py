"""Processes of sandboxes that a test of this process started."""

from pathlib import Path

from relay.testing.waiting import eventually


def children() -> set[int]:
    """Of this process, living."""
    found = set[str]()
    for task in Path("/proc/self/task").iterdir():
        found |= set(_read(task / "children").split())
    return {
        int(pid) for pid in found if "relay.process.children.child" in _read(Path(f"/proc/{pid}/cmdline"))
    }


async def are_gone() -> None:
    """Those of tests that ran before end in their own time."""

    async def look() -> bool:
        return not children()

    await eventually(look)


def _read(path: Path) -> str:
    """Nothing of what ended meanwhile."""
    try:
        return path.read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ""
