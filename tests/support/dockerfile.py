"""The Dockerfile: its instructions, and its build as far as that needs no engine."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.support.installed import ROOT, clean_environment

NOBODY = 10001
"""The image's user, who has no name on this machine either."""
_UNUSED = ("test", "site-packages", "__pycache__", "idlelib", "lib2to3", "config-*", "tkinter")


def instructions(text: str) -> list[tuple[str, str]]:
    """Each instruction and what follows it, without comments."""
    lines = [line for line in text.replace("\\\n", " ").splitlines() if line.strip() and line[0] != "#"]
    return [(line.partition(" ")[0], line.partition(" ")[2].strip()) for line in lines]


def stages(text: str) -> list[list[tuple[str, str]]]:
    """The instructions of each stage; FROM begins one."""
    found: list[list[tuple[str, str]]] = []
    for one in instructions(text):
        if one[0] == "FROM":
            found.append([])
        found[-1].append(one)
    return found


class Bench:
    """An empty folder of a user who may do nothing else."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._command = _for_others(folder)

    def build(self, stage: Sequence[tuple[str, str]]) -> None:
        """COPY and RUN of a stage, its working directory being the folder's `app`."""
        for word, rest in stage:
            if word == "COPY":
                *sources, target = rest.split()
                for source in sources:
                    self._copy(ROOT / source, self.folder / "app" / target)
            elif word == "RUN":
                done = self.run(["sh", "-ec", rest])
                assert done.returncode == 0, f"{rest}\n{done.stdout}{done.stderr}"

    def run(self, command: Sequence[str], path: str = "") -> subprocess.CompletedProcess[str]:
        """A command as that user, in `app`; path: folders before those of PATH."""
        return subprocess.run(
            self.prefixed(command), cwd=self.folder / "app", env=self.environment(path),
            capture_output=True, text=True, timeout=300,
        )  # fmt: skip

    def start(self, command: Sequence[str], path: str, log: Path) -> subprocess.Popen[bytes]:
        """The same, which goes on; what it prints is in log."""
        with log.open("wb") as out:
            return subprocess.Popen(
                self.prefixed(command),
                cwd=self.folder / "state",
                env=self.environment(path),
                stdout=out,
                stderr=out,
            )

    def prefixed(self, command: Sequence[str]) -> list[str]:
        if os.getuid() != 0:
            return list(command)
        return ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", *command]

    def environment(self, path: str) -> Mapping[str, str]:
        found = {
            name: value for name, value in clean_environment().items() if name not in {"USER", "LOGNAME"}
        }
        before = f"{path}:" if path else ""
        found["LD_LIBRARY_PATH"] = (
            f"{self.folder}/base/lib"  # of a copied Python that has its library beside it
        )
        found["PIP_NO_COMPILE"] = "1"  # half of the time, and only what is started is needed
        return {**found, "HOME": f"{self.folder}/home", "PATH": f"{before}{self._command}:/usr/bin:/bin"}

    def write(self, path: Path, text: str) -> None:
        """A file that the user owns."""
        path.write_text(text, encoding="utf-8")
        self.own(path)

    def own(self, path: Path) -> None:
        if os.getuid() == 0:
            os.chown(path, NOBODY, NOBODY)

    def _copy(self, source: Path, target: Path) -> None:
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, target)


@contextmanager
def bench() -> Iterator[Bench]:
    """Below the machine's folder for such things, since others may not look into pytest's."""
    folder = Path(tempfile.mkdtemp(prefix="image-"))
    folder.chmod(0o755)
    try:
        made = Bench(folder)
        for name in ("app", "home", "state", "etc"):
            (folder / name).mkdir()
            made.own(folder / name)
        yield made
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _for_others(folder: Path) -> Path:
    """A folder with a command `python` that anybody may run: this one, or a copy where it lies hidden."""
    base, name = Path(sys.base_prefix), f"python{sys.version_info[0]}.{sys.version_info[1]}"
    if not all(parent.stat().st_mode & 0o001 for parent in (base, *base.parents)):
        copy = folder / "base"
        shutil.copytree(base / "lib" / name, copy / "lib" / name, ignore=shutil.ignore_patterns(*_UNUSED))
        for library in (base / "lib").glob("libpython*"):
            shutil.copy(library, copy / "lib")
        (copy / "bin").mkdir()
        shutil.copy(base / "bin" / name, copy / "bin")
        base = copy
    command = folder / "bin"
    command.mkdir()
    (command / "python").write_text(f'#!/bin/sh\nexec {base}/bin/{name} "$@"\n')
    (command / "python").chmod(0o755)
    return command
