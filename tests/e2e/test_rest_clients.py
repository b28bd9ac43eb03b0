"""Clients of SparkPost's REST API, as their authors ship them, against one relay over TLS."""

import asyncio
import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from email import message_from_bytes
from email.policy import default
from pathlib import Path

import pytest

from relay.net.tls import ensure_self_signed
from relay.sink.fake_mta import FakeMta
from relay.testing.harness import RelayHarness
from relay.testing.lab import WITH_API, lab_directory, rest_key_of

ROOT = Path(__file__).parent.parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
README_CURLS = [shlex.split(line) for line in re.findall(r"^curl .*$", README, re.MULTILINE)]
NPM = "sparkpost@2"
KEY = rest_key_of(lab_directory(), 1)
POOL, POOL_IP = "receipts", "127.0.0.13"
TO, CC, BCC = "bob@gmail.example", "carol@gmail.example", "dave@gmail.example"

# Each takes the URL of the relay, a key, a pool and perhaps a time, and fails when it is refused.

PYTHON_SPARKPOST = """
import sys
from sparkpost import SparkPost

url, key, pool = sys.argv[1:]
sent = SparkPost(key, url.removeprefix("https://")).transmissions.send(
    recipients=["Bob <bob@gmail.example>"],
    cc=["carol@gmail.example"],
    bcc=["dave@gmail.example"],
    from_email="Alice <alice@acme.test>",
    subject="Gr\\u00fc\\u00dfe",
    text="Hello {{name}}",
    html="<p>Hello {{name}}</p>",
    substitution_data={"name": "Bob"},
    attachments=[{"name": "note.txt", "type": "text/plain", "data": "bm90ZQ=="}],
    campaign="clients",
    metadata={"order": 7},
    custom_headers={"X-Order": "7"},
    track_opens=False,
    ip_pool=pool,
)
print(sent["id"], sent["total_accepted_recipients"], sent["total_rejected_recipients"])
"""

DJANGO_ANYMAIL = """
import sys
from datetime import datetime

import django
from django.conf import settings
from django.core.mail import EmailMultiAlternatives

url, key, pool, *moment = sys.argv[1:]
settings.configure(
    EMAIL_BACKEND="anymail.backends.sparkpost.EmailBackend",
    ANYMAIL={"SPARKPOST_API_KEY": key, "SPARKPOST_API_URL": url + "/api/v1"},
)
django.setup()
message = EmailMultiAlternatives(
    "Gr\\u00fc\\u00dfe", "Hello Bob", "Alice <alice@acme.test>", ["Bob <bob@gmail.example>"],
    cc=["carol@gmail.example"], bcc=["dave@gmail.example"], headers={"X-Order": "7"},
)
message.attach_alternative("<p>Hello Bob</p>", "text/html")
message.attach("note.txt", "note", "text/plain")
message.tags, message.metadata, message.track_opens = ["clients"], {"order": 7}, False
message.esp_extra = {"options": {"ip_pool": pool}}
if moment:
    message.send_at = datetime.fromisoformat(moment[0])
message.send()
print(message.anymail_status.message_id, *message.anymail_status.status)
"""

NODE_SPARKPOST = """
const SparkPost = require('sparkpost');
const [url, key, pool] = process.argv.slice(-3);
new SparkPost(key, {origin: url}).transmissions.send({
  options: {ip_pool: pool, open_tracking: false},
  content: {
    from: {name: 'Alice', email: 'alice@acme.test'},
    subject: 'Gr\\u00fc\\u00dfe',
    text: 'Hello {{name}}',
    html: '<p>Hello {{name}}</p>',
    headers: {'X-Order': '7'},
    attachments: [{name: 'note.txt', type: 'text/plain', data: 'bm90ZQ=='}],
  },
  recipients: [{address: {email: 'bob@gmail.example', name: 'Bob'}}],
  cc: [{address: 'carol@gmail.example'}],
  bcc: [{address: 'dave@gmail.example'}],
  substitution_data: {name: 'Bob'},
  campaign_id: 'clients',
  metadata: {order: 7},
}).then(
  ({results: told}) => console.log(told.id, told.total_accepted_recipients, told.total_rejected_recipients),
  error => { console.error(error.statusCode, JSON.stringify(error.errors)); process.exitCode = 1; },
);
"""

