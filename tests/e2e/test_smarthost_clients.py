"""Exim and OpenSMTPD, which know this relay as their smarthost: what arrives, and what a bounce says."""

import asyncio
import json
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from email import message_from_bytes, message_from_string
from email.policy import default
from pathlib import Path

import pytest

from relay.net.tls import ensure_self_signed
from relay.sink.fake_mta import FakeMta
from relay.testing.harness import RelayHarness
from relay.testing.waiting import eventually
from tests.support.mail_programs import BODY, FROM, SUBJECT, TO
from tests.support.unpacked import Jail, download, unpack

POOL, POOL_IP = "receipts", "127.0.0.13"

EXIM = """
primary_hostname = client.example
domainlist local_domains = acme.test
keep_environment =
log_file_path = /var/log/exim4/%slog
begin routers
local:
  driver = accept
  domains = +local_domains
  transport = mailbox
smarthost:
  driver = manualroute
  transport = relay
  route_list = * {host} byname
  self = send
begin transports
mailbox:
  driver = appendfile
  maildir_format
  directory = /mail/Maildir
  user = alice
  group = alice
relay:
  driver = smtp
  port = {port}
  allow_localhost
  hosts_require_auth = *
  hosts_require_tls = *
  tls_verify_certificates = /etc/ca.pem
  tls_verify_hosts = *
  tls_verify_cert_hostnames =
begin authenticators
plain:
  driver = plaintext
  public_name = PLAIN
  client_send = ^{user}^{password}
"""

OPENSMTPD = """
table secrets file:/etc/secrets
action "local" maildir "/mail/Maildir"
action "relay" relay host smtp+tls://relay@{host}:{port} auth <secrets>
match from local for domain "acme.test" action "local"
match from local for any action "relay"
"""


