"""Account → SMTP Settings (docs/rules.md#mail-by-smtp): how programs hand in mail, and lines to copy."""

import json
from collections.abc import Sequence
from dataclasses import dataclass

from starlette.responses import Response

from relay.domain.errors import UnknownPool
from relay.domain.ids import PoolId
from relay.frames.console.errors import word_for_page
from relay.frames.console.routing import Pages
from relay.frames.console.visit import Visit
from relay.frames.services import Entrance
from relay.resources.subaccounts.words import pool_options

pages = Pages(__name__)

KEY = "YOUR-API-KEY"
"""What stands in the examples where the key belongs."""
_WILDCARDS = frozenset({"0.0.0.0", "::"})
_TO = "someone@example.com"


@dataclass(frozen=True, slots=True)
class SmtpDoor:
    """One way in."""

    host: str
    port: int
    is_tls: bool
    """From the first octet on; else by STARTTLS."""


@dataclass(frozen=True, slots=True)
class Example:
    """Lines to copy."""

    title: str
    text: str


@pages.get("/account/smtp")
async def smtp(visit: Visit) -> Response:
    form, pool = visit.query, visit.query["pool"]
    if pool and (visit.account.id, PoolId(pool)) not in visit.snapshot.pools:
        form, pool = form.wrong(pool=word_for_page(UnknownPool(pool[:40]))), ""
    doors = doors_of(visit.services.entrance)
    sender = f"you@{_domain(visit)}"
    return visit.page(
        "accounts/smtp.html",
        form=form,
        pool=pool,
        pools=[("", "None: the account's rules"), *pool_options(visit)],
        doors=doors,
        hosts=list(dict.fromkeys(door.host for door in doors)),
        auth_without_tls=visit.services.entrance.auth_without_tls,
        header=_header(pool),
        examples=_examples(doors, visit.services.base_url, sender, pool),
        key=KEY,
        subaccount=min(visit.subaccounts, default=None),
    )


def doors_of(entrance: Entrance) -> Sequence[SmtpDoor]:
    """Where mail comes in, those with STARTTLS first. One on all addresses goes by the host's name."""
    places = [(place, False) for place in entrance.listeners]
    places += [(place, True) for place in entrance.tls_listeners]
    return [
        SmtpDoor(entrance.hostname if host in _WILDCARDS else host, port, is_tls)
        for (host, port), is_tls in places
    ]


def _domain(visit: Visit) -> str:
    """One that the account may send from."""
    owned = [
        entry.domain
        for (owner, _), entry in sorted(visit.snapshot.domains.items())
        if owner == visit.account.id and entry.is_verified and entry.subaccount is None
    ]
    return next(iter(owned), "example.com")


def _header(pool: str) -> str:
    return json.dumps({"options": {"ip_pool": pool}}) if pool else ""


def _examples(doors: Sequence[SmtpDoor], base_url: str, sender: str, pool: str) -> list[Example]:
    """Pool ids, domains and our own URL have no character that a shell would take for its own."""
    by_smtp = [_swaks(doors[0], sender, pool), _python(doors[0], sender, pool)] if doors else []
    return [*by_smtp, _curl(base_url, sender, pool)]


def _swaks(door: SmtpDoor, sender: str, pool: str) -> Example:
    options = [
        f"swaks --server {door.host} --port {door.port} {'--tls-on-connect' if door.is_tls else '--tls'}",
        f"--auth LOGIN --auth-user SMTP_Injection --auth-password {KEY}",
        f"--from {sender} --to {_TO}",
    ]
    if pool:
        options.append(f"--header 'X-MSYS-API: {_header(pool)}'")
    return Example("swaks", " \\\n  ".join(options))


def _python(door: SmtpDoor, sender: str, pool: str) -> Example:
    named = f'message["X-MSYS-API"] = {_header(pool)!r}\n' if pool else ""
    opened = "SMTP_SSL" if door.is_tls else "SMTP"
    secured = "" if door.is_tls else "    relay.starttls()\n"
    text = (
        "import smtplib\n"
        "from email.message import EmailMessage\n\n"
        "message = EmailMessage()\n"
        f'message["From"] = "{sender}"\n'
        f'message["To"] = "{_TO}"\n'
        'message["Subject"] = "Hello"\n'
        f"{named}"
        'message.set_content("Hello.")\n\n'
        f'with smtplib.{opened}("{door.host}", {door.port}) as relay:\n'
        f"{secured}"
        f'    relay.login("SMTP_Injection", "{KEY}")\n'
        "    relay.send_message(message)"
    )
    return Example("Python", text)


def _curl(base_url: str, sender: str, pool: str) -> Example:
    body = {
        **({"options": {"ip_pool": pool}} if pool else {}),
        "recipients": [{"address": _TO}],
        "content": {"from": sender, "subject": "Hello", "text": "Hello."},
    }
    parts = ",\n      ".join(f"{json.dumps(name)}: {json.dumps(value)}" for name, value in body.items())
    lines = [
        f"curl {base_url}/api/v1/transmissions",
        f"-H 'Authorization: {KEY}'",
        "-H 'Content-Type: application/json'",
        f"-d '{{{parts}}}'",
    ]
    return Example("REST with curl", " \\\n  ".join(lines))
