"""`make run`: the relay with its own next hop, and the lines that it prints to copy."""

import asyncio
import json
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from relay.testing.lab import WITH_API, lab_directory, write_files
from relay.testing.process import free_port

FIRST_WORDS = '{"listening": '


@asynccontextmanager
async def _running(
    folder: Path, settings: Mapping[str, Mapping[str, object]], directory: str | None = None
) -> AsyncIterator[asyncio.subprocess.Process]:
    """The program with --with-sink; afterwards it has ended as after Ctrl-C, with 0."""
    smarthost, listen = f"127.0.0.1:{free_port()}", f"127.0.0.1:{free_port()}"
    config = write_files(folder, directory or lab_directory(), smarthost, listen, settings)
    command = ["-m", "relay", "run", "--with-sink", "--config", str(config)]
    child = await asyncio.create_subprocess_exec(
        sys.executable, *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    try:
        assert child.stdout is not None
        first = (await _line(child)).strip()
        assert first == f'{FIRST_WORDS}"{smarthost}"}}', "the sink is where the route leads"
        yield child
        child.send_signal(signal.SIGINT)
        _, said = await child.communicate()
        assert (child.returncode, b"Traceback" in said) == (0, False), said.decode()
    finally:
        if child.returncode is None:
            child.kill()
            await child.communicate()


async def _line(child: asyncio.subprocess.Process) -> str:
    assert child.stdout is not None
    async with asyncio.timeout(20):
        return (await child.stdout.readline()).decode()


async def _welcome(child: asyncio.subprocess.Process) -> str:
    told: list[str] = []
    while not told or not told[-1].startswith("Ctrl-C"):
        told.append(await _line(child))
    return "".join(told)


async def _seen(child: asyncio.subprocess.Process) -> dict[str, str]:
    """What the sink prints of the next message."""
    while not (line := await _line(child)).startswith("{"):
        pass
    found: dict[str, str] = json.loads(line)
    return found


@pytest.mark.parametrize("workers", [1, 2])
async def test_the_lines_to_copy_send_through_a_pool_to_the_sink(tmp_path: Path, workers: int) -> None:
    async with _running(tmp_path, {"": {"workers": workers}}) as child:
        told = await _welcome(child)
        assert "curl" not in told
        copied = told.partition("python3 - <<'END'\n")[2].partition("END\n")[0]
        program = "\n".join(line.removeprefix("  ") for line in copied.splitlines())
        sender = await asyncio.create_subprocess_exec(sys.executable, "-c", program)
        assert await sender.wait() == 0
        seen = await _seen(child)
        assert seen["source_ip"] in {"127.0.0.11", "127.0.0.12"}
        assert seen["rcpt_to"] == "someone@example.org"


async def test_the_curl_line_to_copy_sends_through_a_pool_to_the_sink(tmp_path: Path) -> None:
    """By a key of the same account that may: the first of the lab is for SMTP alone."""
    async with _running(tmp_path, WITH_API) as child:
        told = await _welcome(child)
        assert "/api/docs" in told
        curl = "curl -sS" + told.partition("\n  curl")[2].partition("\n\nCtrl-C")[0]
        sender = await asyncio.create_subprocess_exec("sh", "-c", curl, stdout=asyncio.subprocess.PIPE)
        answer, _ = await sender.communicate()
        assert json.loads(answer)["results"]["total_accepted_recipients"] == 1
        seen = await _seen(child)
        assert seen["source_ip"] in {"127.0.0.11", "127.0.0.12"}
        assert seen["rcpt_to"] == "someone@example.org"


async def test_the_lines_for_an_sdk_that_speaks_tls_only_send_through_a_pool(tmp_path: Path) -> None:
    settings = {**WITH_API, "http": {"listen_tls": [f"127.0.0.1:{free_port()}"]}}
    async with _running(tmp_path, settings) as child:
        told = await _welcome(child)
        copied = "  export " + told.partition("  export ")[2].partition("\nCtrl-C")[0]
        script = "\n".join(line.removeprefix("  ") for line in copied.splitlines())
        folder = Path(sys.executable).parent
        sender = await asyncio.create_subprocess_exec(
            "sh", "-c", f"PATH={folder}:$PATH\n{script}\n", stdout=asyncio.subprocess.PIPE
        )
        answer, _ = await sender.communicate()
        assert "'total_accepted_recipients': 1" in answer.decode()
        seen = await _seen(child)
        assert seen["source_ip"] in {"127.0.0.11", "127.0.0.12"}
        assert seen["rcpt_to"] == "someone@example.org"


async def test_without_the_smtp_role_there_is_nothing_to_copy(tmp_path: Path) -> None:
    async with _running(tmp_path, {"": {"roles": ["egress"]}}):
        pass
