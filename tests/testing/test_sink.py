"""The fake next hop as a program, and its script."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiosmtplib
import pytest

from relay.config.problems import ConfigError
from relay.sink.program import run_program, run_sink
from relay.sink.script import SCRIPT_HELP, load_script
from relay.testing.wire import connect_wire

Lines = list[dict[str, Any]]


class Seconds:
    """Moved by hand."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def write_script(tmp_path: Path) -> Callable[[str], Path]:
    def write(text: str) -> Path:
        path = tmp_path / "script.toml"
        path.write_text(text, encoding="utf-8")
        return path

    return write


@asynccontextmanager
async def sink(script: Path | None = None) -> AsyncIterator[tuple[int, Lines]]:
    """Its port, and the lines that it wrote after the first."""
    stopping, started = asyncio.Event(), asyncio.Event()
    lines: Lines = []

    def write(text: str) -> None:
        assert "\n" not in text
        lines.append(json.loads(text))
        started.set()

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(run_sink("127.0.0.1:0", script, stopping, write))
        await started.wait()
        port = int(lines.pop()["listening"].rpartition(":")[2])
        yield port, lines
        stopping.set()


async def send(port: int, recipient: str, message: bytes, source: str = "127.0.0.5") -> int:
    """The code of the reply that decided."""
    client = aiosmtplib.SMTP(
        hostname="127.0.0.1",
        port=port,
        source_address=(source, 0),
        local_hostname="me.test",
        start_tls=False,
    )
    async with client:
        try:
            await client.sendmail("a@x.test", [recipient], message)
        except aiosmtplib.SMTPRecipientsRefused as refused:
            return refused.recipients[0].code
        return 250


async def test_each_message_is_one_line() -> None:
    async with sink() as (port, lines):
        assert (
            await send(port, "b@x.test", b"Subject: Gr\xc3\xbc\xc3\x9fe\r\n an alle\r\n\r\nHello.\r\n") == 250
        )
        assert await send(port, "c@x.test", b"X: y\r\n\r\nsubject: not this\r\n") == 250
    told = {"source_ip": "127.0.0.5", "ehlo": "me.test", "tls": False, "mail_from": "a@x.test"}
    assert lines == [
        {**told, "rcpt_to": "b@x.test", "reply": "250 2.0.0 Ok", "size": 38, "subject": "Grüße an alle"},
        {**told, "rcpt_to": "c@x.test", "reply": "250 2.0.0 Ok", "size": 27},
    ]


async def test_octets_of_any_kind_make_a_line_of_ascii() -> None:
    async with sink() as (port, lines), connect_wire(("127.0.0.1", port)) as wire:
        await wire.send(b"EHLO \xff\x1b", b"MAIL FROM:<\xfe@x>", b"RCPT TO:<\xfd@x>", b"DATA")
        await wire.send(b"Subject: \xfc\x1b", b".", b"QUIT")
        while await wire.reply():
            pass
        (line,) = lines
        assert json.dumps(line).isascii()
        assert line["subject"] == "�\x1b"


async def test_a_script_decides(write_script: Callable[[str], Path]) -> None:
    script = write_script("""
        [[rule]]
        recipient = "*@slow.example"
        reply = "451 4.7.1 later"
        then = "250 2.0.0 Ok"
        [[rule]]
        source_ip = "127.0.0.11"
        reply = "554 5.7.1 not from there"
    """)
    async with sink(script) as (port, lines):
        message = b"A: b\r\n\r\n"
        assert [await send(port, "b@Slow.example", message) for _ in range(2)] == [451, 250]
        assert await send(port, "b@x.test", message) == 250
        assert await send(port, "b@x.test", message, source="127.0.0.11") == 554
    assert [line["reply"] for line in lines] == [
        "451 4.7.1 later",
        "250 2.0.0 Ok",
        "250 2.0.0 Ok",
        "554 5.7.1 not from there",
    ]


@pytest.mark.parametrize(
    ("rule", "asked", "replies"),
    [
        pytest.param('reply = "550 no"', ["a@x", "a@x"], ["550 no", "550 no"], id="always"),
        pytest.param('reply = "550 no"\nrecipient = "A?@X"', ["a@x", "ab@x"], [None, "550 no"], id="pattern"),
        pytest.param(
            'reply = "450 no"\nthen = "250 ok"',
            ["a@x", "b@x", "A@x", "b@x", "a@x"],
            ["450 no", "450 no", "250 ok", "250 ok", "250 ok"],
            id="then, for each recipient",
        ),
        pytest.param(
            'reply = "250 ok"\nthen = "450 no"\nafter = 2',
            ["a@x", "b@x", "c@x", "a@x"],
            ["250 ok", "250 ok", "450 no", "450 no"],
            id="after so many",
        ),
        pytest.param(
            'reply = "450 no"\nafter = 2',
            ["a@x", "a@x", "a@x"],
            ["450 no", "450 no", None],
            id="after, no then",
        ),
        pytest.param('reply = "450 no"\nsource_ip = "127.0.0.8/29"', ["a@x"], ["450 no"], id="of a network"),
        pytest.param('reply = "450 no"\nsource_ip = "127.0.0.8"', ["a@x"], [None], id="of another address"),
        pytest.param('reply = "450 no"\nsource_ip = "::1"', ["a@x"], [None], id="of another family"),
    ],
)
def test_rules(
    write_script: Callable[[str], Path], rule: str, asked: list[str], replies: list[str | None]
) -> None:
    script = load_script(write_script(f"[[rule]]\n{rule}\n"), Seconds())
    assert [script.decide("127.0.0.9", recipient) for recipient in asked] == replies


