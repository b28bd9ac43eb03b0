"""Handing in one message by SMTP, as a test's client does."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import aiosmtplib

TIMEOUT_S = 20


class InjectionRefusedError(Exception):
    """The relay did not take the message; `code` and `text` are its reply."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(f"{code} {text}")
        self.code, self.text = code, text


async def inject_by_smtp(
    address: tuple[str, int],
    login: tuple[str, str] | None,
    mail_from: str,
    recipients: Sequence[str],
    content: bytes,
) -> str:
    """One transaction on a connection of its own, in clear text; the text of the reply to DATA.

    login: None for a client that is trusted. All recipients or none: the first that is refused
    ends it. Raises InjectionRefusedError; aiosmtplib's own errors when the connection is lost.
    """
    host, port = address
    client = aiosmtplib.SMTP(hostname=host, port=port, start_tls=False, timeout=TIMEOUT_S)
    try:
        async with client:
            if login is not None:
                await client.login(*login)
            await client.mail(mail_from)
            for recipient in recipients:
                await client.rcpt(recipient)
            return (await client.data(content)).message
    except aiosmtplib.SMTPResponseException as error:
        raise InjectionRefusedError(error.code, error.message) from error


def compose_mail(
    to: str,
    mail_from: str = "sender@acme.test",
    *,
    ip_pool: str | None = None,
    msys: Mapping[str, object] | str | None = None,
    headers: Mapping[str, str] | None = None,
    text: str = "Hello.\r\n",
) -> bytes:
    """A small message. X-MSYS-API stands in it only when something is asked for.

    msys: the object, or the value of the field verbatim; ip_pool goes into its options.
    """
    fields = {"From": mail_from or "robot@acme.test", "To": to, "Subject": "Hello"}
    value = msys if isinstance(msys, str) else _with_pool(msys, ip_pool)
    if value is not None:
        fields["X-MSYS-API"] = value
    fields.update(headers or {})
    head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    return (head + "\r\n" + text).encode()


def _with_pool(msys: Mapping[str, object] | None, ip_pool: str | None) -> str | None:
    if msys is None and ip_pool is None:
        return None
    value: dict[str, Any] = dict(msys or {})
    if ip_pool is not None:
        value["options"] = {**value.get("options", {}), "ip_pool": ip_pool}
    return json.dumps(value)
