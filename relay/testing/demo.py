"""`make demo`: one message for each row of the table in docs/rules.md#routing, and the IP that was seen.

Starts the real program in a folder of its own with the directory of the lab, and a next hop
beside it. Ends with 0 when every message left from where the table says, or was refused as it says.
"""

import asyncio
import re
import sys
import tempfile
import tomllib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from http import HTTPStatus
from pathlib import Path

from relay.net.ambient import SystemClock
from relay.sink.fake_mta import FakeMta
from relay.testing.asking import ask, find_sentence
from relay.testing.demo_cases import CORNERS, DemoCase, Lab, Way, cases
from relay.testing.injection import InjectionRefusedError, compose_mail, inject_by_smtp
from relay.testing.lab import WITH_API, lab_key_of, rest_key_of
from relay.testing.process import RelayProcess
from relay.testing.waiting import eventually

DIRECTORY = Path("config/directory.toml")
_ARRIVAL_S = 20.0
_AHEAD = timedelta(seconds=4)
"""When scheduled messages are due: long enough for what happens in between."""
_ROUTES = re.compile(r"^\[\[route\]\].*?(?=^\[|\Z)", re.MULTILINE | re.DOTALL)
_HEADINGS = ("rule", "by", "pool", "expected IP", "seen IP", "ok")


@dataclass(frozen=True, slots=True)
class DemoRow:
    """One line of the table that is printed."""

    rule: str
    way: Way
    pool: str
    expected: str
    seen: str
    is_ok: bool


async def run(directory: str, choose: Callable[[Lab], Iterable[DemoCase]] = cases) -> list[DemoRow]:
    """Send one message for each case through a relay with this directory, the text of a directory.toml."""
    lab = Lab(_ROUTES.sub("", directory) + CORNERS)
    listed = list(choose(lab))
    with tempfile.TemporaryDirectory(prefix="relay-demo-") as name:
        folder = Path(name)
        async with (
            FakeMta() as mta,
            RelayProcess(folder, mta.address, directory=lab.text, settings=WITH_API) as relay,
        ):
            replies = [await _hand_in(relay, lab, case, number) for number, case in enumerate(listed)]
            for case in listed:
                await _happen(relay, lab, case)
            told = list(zip(listed, replies, strict=True))
            await _wait(mta, sum(_is_coming(case, reply) for case, reply in told))
            ends = [await _end(relay, lab, case, reply) for case, reply in told]
            return [_judge(mta, lab, *told) for told in zip(listed, ends, range(len(listed)), strict=True)]


async def _wait(mta: FakeMta, count: int) -> None:
    """Until that much mail came; what is missing then is told in its row."""
    try:
        await mta.attempts_reached(count, timeout_s=_ARRIVAL_S)
    except TimeoutError:
        return


async def _hand_in(relay: RelayProcess, lab: Lab, case: DemoCase, number: int) -> str:
    """The answer to the message of one case; that of REST with its status in front."""
    if case.way is not Way.SMTP:
        return await _transmit(relay, lab, case, number)
    user = "SMTP_Injection" + (f":X-MSYS-SUBACCOUNT={case.subaccount}" if case.subaccount else "")
    login = (user, lab_key_of(lab.text, case.account))
    mail_from, to = lab.from_address(case.account), _recipient(number)
    content = compose_mail(to, mail_from, ip_pool=case.asked)
    try:
        return "250 " + await inject_by_smtp((relay.host, relay.port), login, mail_from, [to], content)
    except InjectionRefusedError as refused:
        return str(refused)


async def _transmit(relay: RelayProcess, lab: Lab, case: DemoCase, number: int) -> str:
    options = {} if case.asked is None else {"ip_pool": case.asked}
    if case.way is Way.SCHEDULED:
        options["start_time"] = (SystemClock().now() + _AHEAD).isoformat(timespec="seconds")
    body = {
        "options": options,
        "recipients": [{"address": _recipient(number)}],
        "content": {"from": lab.from_address(case.account), "subject": "Hello", "text": "Hello."},
    }
    key = rest_key_of(lab.text, case.account)
    status, answer = await ask(
        relay.http_address, key, "POST", "/transmissions", body, subaccount=case.subaccount
    )
    return f"{status} {answer['results']['id']}" if status == HTTPStatus.OK else find_sentence(status, answer)