CURL = {
    "content": {
        "from": "Alice <alice@acme.test>",
        "subject": "Grüße",
        "text": "Hello {{name}}",
        "html": "<p>Hello {{name}}</p>",
        "headers": {"CC": CC, "X-Order": "7"},
        "attachments": [{"name": "note.txt", "type": "text/plain", "data": "bm90ZQ=="}],
    },
    "recipients": [
        {"address": {"email": TO, "name": "Bob"}},
        {"address": {"email": CC, "header_to": TO}},
        {"address": {"email": BCC, "header_to": TO}},
    ],
    "substitution_data": {"name": "Bob"},
    "campaign_id": "clients",
    "metadata": {"order": 7},
}

Program = Callable[[str], str]


@dataclass(frozen=True)
class Sender:
    """One client on its way to one relay, whose certificate it is told to trust."""

    relay: RelayHarness
    certificate: Path
    name: str
    command: tuple[str, ...]

    async def send(self, pool: str, *more: str) -> tuple[int, str]:
        """Exit status, and all that it printed."""
        url = self.relay.inside.http_url
        assert url is not None
        assert url.startswith("https://")
        if self.name == "curl":
            body = json.dumps({**CURL, "options": {"ip_pool": pool}})
            return await _run(
                *self.command, f"{url}/api/v1/transmissions", "-H", f"Authorization: {KEY}", "-d", body
            )
        trust = {"REQUESTS_CA_BUNDLE": str(self.certificate), "NODE_EXTRA_CA_CERTS": str(self.certificate)}
        return await _run(*self.command, url, KEY, pool, *more, **trust)


async def _run(*command: str, **environment: str) -> tuple[int, str]:
    child = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env={**os.environ, **environment},
    )
    async with asyncio.timeout(30):
        printed, _ = await child.communicate()
    assert child.returncode is not None
    return child.returncode, printed.decode(errors="replace")


@pytest.fixture(scope="module")
def node_modules(tmp_path_factory: pytest.TempPathFactory, program: Program) -> Path:
    """Where npm put the client. It keeps what it downloads in its own cache: another run needs no network."""
    folder = tmp_path_factory.mktemp("npm")
    command = [program("npm"), "install", "--no-audit", "--no-fund", "--ignore-scripts", "--prefer-offline"]
    done = subprocess.run(
        [*command, NPM], cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=90
    )
    if done.returncode != 0:
        pytest.fail(f"npm cannot install {NPM}: {done.stdout}{done.stderr}")
    return folder / "node_modules"


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[Path, Path]:
    """A self-signed pair for the address that the API listens on."""
    return ensure_self_signed(tmp_path / "https", "127.0.0.1")


@pytest.fixture
def relay_settings(certificate: tuple[Path, Path]) -> dict[str, dict[str, object]]:
    pem, key = map(str, certificate)
    http: dict[str, object] = {"listen": "127.0.0.1:0", "certificate": pem, "key": key}
    return {"": dict(WITH_API[""]), "http": http}


@pytest.fixture(params=["sparkpost (PyPI)", "django-anymail", "sparkpost (npm)", "curl"])
def sender(
    request: pytest.FixtureRequest, relay: RelayHarness, certificate: tuple[Path, Path], program: Program
) -> Sender:
    """Each of the clients."""
    name, pem = request.param, certificate[0]
    command: tuple[str, ...]
    match name:
        case "sparkpost (PyPI)":
            command = (sys.executable, "-c", PYTHON_SPARKPOST)
        case "django-anymail":
            command = (sys.executable, "-c", DJANGO_ANYMAIL)
        case "sparkpost (npm)":
            modules = request.getfixturevalue("node_modules")
            command = ("env", f"NODE_PATH={modules}", program("node"), "-e", NODE_SPARKPOST)
        case _:
            json_type = "Content-Type: application/json"
            command = (program("curl"), "-sS", "--cacert", str(pem), "-H", json_type)
    return Sender(relay, pem, name, command)


