"""Mail programs and libraries of others, over STARTTLS: what arrives, and what a refusal looks like."""

import asyncio
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from email import message_from_bytes
from email.policy import default
from pathlib import Path

import pytest

from relay.net.tls import ensure_self_signed
from relay.sink.fake_mta import FakeMta
from relay.testing.harness import RelayHarness
from tests.support import mail_programs
from tests.support.mail_programs import BODY, FROM, SUBJECT, TO, Errand, Program, Run

ROOT = Path(__file__).parent.parent.parent
POOL, POOL_IP = "receipts", "127.0.0.13"
SENTENCE = "IP Pool 'nosuch' does not exist"


@dataclass(frozen=True)
class Client:
    """How one is called, and what its user sees of a refusal."""

    run: Callable[[Errand, Program], Run]
    status: int
    """What it exits with when it is refused."""
    shows: tuple[str, ...] = (f"5.7.1 {SENTENCE}",)


CLIENTS = {
    "swaks": Client(mail_programs.swaks, 26),
    "msmtp": Client(mail_programs.msmtp, 69),
    "s-nail": Client(mail_programs.s_nail, 4),
    "mutt": Client(mail_programs.mutt, 1),
    "git send-email": Client(mail_programs.git_send_email, 255),
    "curl": Client(mail_programs.curl, 8, ("Weird server reply",)),
    "curl -v": Client(mail_programs.curl_v, 8),
    "Net::SMTP": Client(mail_programs.net_smtp, 255),
    "PHPMailer": Client(mail_programs.phpmailer, 1, ("data not accepted", SENTENCE)),
    "nodemailer": Client(mail_programs.nodemailer, 1),
    "Django": Client(mail_programs.django, 1),
}


@pytest.fixture(params=CLIENTS)
def client(request: pytest.FixtureRequest) -> Client:
    """Each of them."""
    return CLIENTS[request.param]


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[Path, Path]:
    """A self-signed pair for the address that the relay listens on."""
    return ensure_self_signed(tmp_path / "tls", "127.0.0.1")


@pytest.fixture
def relay_settings(certificate: tuple[Path, Path]) -> dict[str, dict[str, object]]:
    """AUTH is offered after STARTTLS alone: who sends has encrypted."""
    pem, key = map(str, certificate)
    return {"smtp": {"certificate": pem, "key": key, "auth_without_tls": False}}


@dataclass(frozen=True)
class Sender:
    """How a client is sent on its errand."""

    relay: RelayHarness
    certificate: Path
    program: Program
    folder: Path

    async def send(self, client: Client, pool: str, subaccount: int | None = None) -> tuple[int | None, str]:
        """Exit status, and all that it printed."""
        login = self.relay.login(subaccount=subaccount)
        errand = Errand(*self.relay.smtp_address, *login, self.certificate, pool, self.folder)
        return await _run(client.run(errand, self.program), self.folder)


@pytest.fixture
def sender(relay: RelayHarness, certificate: tuple[Path, Path], program: Program, tmp_path: Path) -> Sender:
    return Sender(relay, certificate[0], program, tmp_path)


async def _run(run: Run, folder: Path) -> tuple[int | None, str]:
    child = await asyncio.create_subprocess_exec(
        *run.words,
        cwd=folder,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env={**os.environ, "HOME": str(folder), "LC_ALL": "C.UTF-8", **run.environment},
    )
    async with asyncio.timeout(30):
        printed, _ = await child.communicate(run.stdin.encode())
    return child.returncode, printed.decode(errors="replace")


async def test_a_program_sends_through_the_pool_that_it_names(
    client: Client, sender: Sender, relay: RelayHarness, mta: FakeMta
) -> None:
    status, printed = await sender.send(client, POOL)
    assert status == 0, printed
    assert await relay.quiet(timeout_s=20) == []
    (attempt,) = mta.attempts
    assert attempt.is_accepted
    assert (attempt.peer_ip, attempt.mail_from, attempt.recipient) == (POOL_IP, FROM, TO)
    assert b"x-msys-api" not in attempt.content.lower()
    assert b"with ESMTPSA id" in attempt.content, "STARTTLS and AUTH"
    message = message_from_bytes(attempt.content, policy=default)
    assert message["Subject"] == SUBJECT
    assert message.get_content().rstrip().splitlines() == BODY.splitlines()


async def test_a_program_shows_why_it_was_refused(
    client: Client, sender: Sender, relay: RelayHarness
) -> None:
    """The whole sentence, by which its user finds the mistake; or what the program says in place of it."""
    status, printed = await sender.send(client, "nosuch")
    assert status == client.status, printed
    assert [shown for shown in client.shows if shown not in printed] == [], printed
    assert (SENTENCE in printed) == any(SENTENCE in shown for shown in client.shows)
    assert await relay.queue() == []


@pytest.mark.parametrize("name", ["curl", "mutt", "s-nail"])
async def test_a_subaccounts_user_name_stands_in_a_url(
    name: str, sender: Sender, relay: RelayHarness
) -> None:
    """By its pool, which the account itself would not get without naming it."""
    status, printed = await sender.send(CLIENTS[name], "receipts", subaccount=123)
    assert status != 0
    status, printed = await sender.send(CLIENTS[name], "marketing", subaccount=123)
    assert status == 0, printed


def test_the_documents_list_these_programs() -> None:
    document = (ROOT / "docs/clients.md").read_text(encoding="utf-8")
    _, _, table = document.partition("## What their users see")
    rows = dict(re.findall(r"^\| ([^|]+) \| [^|]+ \| (.+) \|$", table, re.MULTILINE))
    assert set(CLIENTS) <= set(rows)
    for name, client in CLIENTS.items():
        assert re.findall(r"exit status (\d+)", rows[name]) in ([], [str(client.status)]), name
        told = [shown for shown in client.shows if SENTENCE not in shown]
        assert [shown for shown in told if shown not in rows[name]] == [], name
        assert ("the sentence" in rows[name]) == any(SENTENCE in shown for shown in client.shows), name
