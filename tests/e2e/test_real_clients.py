"""The mail clients of the world, as Debian and Python ship them, against one relay."""

import asyncio
import base64
import json
import os
import shutil
import smtplib
import ssl
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from email.message import EmailMessage
from pathlib import Path

import aiosmtplib
import pytest

from relay.sink.fake_mta import FakeMta
from relay.sink.orders import EXTENSIONS
from relay.testing.harness import RelayHarness
from relay.testing.waiting import eventually
from relay.testing.wire import connect_wire

TO = "bob@gmail.example"
FROM = "alice@acme.test"
MSYS = json.dumps({"options": {"ip_pool": "receipts"}, "campaign_id": "clients"})
POOL_IP = "127.0.0.13"

Program = Callable[[str], str]


@pytest.fixture
async def mta(request: pytest.FixtureRequest) -> AsyncIterator[FakeMta]:
    async with FakeMta(extensions=(*EXTENSIONS, *getattr(request, "param", ()))) as mta:
        yield mta


async def _run(*command: str, stdin: bytes = b"") -> str:
    """What the command printed; the test fails unless it exits 0."""
    child = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    async with asyncio.timeout(30):
        printed, _ = await child.communicate(stdin)
    assert child.returncode == 0, printed.decode(errors="replace")
    return printed.decode(errors="replace")


async def _assert_delivered(relay: RelayHarness, mta: FakeMta, to: str = TO, marker: bytes = b"") -> None:
    """One copy came, from the pool that the header named, without that header."""
    assert await relay.quiet(timeout_s=20) == []
    (attempt,) = mta.attempts_for(to)
    assert attempt.is_accepted
    assert attempt.peer_ip == POOL_IP
    assert attempt.mail_from == FROM
    assert b"x-msys-api" not in attempt.content.lower()
    assert marker in attempt.content


class TestSwaks:
    @pytest.mark.parametrize("tls", [True, False], ids=["STARTTLS", "clear text"])
    @pytest.mark.parametrize("auth", ["PLAIN", "LOGIN"])
    async def test_swaks_sends(
        self, relay: RelayHarness, mta: FakeMta, program: Program, auth: str, tls: bool
    ) -> None:
        user, password = relay.login()
        host, port = relay.smtp_address
        command = [program("swaks"), "--server", host, "--port", str(port), "--auth", auth]
        command += ["--auth-user", user, "--auth-password", password, "--from", FROM, "--to", TO]
        command += ["--header", f"X-MSYS-API: {MSYS}", "--body", "from swaks"]
        printed = await _run(*command, *(["--tls"] if tls else []))
        assert "235 2.0.0 Authed. Go on." in printed
        assert ("TLS started" in printed) == tls
        await _assert_delivered(relay, mta, marker=b"from swaks")

    async def test_a_wrong_key_is_told_so(self, relay: RelayHarness, program: Program) -> None:
        host, port = relay.smtp_address
        command = [program("swaks"), "--server", host, "--port", str(port), "--auth", "PLAIN", "--to", TO]
        command += ["--auth-user", "SMTP_Injection", "--auth-password", "wrong", "--from", FROM]
        with pytest.raises(
            AssertionError, match=r"535 5\.7\.8 Sorry\. \*\*\* No authentication type succeeded"
        ):
            await _run(*command)
        assert await relay.queue() == []