@dataclass(frozen=True)
class Server:
    """A mail server that takes mail of this machine's users."""

    jail: Jail
    sendmail: tuple[str, ...]

    async def submit(self, message: str) -> None:
        child = await asyncio.create_subprocess_exec(
            *self.jail.command(*self.sendmail, "-i", "-f", FROM, TO),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        async with asyncio.timeout(30):
            printed, _ = await child.communicate(message.encode())
        assert child.returncode == 0, printed.decode(errors="replace")

    async def bounce(self) -> str:
        """The text of the one that came back to alice, for people to read."""

        async def arrived() -> list[str]:
            return self.jail.mail_of_alice()

        (mail,) = await eventually(arrived, timeout_s=20)
        message = message_from_string(mail, policy=default)
        text = message.get_body(("plain",))
        assert text is not None
        return " ".join(str(text.get_content()).split())


def _prepare_exim(jail: Jail, certificate: Path, **values: object) -> None:
    """It delivers at once, in the process that takes the message."""
    jail.make("var/spool/exim4", "Debian-exim", 0o750)
    jail.make("var/log/exim4", "Debian-exim", 0o750)
    jail.write("etc/ca.pem", certificate.read_text())
    jail.write("etc/exim4/exim4.conf", EXIM.format(**values))


def _prepare_opensmtpd(jail: Jail, certificate: Path, **values: object) -> None:
    jail.make("var/spool/smtpd", mode=0o711)
    jail.make("var/lib/opensmtpd/empty")
    jail.give("usr/sbin/smtpctl", "root", "opensmtpq", 0o2755)
    jail.write("etc/ssl/certs/ca-certificates.crt", certificate.read_text())
    jail.write("etc/secrets", "relay {user}:{password}\n".format(**values), "opensmtpd", 0o600)
    jail.write("etc/smtpd.conf", OPENSMTPD.format(**values))


@dataclass(frozen=True)
class Kind:
    package: str
    prepare: Callable[..., None]
    sendmail: tuple[str, ...]
    daemon: tuple[str, ...] = ()


EXIM4 = Kind("exim4-daemon-light", _prepare_exim, ("/usr/sbin/exim4", "-odf"))
SMTPD = Kind("opensmtpd", _prepare_opensmtpd, ("/usr/sbin/sendmail",), ("/usr/sbin/smtpd", "-d"))


@pytest.fixture(params=[EXIM4, SMTPD], ids=["Exim", "OpenSMTPD"])
def kind(request: pytest.FixtureRequest) -> Kind:
    """Each of them."""
    assert isinstance(request.param, Kind)
    return request.param


@pytest.fixture
def jail(request: pytest.FixtureRequest, tmp_path: Path, kind: Kind) -> Iterator[Jail]:
    """Downloaded once, unpacked for each test."""
    assert request.config.cache is not None
    try:
        packages = download(kind.package, request.config.cache.mkdir("debian"))
        unpacked = unpack(packages, tmp_path / "root")
    except subprocess.CalledProcessError as error:
        pytest.fail(f"{kind.package} cannot be downloaded and unpacked: {error.stderr}")
    yield unpacked
    unpacked.remove()


@pytest.fixture
async def server(
    kind: Kind, jail: Jail, relay: RelayHarness, certificate: tuple[Path, Path]
) -> AsyncIterator[Server]:
    (host, port), (user, password) = relay.smtp_address, relay.login()
    kind.prepare(jail, certificate[0], host=host, port=port, user=user, password=password)
    if not kind.daemon:
        yield Server(jail, kind.sendmail)
        return
    daemon = await asyncio.create_subprocess_exec(
        *jail.command(*kind.daemon), stdin=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL
    )

    async def listens() -> bool:
        return bool([*jail.root.rglob("smtpd.sock")])

    try:
        await eventually(listens, timeout_s=20)
        yield Server(jail, kind.sendmail)
    finally:
        daemon.terminate()
        await daemon.wait()


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[Path, Path]:
    """A self-signed pair for the address that the relay listens on."""
    return ensure_self_signed(tmp_path / "tls", "127.0.0.1", "localhost")


@pytest.fixture
def relay_settings(certificate: tuple[Path, Path]) -> dict[str, dict[str, object]]:
    """AUTH is offered after STARTTLS alone: who sends has encrypted."""
    pem, key = map(str, certificate)
    return {"smtp": {"certificate": pem, "key": key, "auth_without_tls": False}}


def _message(msys: str) -> str:
    return (
        f"From: {FROM}\nTo: {TO}\nSubject: {SUBJECT}\nX-MSYS-API: {msys}\nMIME-Version: 1.0\n"
        f"Content-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: 8bit\n\n{BODY}"
    )


def _msys(pool: str, **more: object) -> str:
    return json.dumps({"options": {"ip_pool": pool}, **more})


LONG = _msys(POOL, metadata={f"key{number}": "x" * 60 for number in range(40)})


async def _assert_delivered(relay: RelayHarness, mta: FakeMta) -> None:
    (attempt,) = await mta.attempts_reached(1, timeout_s=20)
    assert await relay.quiet(timeout_s=20) == []
    assert attempt.is_accepted
    assert (attempt.peer_ip, attempt.mail_from, attempt.recipient) == (POOL_IP, FROM, TO)
    assert b"with ESMTPSA id" in attempt.content
    assert b"x-msys-api" not in attempt.content.lower()
    message = message_from_bytes(attempt.content, policy=default)
    assert message["Subject"] == SUBJECT
    assert message.get_content().splitlines() == BODY.splitlines()


async def test_a_server_sends_through_the_pool_that_the_message_names(
    server: Server, relay: RelayHarness, mta: FakeMta
) -> None:
    await server.submit(_message(_msys(POOL)))
    await _assert_delivered(relay, mta)


async def test_a_bounce_says_why_the_message_was_refused(server: Server, relay: RelayHarness) -> None:
    await server.submit(_message(_msys("nosuch")))
    assert "550 5.7.1 IP Pool 'nosuch' does not exist" in await server.bounce()
    assert await relay.queue() == []


async def test_a_long_field_arrives_folded(server: Server, relay: RelayHarness, mta: FakeMta) -> None:
    await server.submit(_message(LONG.replace(", ", ",\n ")))
    await _assert_delivered(relay, mta)


@pytest.mark.parametrize("kind", [EXIM4], ids=["Exim"])
async def test_exim_does_not_send_what_is_longer_than_a_line_may_be(server: Server) -> None:
    """RFC 5322 §2.1.1: 998 octets."""
    await server.submit(_message(LONG))
    assert "message has lines too long for transport" in await server.bounce()
