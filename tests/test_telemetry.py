"""Log lines, and what strangers cannot do to them."""

import json
import logging
from collections.abc import Iterator

import pytest

from relay.process.telemetry import configure_logging


@pytest.fixture(autouse=True)
def _root() -> Iterator[None]:
    root = logging.getLogger()
    before = root.handlers, root.level
    yield
    root.handlers, _ = before
    root.setLevel(before[1])


def test_a_text_line_has_time_level_place_and_facts(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("text", "info")
    logging.getLogger("relay.egress").warning("lane=%s suspended", "127.0.0.11")
    logging.getLogger("relay.egress").debug("unseen")
    (line,) = capsys.readouterr().err.splitlines()
    moment, rest = line.split(" ", 1)
    assert moment.endswith("Z")
    assert rest == "WARNING egress lane=127.0.0.11 suspended"


def test_a_text_line_stays_one_line_whatever_a_stranger_said(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("text", "info")
    logging.getLogger("relay").info("helo=%s", "x\r\n2026-01-01T00:00:00.000Z ERROR relay forged\x1b[31m")
    (line,) = capsys.readouterr().err.splitlines()
    assert "\x1b" not in line


@pytest.mark.parametrize("style", ["text", "json"])
def test_an_exception_is_told_with_its_traceback(style: str, capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging(style, "info")
    try:
        raise ValueError("told")
    except ValueError:
        logging.getLogger("relay").exception("failed")
    printed = capsys.readouterr().err
    assert "ValueError: told" in printed
    if style == "json":
        facts = json.loads(printed)
        assert (facts["level"], facts["logger"], facts["message"]) == ("error", "relay", "failed")
