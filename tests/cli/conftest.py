"""The command line in this process: what a command prints, and how it ends."""

import asyncio
import json
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

import pytest

from relay.process.main import main
from relay.store import Store, open_store
from relay.testing.lab import lab_directory, write_files
from relay.testing.process import Printed

Result = TypeVar("Result")


class Cli:
    """`relay` with a configuration of its own in folder; the store does not exist yet."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder = folder
        self.config = write_files(folder, lab_directory(), "127.0.0.1:2526", "127.0.0.1:0", {})
        self.directory = folder / "directory.toml"
        self._capsys = capsys

    def __call__(self, *arguments: str) -> Printed:
        """What `relay ARGUMENTS --config …` prints."""
        return self.bare(*arguments, "--config", str(self.config))

    def bare(self, *arguments: str) -> Printed:
        """Without a configuration named."""
        self._capsys.readouterr()
        status = main(arguments)
        out, err = self._capsys.readouterr()
        return Printed(status, out, err)

    def ok(self, *arguments: str) -> str:
        """What a command that succeeds prints to standard output."""
        printed = self(*arguments)
        assert printed.status == 0, printed
        return printed.out

    def json(self, *arguments: str) -> Any:
        return json.loads(self.ok(*arguments, "--json"))

    def refused(self, *arguments: str) -> str:
        """What a command that is refused says: one line, and nothing else."""
        printed = self(*arguments)
        assert printed.status == 1, printed
        assert printed.err.count("\n") == 1, printed
        return printed.err

    def in_store(self, work: Callable[[Store], Awaitable[Result]]) -> Result:
        """What work returns, with the store open: as another process would see it."""

        async def run() -> Result:
            async with await open_store(f"sqlite:///{(self.folder / 'relay.db').absolute()}") as store:
                return await work(store)

        return asyncio.run(run())


@pytest.fixture
def cli(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Cli:
    """No store yet, the lab's directory file, and an environment without settings of ours."""
    for name in os.environ:
        if name.startswith("RELAY_"):
            monkeypatch.delenv(name)
    return Cli(tmp_path, capsys)


@pytest.fixture
def lab(cli: Cli) -> Cli:
    """The lab's directory is applied."""
    cli.ok("directory", "apply", str(cli.directory))
    return cli
