"""The real program as a child process: for kill -9, for real clients, for the command line."""

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from relay.domain.ids import TransmissionId
from relay.testing.injection import compose_mail, inject_by_smtp
from relay.testing.lab import lab_directory, lab_key_of, write_files
from relay.testing.waiting import eventually


class RelayProcess:
    """`python -m relay run` on its own store, with mail for everywhere going to the smarthost.

    It listens on one port of 127.0.0.1 for all its lives. What it prints goes to `log`.
    """

    module = "relay"
    """What `python -m` runs."""

    def __init__(
        self,
        folder: Path,
        smarthost: str,
        *,
        directory: str | None = None,
        settings: Mapping[str, Mapping[str, object]] | None = None,
        environment: Mapping[str, str] | None = None,
        arguments: Sequence[str] = (),
    ) -> None:
        """smarthost: HOST:PORT. directory: text of a directory.toml, the lab's when None.

        environment, arguments: of `relay run`, beside ours.
        """
        self.directory = lab_directory() if directory is None else directory
        self.host, self.port, self.http_port = "127.0.0.1", free_port(), free_port()
        listen = f"{self.host}:{self.port}"
        http = f"{self.host}:{self.http_port}"
        self.config = write_files(folder, self.directory, smarthost, listen, settings or {}, http)
        self.log = folder / "relay.log"
        self._environment, self._arguments = environment or {}, arguments
        self._child: subprocess.Popen[bytes] | None = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._child is not None:
            await self.stop() if error is None else self.kill()

    @property
    def pid(self) -> int:
        """Raises RuntimeError when it does not run."""
        if self._child is None:
            raise RuntimeError("the relay is not running")
        return self._child.pid

    @property
    def address(self) -> str:
        """HOST:PORT of its SMTP listener."""
        return f"{self.host}:{self.port}"

    @property
    def http_address(self) -> tuple[str, int]:
        """Host and port of its API, for settings with the role (`relay.testing.lab.WITH_API`)."""
        return self.host, self.http_port

    def login(self, account: int = 1) -> tuple[str, str]:
        """User name and password for SMTP AUTH as that account."""
        return "SMTP_Injection", lab_key_of(self.directory, account)

    async def inject(
        self,
        to: str,
        *,
        ip_pool: str | None = None,
        account: int = 1,
        mail_from: str = "sender@acme.test",
        text: str = "Hello.\r\n",
    ) -> TransmissionId:
        """Hand in one message by SMTP. Raises InjectionRefusedError; OSError or aiosmtplib's when it dies."""
        content = compose_mail(to, mail_from, ip_pool=ip_pool, text=text)
        reply = await inject_by_smtp((self.host, self.port), self.login(account), mail_from, [to], content)
        return TransmissionId(reply.split()[-1])

    async def start(self, timeout_s: float = 20) -> None:
        """Start it and wait for its greeting. Raises TimeoutError, ChildProcessError with the log's end."""
        with self.log.open("ab") as log:
            self._child = subprocess.Popen(  # noqa: ASYNC220 - returns at once, and kill() is synchronous
                [sys.executable, "-m", self.module, "run", *self._arguments, "--config", str(self.config)],
                stdout=log,
                stderr=log,
                env={**_environment(), **self._environment},
            )
        await eventually(self._greets, timeout_s)

    async def stop(self, timeout_s: float = 20) -> int:
        """Ask it to stop, as Ctrl-C would; returns its exit status. Raises TimeoutError."""
        child, self._child = self._child, None
        if child is None:
            raise RuntimeError("the relay is not running")
        child.send_signal(signal.SIGTERM)
        try:
            return await asyncio.to_thread(child.wait, timeout_s)
        except subprocess.TimeoutExpired as error:
            child.kill()
            child.wait()
            raise TimeoutError(self.log_tail()) from error

    def kill(self) -> None:
        """kill -9: it gets no chance to finish anything."""
        child, self._child = self._child, None
        if child is None:
            raise RuntimeError("the relay is not running")
        child.kill()
        child.wait()

    async def restart(self) -> None:
        """Stop in good order and start again."""
        await self.stop()
        await self.start()

    async def run_cli(self, *arguments: str, timeout_s: float = 30) -> "Printed":
        """`relay ARGUMENTS --config …` as an operator would type it beside the running relay."""
        child = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "relay",
            *arguments,
            "--config",
            str(self.config),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=_environment(),
        )
        try:
            async with asyncio.timeout(timeout_s):
                out, err = await child.communicate()
        except TimeoutError:
            child.kill()
            await child.wait()
            raise
        return Printed(child.returncode or 0, out.decode(), err.decode())

    def log_tail(self, lines: int = 30) -> str:
        """The end of what it printed, for a failing test."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])

    async def _greets(self) -> bool:
        if self._child is None or self._child.poll() is not None:
            raise ChildProcessError(f"the relay did not start:\n{self.log_tail()}")
        try:
            reader, writer = await asyncio.open_connection(self.host, self.port)
        except OSError:
            return False
        try:
            return (await reader.readline()).startswith(b"220")
        except OSError:
            return False
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()


class Printed:
    """What a command printed, and how it ended: 0 ok, 1 refused or failed, 2 wrong usage."""

    def __init__(self, status: int, out: str, err: str) -> None:
        self.status, self.out, self.err = status, out, err

    def __repr__(self) -> str:
        return f"Printed(status={self.status}, out={self.out!r}, err={self.err!r})"


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listened on a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _environment() -> dict[str, str]:
    """Ours, without settings of the machine that would override those of the test."""
    return {name: value for name, value in os.environ.items() if not name.startswith("RELAY_")}