class TestPostfix:
    """Postfix as a client: its own instance, everything to the relay with SASL over TLS."""

    @asynccontextmanager
    async def _instance(self, relay: RelayHarness, program: Program) -> AsyncIterator[str]:
        """A running Postfix that knows only the relay; yields its configuration directory."""
        postfix = program("postfix")
        _require_sasl()
        with _open_folder() as folder:
            etc, spool, state = folder / "etc", folder / "spool", folder / "state"
            for made in (etc, spool, state):
                made.mkdir()
            user, password = relay.login()
            host, port = relay.smtp_address
            (etc / "sasl").write_text(f"[{host}]:{port} {user}:{password}\n")
            (etc / "master.cf").write_text(MASTER_CF)
            (etc / "main.cf").write_text(
                MAIN_CF.format(spool=spool, state=state, etc=etc, host=host, port=port, log=folder / "log")
            )
            shutil.chown(state, "postfix")
            environment = {**os.environ, "MAIL_CONFIG": str(etc)}
            start = await asyncio.create_subprocess_exec(
                postfix, "-c", str(etc), "start", env=environment, stderr=asyncio.subprocess.PIPE
            )
            _, complaint = await start.communicate()
            assert start.returncode == 0, complaint.decode()
            try:
                yield str(etc)
            finally:
                stop = await asyncio.create_subprocess_exec(
                    postfix, "-c", str(etc), "stop", env=environment, stderr=asyncio.subprocess.DEVNULL
                )
                await stop.wait()

    async def test_postfix_relays_with_sasl_and_passes_the_header_through(
        self, relay: RelayHarness, mta: FakeMta, program: Program
    ) -> None:
        folded = MSYS.replace(", ", ",\n  ")
        message = f"From: {FROM}\nTo: {TO}\nSubject: Postfix\nX-MSYS-API: {folded}\n\nfrom Postfix\n"
        async with self._instance(relay, program) as etc:
            sendmail = str(Path(program("postfix")).with_name("sendmail"))
            await _run(sendmail, "-C", etc, "-f", FROM, "-i", TO, stdin=message.encode())

            async def arrived() -> bool:
                return bool(mta.attempts_for(TO))

            await eventually(arrived, timeout_s=20)
        await _assert_delivered(relay, mta, marker=b"from Postfix\r\n")
        (attempt,) = mta.attempts_for(TO)
        assert attempt.content.count(b"\nReceived:") + attempt.content.startswith(b"Received:") >= 2

    @pytest.mark.parametrize("mta", [("DSN",)], indirect=True, ids=["a hop with DSN"])
    async def test_what_a_user_of_postfix_wants_to_be_told_reaches_the_hop(
        self, relay: RelayHarness, mta: FakeMta, program: Program
    ) -> None:
        """RFC 3461: Postfix passes it on because the relay offers DSN."""
        message = f"From: {FROM}\nTo: {TO}\nSubject: Postfix\nX-MSYS-API: {MSYS}\n\nfrom Postfix\n"
        async with self._instance(relay, program) as etc:
            sendmail = str(Path(program("postfix")).with_name("sendmail"))
            wishes = ("-N", "success,delay", "-V", "QQ+314", "-R", "hdrs")
            await _run(sendmail, "-C", etc, "-f", FROM, *wishes, "-i", TO, stdin=message.encode())

            async def arrived() -> bool:
                return bool(mta.attempts_for(TO))

            await eventually(arrived, timeout_s=20)
        (attempt,) = mta.attempts_for(TO)
        assert {"RET=HDRS", "ENVID=QQ+2B314"} <= set(attempt.parameters.split())
        assert attempt.rcpt_parameters.split() == ["NOTIFY=SUCCESS,DELAY", f"ORCPT=rfc822;{TO}"]

    async def test_a_bounce_says_why_and_leaves_from_the_default_pool(
        self, relay: RelayHarness, mta: FakeMta, program: Program
    ) -> None:
        """Nobody wrote it, so it has no X-MSYS-API."""
        message = (
            f"From: {FROM}\nTo: {TO}\nX-MSYS-API: {MSYS.replace('receipts', 'nosuch')}\n\nfrom Postfix\n"
        )
        async with self._instance(relay, program) as etc:
            sendmail = str(Path(program("postfix")).with_name("sendmail"))
            await _run(sendmail, "-C", etc, "-f", FROM, "-i", TO, stdin=message.encode())
            (bounce,) = await mta.attempts_reached(1, timeout_s=20)
        assert (bounce.mail_from, bounce.recipient) == ("", FROM)
        assert bounce.peer_ip in relay.ips_of("default")
        assert b"550 5.7.1 IP Pool 'nosuch' does not exist" in b" ".join(bounce.content.split())


async def test_smtplib_sends_over_starttls(relay: RelayHarness, mta: FakeMta) -> None:
    user, password = relay.login()
    message = _message("from smtplib")

    def send() -> None:
        host, port = relay.smtp_address
        with smtplib.SMTP(host, port, timeout=10) as client:
            client.starttls(context=_unverified())
            client.login(user, password)
            client.send_message(message)

    await asyncio.to_thread(send)
    await _assert_delivered(relay, mta, marker=b"from smtplib")


async def test_smtplib_sends_a_utf8_mailbox_and_an_8_bit_body(relay: RelayHarness, mta: FakeMta) -> None:
    user, password = relay.login()
    to = "jürgen@gmail.example"
    content = (
        f"From: {FROM}\r\nTo: {to}\r\nSubject: Grüße\r\nX-MSYS-API: {MSYS}\r\n\r\nSchöne Grüße\r\n".encode()
    )

    def send() -> None:
        host, port = relay.smtp_address
        with smtplib.SMTP(host, port, timeout=10) as client:
            client.login(user, password)
            client.sendmail(FROM, [to], content, mail_options=["SMTPUTF8", "BODY=8BITMIME"])

    await asyncio.to_thread(send)
    await _assert_delivered(relay, mta, to, marker="Schöne Grüße\r\n".encode())