def _assert_delivered(mta: FakeMta) -> None:
    """A copy for each of the three, from the named pool, readable, and nothing in it that is ours alone."""
    for recipient in (TO, CC, BCC):
        (attempt,) = mta.attempts_for(recipient)
        assert (attempt.is_accepted, attempt.peer_ip) == (True, POOL_IP)
        secret = (KEY, "x-msys", "authorization", "ip_pool", POOL, BCC, "metadata", "{{")
        assert [word for word in secret if word.encode() in attempt.content.lower()] == []
        message = message_from_bytes(attempt.content, policy=default)
        assert {address.addr_spec for address in message["To"].addresses} == {TO}
        assert message["From"] == "Alice <alice@acme.test>"
        assert (message["Subject"], message["Cc"], message["X-Order"]) == ("Grüße", CC, "7")
        parts = [part for part in message.walk() if not part.is_multipart()]
        assert [(part.get_content_type(), part.get_filename()) for part in parts] == [
            ("text/plain", None),
            ("text/html", None),
            ("text/plain", "note.txt"),
        ]
        bodies = [str(part.get_content()).strip() for part in parts]
        assert bodies == ["Hello Bob", "<p>Hello Bob</p>", "note"]


async def test_a_client_sends_through_the_pool_that_it_names(
    sender: Sender, relay: RelayHarness, mta: FakeMta
) -> None:
    """R19; cc and bcc are recipients with a `header_to`."""
    status, printed = await sender.send(POOL)
    assert status == 0, printed
    assert await relay.quiet(timeout_s=20) == []
    _assert_delivered(mta)
    relay.clock.advance(seconds=1)
    async with relay.api() as api:
        found = (await api.get("/events/message", params={"events": "delivery"})).json()["results"]
    assert {event["transmission_id"] for event in found} == set(re.findall(r"\d{15,}", printed))
    assert [(event["ip_pool"], event["sending_ip"]) for event in found] == [(POOL, POOL_IP)] * 3
    assert [(event["campaign_id"], event["rcpt_meta"]) for event in found] == [("clients", {"order": 7})] * 3


async def test_a_client_tells_why_it_was_refused(sender: Sender, relay: RelayHarness) -> None:
    """422, code 1300, the literal sentence. curl shows the body and knows of no failure."""
    status, printed = await sender.send("nowhere")
    assert (status == 0) == (sender.name == "curl")
    assert "IP Pool 'nowhere' does not exist" in printed
    assert "1300" in printed
    assert KEY not in printed
    assert await relay.queue() == []


async def test_anymail_schedules(relay: RelayHarness, mta: FakeMta, certificate: tuple[Path, Path]) -> None:
    """R30: by `send_at`; the pool is looked at when the time has come."""
    anymail = Sender(relay, certificate[0], "django-anymail", (sys.executable, "-c", DJANGO_ANYMAIL))
    moment = relay.clock.now() + timedelta(hours=1)
    status, printed = await anymail.send("quiet", moment.isoformat())
    assert status == 0, printed
    assert mta.attempts == []
    await relay.move_ip(POOL_IP, "quiet")
    relay.clock.advance(hours=1)
    await mta.attempts_reached(3, timeout_s=20)
    assert {attempt.peer_ip for attempt in mta.attempts} == {POOL_IP}


async def test_the_certificate_is_judged(relay: RelayHarness, program: Program) -> None:
    """So that the tests above say something about TLS."""
    status, printed = await _run(program("curl"), "-sS", f"{relay.inside.http_url}/healthz")
    assert (status, "certificate" in printed) == (60, True), printed


@pytest.mark.parametrize("number", range(len(README_CURLS)))
async def test_a_curl_line_of_the_readme_does_what_it_says(
    tmp_path: Path, mta: FakeMta, program: Program, number: int
) -> None:
    """With the lab that is shipped: only the port is another."""
    directory = (ROOT / "config/directory.toml").read_text(encoding="utf-8")
    directory = directory.replace('smarthost = "127.0.0.1:2526"', f'smarthost = "{mta.address}"')
    async with RelayHarness(tmp_path, mta, directory=directory, settings=WITH_API) as relay:
        command = [
            word.replace("http://127.0.0.1:8025", str(relay.inside.http_url)) for word in README_CURLS[number]
        ]
        status, printed = await _run(program(command[0]), "-sS", *command[1:])
        assert status == 0, printed
        assert "errors" not in json.loads(printed)
        assert await relay.quiet(timeout_s=20) == []
        if "total_accepted_recipients" in printed:
            (attempt,) = mta.attempts
            assert attempt.peer_ip in relay.ips_of("marketing")
