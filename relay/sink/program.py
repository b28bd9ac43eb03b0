"""The fake next hop as a program, `relay sink`: it takes mail, forgets it, and prints a line about each."""

import asyncio
import json
import re
import signal
import sys
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path

from relay.config.problems import ConfigError, line
from relay.net.listening import cannot_listen
from relay.sink.fake_mta import FakeMta
from relay.sink.orders import Attempt
from relay.sink.script import SCRIPT_HELP, load_script

SINK_HELP = f"""Take mail like a next hop would, and print one JSON line for each recipient of each attempt.

Without a script everything is accepted. Nothing is stored or sent on.

{SCRIPT_HELP}"""

_MAX_SIZE_BYTES = 50 * 1024 * 1024
_MAX_CONNECTIONS = 1000
_MAX_RECIPIENTS = 1000
_LONGEST_HEADER = 64 * 1024
_SUBJECT = re.compile(rb"(?im)^subject:[ \t]*([^\r\n]*(?:\r\n[ \t][^\r\n]*)*)")


async def run_sink(
    listen: str,
    script: Path | None,
    stopping: asyncio.Event,
    write: Callable[[str], None],
    elsewhere: str = "name another with --listen",
) -> None:
    """Serve on HOST:PORT until stopping is set; write gets each line, without its end.

    The first line tells the address, for a port of 0. elsewhere: how another address is chosen.
    Raises ConfigError, and CannotListen.
    """
    host, port = _host_and_port(listen)
    decide = None if script is None else load_script(script, asyncio.get_running_loop().time).decide
    mta = FakeMta(
        host,
        port,
        hostname="sink.relay.test",
        decide=decide,
        on_attempt=lambda attempt: write(as_line(attempt)),
        remembers=False,
    )
    mta.restrict(connections=_MAX_CONNECTIONS, recipients=_MAX_RECIPIENTS, size_bytes=_MAX_SIZE_BYTES)
    async with AsyncExitStack() as stack:
        try:
            await stack.enter_async_context(mta)
        except OSError as error:
            raise cannot_listen(listen, error, elsewhere) from error
        write(json.dumps({"listening": mta.address}))
        await stopping.wait()


def as_line(attempt: Attempt) -> str:
    """The attempt as one line of JSON."""
    told: dict[str, object] = {
        "source_ip": attempt.peer_ip,
        "ehlo": attempt.ehlo,
        "tls": attempt.tls,
        "mail_from": attempt.mail_from,
        "rcpt_to": attempt.recipient,
        "reply": attempt.reply,
        "size": len(attempt.content),
    }
    if attempt.content:
        header = attempt.content[:_LONGEST_HEADER].partition(b"\r\n\r\n")[0]
        if subject := _SUBJECT.search(header):
            told["subject"] = subject[1].replace(b"\r\n", b"").decode("utf-8", "replace")
    return json.dumps(told)


def run_program(listen: str, script: Path | None) -> int:
    """Run in the foreground until SIGINT or SIGTERM.

    Returns the exit code: 1 when it cannot listen, 2 for a mistake in what was given.
    """
    try:
        asyncio.run(_run(listen, script))
    except ConfigError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    except OSError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


async def _run(listen: str, script: Path | None) -> None:
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopping.set)

    def write(text: str) -> None:
        try:
            sys.stdout.write(f"{text}\n")
            sys.stdout.flush()
        except BrokenPipeError:
            stopping.set()

    await run_sink(listen, script, stopping, write)


def _host_and_port(listen: str) -> tuple[str, int]:
    """Raises ConfigError."""
    host, _, port = listen.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not host or not port.isdecimal() or int(port) > 65535:
        raise ConfigError((line("--listen", "", json.dumps(listen), "HOST:PORT"),))
    return host, int(port)