@pytest.mark.parametrize("start_tls", [True, False], ids=["STARTTLS", "clear text"])
async def test_aiosmtplib_sends_several_on_one_connection(
    relay: RelayHarness, mta: FakeMta, start_tls: bool
) -> None:
    user, password = relay.login()
    host, port = relay.smtp_address
    client = aiosmtplib.SMTP(
        hostname=host, port=port, username=user, password=password, start_tls=start_tls, validate_certs=False
    )
    recipients = [f"bob{number}@gmail.example" for number in range(5)]
    async with client:
        for recipient in recipients:
            message = _message(f"for {recipient}")
            await client.send_message(message, recipients=[recipient])
    for recipient in recipients:
        await _assert_delivered(relay, mta, recipient, marker=f"for {recipient}".encode())


async def test_pipelined_transactions_are_answered_in_order(relay: RelayHarness, mta: FakeMta) -> None:
    token = base64.b64encode("\0{}\0{}".format(*relay.login()).encode())
    async with connect_wire(relay.smtp_address) as line:
        assert (await line.reply()).startswith("220 ")
        hello = await line.ask(b"EHLO client.example")
        for keyword in ("PIPELINING", "8BITMIME", "SMTPUTF8", "ENHANCEDSTATUSCODES", "SIZE 20971520"):
            assert f"{keyword}" in hello
        assert await line.ask(b"AUTH PLAIN " + token) == "235 2.0.0 Authed. Go on."
        envelope = [b"MAIL FROM:<alice@acme.test>", b"RCPT TO:<one@gmail.example>", b"DATA"]
        await line.send(*envelope)
        assert [(await line.reply())[:3] for _ in range(3)] == ["250", "250", "354"]
        content = b"From: alice@acme.test\r\nX-MSYS-API: " + MSYS.encode() + b"\r\n\r\npipelined"
        # The end of one message, a whole refused recipient, the next transaction and QUIT in one write.
        await line.send(
            content,
            b".",
            b"MAIL FROM:<alice@acme.test>",
            b"RCPT TO:<two@gmail.example>",
            b"RCPT TO:<@@>",
            b"RCPT TO:<three@gmail.example>",
            b"DATA",
        )
        replies = [await line.reply() for _ in range(6)]
        assert [reply[:3] for reply in replies] == ["250", "250", "250", "501", "250", "354"]
        assert replies[1:3] == ["250 2.0.0 MAIL FROM accepted", "250 2.0.0 RCPT TO accepted"]
        await line.send(content, b".", b"QUIT")
        assert (await line.reply()).startswith("250 2.0.0 OK ")
        assert (await line.reply()).startswith("221 ")
        assert await line.reply() == ""
    for to in ("one", "two", "three"):
        await _assert_delivered(relay, mta, f"{to}@gmail.example", marker=b"pipelined\r\n")


def _message(text: str) -> EmailMessage:
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = FROM, TO, "Hello"
    message["X-MSYS-API"] = MSYS
    message.set_content(text)
    return message


def _unverified() -> ssl.SSLContext:
    """The relay's own certificate is self-signed, and no client here trusts it."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


@contextmanager
def _open_folder() -> Iterator[Path]:
    """A folder that Postfix's unprivileged daemons can enter; pytest's own are closed to them."""
    with tempfile.TemporaryDirectory(prefix="relay-postfix-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        yield folder


def _require_sasl() -> None:
    if not [*Path("/usr/lib").glob("sasl2/libplain.so"), *Path("/usr/lib").glob("*/sasl2/libplain.so")]:
        pytest.fail("SASL mechanisms are missing: apt-get install --no-install-recommends libsasl2-modules")


MAIN_CF = """
compatibility_level = 3.6
queue_directory = {spool}
data_directory = {state}
maillog_file = {log}
maillog_file_prefixes = /tmp
multi_instance_name =
myhostname = client.example
mydestination =
inet_interfaces = loopback-only
inet_protocols = ipv4
relayhost = [{host}]:{port}
disable_dns_lookups = yes
smtp_sasl_auth_enable = yes
smtp_sasl_password_maps = texthash:{etc}/sasl
smtp_sasl_security_options = noanonymous
smtp_tls_security_level = encrypt
"""

MASTER_CF = """
pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
proxymap unix - - n - - proxymap
smtp unix - - n - - smtp
relay unix - - n - - smtp
showq unix n - n - - showq
error unix - - n - - error
retry unix - - n - - error
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
postlog unix-dgram n - n - 1 postlogd
"""