async def _happen(relay: RelayProcess, lab: Lab, case: DemoCase) -> None:
    """What is done to the pool before the time of the case comes. Raises RuntimeError when it is refused."""
    if not case.moved and not case.is_deleted:
        return
    method, path, body = "PUT", f"/sending-ips/{case.moved}", {"ip_pool": case.asked}
    if case.is_deleted:
        method, path, body = "DELETE", f"/ip-pools/{case.asked}", {}
    key = rest_key_of(lab.text, case.account)
    status, answer = await ask(relay.http_address, key, method, path, body)
    if status >= HTTPStatus.MULTIPLE_CHOICES:
        raise RuntimeError(f"{method} {path}: {find_sentence(status, answer)}")


async def _end(relay: RelayProcess, lab: Lab, case: DemoCase, reply: str) -> str:
    """The reply, or why a scheduled message was rejected when its time had come."""
    if case.way is not Way.SCHEDULED or case.pool or not _is_accepted(reply):
        return reply
    path = f"/events/message?events=generation_rejection,injection&transmissions={reply.split()[-1]}"

    async def look() -> str:
        _, answer = await ask(relay.http_address, rest_key_of(lab.text, case.account), "GET", path)
        return " ".join(event.get("raw_reason", reply) for event in answer.get("results", ()))

    try:
        return await eventually(look, _ARRIVAL_S)
    except TimeoutError:
        return reply


def _judge(mta: FakeMta, lab: Lab, case: DemoCase, reply: str, number: int) -> DemoRow:
    attempts = mta.attempts_for(_recipient(number))
    seen = " ".join(attempt.peer_ip for attempt in attempts)
    if not case.pool:
        is_ok = reply.startswith(case.reply) and not attempts
        return DemoRow(case.rule, case.way, "refused", case.reply.strip(), seen or reply, is_ok)
    expected = {case.moved} if case.moved else lab.ips(case.account, case.pool)
    is_ok = [attempt.is_accepted for attempt in attempts] == [True] and seen in expected
    told = seen or ("nothing came" if _is_accepted(reply) else reply)
    return DemoRow(case.rule, case.way, case.pool, " or ".join(sorted(expected)), told, is_ok)


def _is_coming(case: DemoCase, reply: str) -> bool:
    return _is_accepted(reply) and (bool(case.pool) or case.way is not Way.SCHEDULED)


def _is_accepted(reply: str) -> bool:
    return reply.startswith("2")


def table(rows: Sequence[DemoRow]) -> str:
    """The rows under their headings, in columns."""
    cells = [_HEADINGS, *(_cells(row) for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = ["  ".join(map(str.ljust, row, widths)).rstrip() for row in cells]
    rights = sum(row.is_ok for row in rows)
    return "\n".join(
        [*lines, "", "what each rule says: docs/rules.md", f"{rights} of {len(rows)} rows are ok"]
    )


def _cells(row: DemoRow) -> tuple[str, ...]:
    return row.rule, row.way.value, row.pool, row.expected, row.seen, "ok" if row.is_ok else "WRONG"


def _recipient(number: int) -> str:
    return f"row{number}@example.com"


def run_demo(arguments: Sequence[str]) -> int:
    """0 when every row is ok, 1 when one is not or the relay does not start, 2 without a usable directory."""
    path = Path(arguments[0]) if arguments else DIRECTORY
    try:
        rows = asyncio.run(run(path.read_text(encoding="utf-8")))
    except (ChildProcessError, TimeoutError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    except (OSError, LookupError, tomllib.TOMLDecodeError) as error:
        sys.stderr.write(f"{path}: {error}\n")
        return 2
    sys.stdout.write(table(rows) + "\n")
    return 0 if all(row.is_ok for row in rows) else 1


if __name__ == "__main__":
    sys.exit(run_demo(sys.argv[1:]))
