"""`make demo`, as it is run and as it would fail."""

import asyncio
import sys
from pathlib import Path

import pytest

from relay.testing.demo import run, run_demo, table
from relay.testing.demo_cases import DemoCase, Way
from relay.testing.lab import lab_directory

ROOT = Path(__file__).parent.parent.parent


async def test_the_demo_shows_every_row_as_the_table_has_it() -> None:
    child = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "relay.testing.demo",
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await child.communicate()
    lines = out.decode().splitlines()
    assert child.returncode == 0, out.decode() + err.decode()
    assert lines[0].split() == ["rule", "by", "pool", "expected", "IP", "seen", "IP", "ok"]
    assert lines[-2:] == ["what each rule says: docs/rules.md", "74 of 74 rows are ok"]
    rules = {line.split()[0] for line in lines[1:-3]}
    by_smtp = {"R18", "R20", "R21", "R22", "R26", "A5", "A6", "A8", "A9"}
    assert rules == by_smtp | {"R19", "R30", "R31", "R32", "R33"}
    for way, literal in (("SMTP", "550 5.7.1 "), ("REST", "422 1300 "), ("scheduled", "422 1300 ")):
        literal += "IP Pool 'nowhere' does not exist"
        assert sum(f" {way} " in line and line.count(literal) == 2 for line in lines) == 2


async def test_a_row_that_does_not_come_out_as_said_is_wrong() -> None:
    """The demo can fail: told something untrue of the lab, it says so."""
    untrue = [
        DemoCase("another pool", 1, "receipts", "marketing"),
        DemoCase("a refusal instead", 1, "nowhere", "receipts"),
        DemoCase("delivered instead", 1, "receipts", reply="550 5.7.1 "),
        DemoCase("refused otherwise", 1, "nowhere", reply="451 "),
        DemoCase("another pool, by REST", 1, "receipts", "marketing", way=Way.REST),
        DemoCase("another pool, later", 1, "receipts", "marketing", way=Way.SCHEDULED),
        DemoCase("delivered instead, later", 1, "receipts", reply="550 5.7.1 ", way=Way.SCHEDULED),
    ]
    rows = await run(lab_directory(), lambda lab: untrue)
    assert [row.seen for row in rows[:6]] == [
        "127.0.0.13",
        "550 5.7.1 IP Pool 'nowhere' does not exist",
        "127.0.0.13",
        "550 5.7.1 IP Pool 'nowhere' does not exist",
        "127.0.0.13",
        "127.0.0.13",
    ]
    assert not any(row.is_ok for row in rows)
    assert table(rows).endswith("0 of 7 rows are ok")
    assert table(rows).count("WRONG") == 7


def test_a_directory_without_the_accounts_it_needs_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    poor = tmp_path / "directory.toml"
    assert run_demo([str(poor)]) == 2
    poor.write_text("", encoding="utf-8")
    assert run_demo([str(poor)]) == 2
    unreadable, empty = capsys.readouterr().err.splitlines()
    assert unreadable.startswith(f"{poor}: ")
    assert empty == f"{poor}: no self_serve account with a subaccount that is bound to a filled pool"