def test_a_rate_lets_through_what_comes_slowly(write_script: Callable[[str], Path]) -> None:
    now = Seconds()
    script = load_script(write_script('[[rule]]\nreply = "450 fast"\nper_second = 2\n'), now)
    assert [script.decide("127.0.0.9", "a@x") for _ in range(4)] == [None, None, "450 fast", "450 fast"]
    now.now += 0.5
    assert [script.decide("127.0.0.9", "a@x") for _ in range(2)] == [None, "450 fast"]
    now.now += 60
    assert [script.decide("127.0.0.9", "a@x") for _ in range(3)] == [None, None, "450 fast"]


def test_the_first_rule_with_something_to_say_decides(write_script: Callable[[str], Path]) -> None:
    text = '[[rule]]\nreply = "450 one"\nafter = 1\n[[rule]]\nrecipient = "a*"\nreply = "550 two"\n'
    script = load_script(write_script(text), Seconds())
    asked = ["b@x", "a@x", "b@x"]
    assert [script.decide("127.0.0.9", recipient) for recipient in asked] == ["450 one", "550 two", None]


def test_the_script_in_the_help_is_one(write_script: Callable[[str], Path]) -> None:
    example = SCRIPT_HELP[SCRIPT_HELP.index("[[rule]]") :]
    script = load_script(write_script(example), Seconds())
    assert [script.decide("127.0.0.11", "a@slow.example") for _ in range(6)] == [
        *[None] * 5,
        "451 4.7.1 later",
    ]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        pytest.param("[[rule", "a table without its end: expected [NAME]", id="no TOML"),
        pytest.param("[[rule]]\n", "rule[#1].reply: missing: expected a value", id="no reply"),
        pytest.param(
            '[[rule]]\nreply = "451 x"\nrecipent = "*"\n',
            'rule[#1].recipent: "*": expected a known key; did you mean recipient?',
            id="unknown key",
        ),
        pytest.param(
            '[[rule]]\nreply = "later"\n', 'rule[#1].reply: "later": expected a reply', id="no code"
        ),
        pytest.param('[[rule]]\nreply = "354 go"\n', "expected a reply", id="354"),
        pytest.param(
            '[[rule]]\nreply = "451 a\\r\\n250 b"\n', "expected a reply on one line", id="two lines"
        ),
        pytest.param(
            '[[rule]]\nreply = "451 x"\nsource_ip = "here"\n', "expected an IP address", id="no address"
        ),
        pytest.param(
            '[[rule]]\nreply = "451 x"\nafter = 0\n', "rule[#1].after: 0: expected at least 1", id="zero"
        ),
        pytest.param('[[rule]]\nreply = "451 x"\nper_second = "5"\n', "expected a number", id="text"),
    ],
)
def test_a_mistake_is_told_with_file_key_value_and_what_was_expected(
    write_script: Callable[[str], Path], text: str, problem: str
) -> None:
    path = write_script(text)
    with pytest.raises(ConfigError) as caught:
        load_script(path, Seconds())
    assert str(caught.value).startswith(str(path))
    assert problem in str(caught.value)


@pytest.mark.parametrize("listen", ["", "2526", "localhost:", ":2526", "localhost:smtp", "127.0.0.1:70000"])
def test_a_bad_address_is_wrong_usage(listen: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_program(listen, None) == 2
    assert "expected HOST:PORT" in capsys.readouterr().err


def test_a_missing_script_is_wrong_usage(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_program("127.0.0.1:0", tmp_path / "none.toml") == 2
    assert "none.toml" in capsys.readouterr().err


def test_an_address_in_use_is_a_failure(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_program("192.0.2.1:2526", None) == 1
    assert capsys.readouterr().err.startswith(
        "cannot listen on 192.0.2.1:2526: the address is not on this machine"
    )


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_in_good_order(number: signal.Signals) -> None:
    code = "from relay.sink.program import run_program as run; raise SystemExit(run('127.0.0.1:0', None))"
    child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert child.stdout is not None
    assert json.loads(child.stdout.readline())["listening"].startswith("127.0.0.1:")
    os.kill(child.pid, number)
    _, errors = child.communicate(timeout=10)
    assert (child.returncode, errors) == (0, b"")
