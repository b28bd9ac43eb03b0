"""Mail that is hard to convert for hosts that take 7 bits: what others notice meanwhile, and what leaves."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from relay.sink.fake_mta import FakeMta
from relay.testing.lab import WITH_API
from tests.alone.doors import (
    DIRECTORY,
    LONGEST_TURN_MS,
    MEMORY_BYTES,
    TURN_MS,
    TooLongError,
    hand_in,
    judge_times,
    others_served,
    settled,
)
from tests.support.growth import PAUSE_S, TRIES
from tests.support.oracles import WatchedProcess

FROM = b"From: a@acme.test\r\nMIME-Version: 1.0\r\n"
TEXT = b"Content-Type: text/plain; charset=utf-8\r\n\r\n"
MIXED = b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n" + TEXT + "é\r\n".encode()
CAFE = "café au lait\r\n".encode()
CODED = b"Content-Transfer-Encoding: %b\r\n\r\n"


def _nested(levels: int, text: bytes) -> bytes:
    opened = (b"Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n" % (n, n) for n in range(levels))
    return b"".join(opened) + TEXT + text


pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def mta() -> AsyncIterator[FakeMta]:
    async with FakeMta(extensions=("PIPELINING", "SIZE 100000000")) as mta:
        yield mta


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def relay(tmp_path_factory: pytest.TempPathFactory, mta: FakeMta) -> AsyncIterator[WatchedProcess]:
    folder: Path = tmp_path_factory.mktemp("bits")
    async with WatchedProcess(folder, mta.address, directory=DIRECTORY, settings=WITH_API) as relay:
        assert await hand_in(relay, FROM + TEXT + CAFE * 1000) == 250
        await settled(relay)
        yield relay


@pytest.mark.parametrize(
    ("content", "leaves"),
    [
        pytest.param("To: é@a".encode() + b",a@b" * 4000 + b"\r\n\r\nx", False, id="mailboxes"),
        pytest.param("To: é <é@a.test>".encode() + b",a@b" * 450 + b"\r\n\r\nx", False, id="fewer mailboxes"),
        pytest.param("Cc: a@b.é".encode() + b",a@b" * 4000 + b"\r\n\r\nx", True, id="mailboxes with names"),
        pytest.param(_nested(7, CAFE * 900_000), True, id="nested parts"),
        pytest.param(_nested(19, CAFE * 900_000), False, id="parts nested too often"),
        pytest.param(MIXED + b"\r\n-" * 4_500_000, True, id="half boundaries"),
        pytest.param(MIXED + b"\r\n--bx" * 2_000_000, False, id="false boundaries"),
        pytest.param(MIXED + b"--b\r\n\r\n" * 1_000_000, False, id="parts"),
        pytest.param(TEXT + CAFE * 900_000, True, id="text"),
        pytest.param(TEXT + ("é" * 500 + "\r\n").encode() * 6_000, True, id="letters outside ASCII"),
        pytest.param(CODED % b"base64" + "w6k=é\r\n".encode() * 2_000_000, True, id="base64"),
        pytest.param(CODED % b"quoted-printable" + CAFE + b"=0D\r\n" * 2_500_000, True, id="CR in code"),
    ],
)
async def test_what_is_hard_to_convert_holds_up_nobody(
    relay: WatchedProcess, mta: FakeMta, content: bytes, leaves: bool
) -> None:
    longest_ms = TURN_MS if len(content) <= 1_000_000 else LONGEST_TURN_MS
    for number in range(TRIES):
        mta.attempts.clear()
        mark = relay.mark()
        async with others_served(relay) as met:
            assert await hand_in(relay, FROM + content) == 250
            await settled(relay)
        assert met.memory_bytes <= MEMORY_BYTES
        found = [attempt.content for attempt in mta.attempts if attempt.recipient != "other@good.example"]
        assert (len(found), all(map(bytes.isascii, found))) == (leaves, True)
        try:
            judge_times(relay, mark, longest_ms, met)
        except TooLongError:
            if number == TRIES - 1:
                raise
            await asyncio.sleep(PAUSE_S * number)
        else:
            return
