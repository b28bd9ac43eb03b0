"""One connection of the fake next hop: the server's side of SMTP, with its orders consulted at each step."""

import asyncio
import re
import ssl
from base64 import b64decode
from typing import cast

from relay.domain.reply import Phase
from relay.sink.orders import Act, Attempt, Orders

_MAX_LINE = 8192
_PATH = re.compile(r'\s*<((?:"(?:[^"\\]|\\.)*"|[^>"])*)>\s*(.*)')


class SinkConnection(asyncio.Protocol):
    """The server's end."""

    def __init__(self, orders: Orders, logins: list[tuple[str, str]], others: "set[SinkConnection]") -> None:
        self._orders, self._logins, self._open = orders, logins, others
        self._transport: asyncio.Transport
        self._buffer = bytearray()
        self._out: list[bytes] = []
        self.peer_ip = self._ehlo = self._username = ""
        self._is_tls = self._is_shaking_hands = self._is_deaf = False
        self._number = self._messages = 0
        self._auth_steps: list[str] | None = None
        self._in_body = False
        self._searched = 0
        self._reset()

    # ── the connection ───────────────────────────────────────────────────────────────────

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self.peer_ip = str(transport.get_extra_info("peername")[0])
        self._orders.connections += 1
        self._number = self._orders.connections
        self._open.add(self)
        limit = self._orders.max_connections
        if limit is not None and len(self._open) > limit:
            self._say("421 4.7.0 Too many connections")
        else:
            for phase in (Phase.CONNECT, Phase.GREETING):
                if self._orders.acts.get(phase):
                    said = self._answer(phase, "")
                    if said and not said.startswith("220"):
                        self.close()
                    break
            else:
                self._say(f"220 {self._orders.hostname} ESMTP")
        self._flush()

    def data_received(self, data: bytes) -> None:
        if self._is_deaf:
            return
        self._buffer += data
        if not self._is_shaking_hands:
            self._listen()

    def _listen(self) -> None:
        while not self._is_deaf and (self._take_content() if self._in_body else self._take_line()):
            pass
        self._flush()

    def connection_lost(self, exc: Exception | None) -> None:
        self._open.discard(self)
        self._conclude("")

    def close(self) -> None:
        """Say what is to be said and hang up."""
        self._is_deaf = True
        self._flush()
        if self._orders.delay_s:
            asyncio.get_running_loop().call_later(self._orders.delay_s, self._transport.close)
        else:
            self._transport.close()

    def say_unasked(self, reply: str) -> None:
        self._say(reply)
        self._flush()

    # ── speaking ─────────────────────────────────────────────────────────────────────────

    def _answer(self, phase: Phase, reply: str) -> str:
        """Say reply, or what the orders put in its place; returns it, "" for silence and for garbage."""
        act = self._orders.act_at(phase) if self._orders.acts else None
        match act:
            case None:
                said = reply
            case str():
                said = act
            case bytes():
                self._out.append(act)
                return ""
            case Act.HANG:
                self._flush()
                self._is_deaf = True
                self._conclude("")
                return ""
            case Act.DROP:
                self._conclude("")
                self.close()
                return ""
        self._say(said)
        return said

    def _say(self, reply: str) -> None:
        self._out.append(reply.encode("utf-8", "surrogateescape") + b"\r\n")
        if reply.startswith("421"):
            self._conclude(reply)
            self.close()

    def _flush(self) -> None:
        if not self._out:
            return
        octets = b"".join(self._out)
        self._out.clear()
        if self._orders.delay_s:
            asyncio.get_running_loop().call_later(self._orders.delay_s, self._transport.write, octets)
        elif not self._transport.is_closing():
            self._transport.write(octets)

    # ── commands ─────────────────────────────────────────────────────────────────────────

    def _take_line(self) -> bool:
        end = self._buffer.find(b"\n")
        if end < 0:
            if len(self._buffer) > _MAX_LINE:
                self._say("500 5.5.2 Line too long")
                self.close()
            return False
        line = bytes(self._buffer[:end]).rstrip(b"\r").decode("utf-8", "surrogateescape")
        del self._buffer[: end + 1]
        if self._buffer:
            self._orders.pipelined += 1
        if self._auth_steps is not None:
            self._take_credentials(line)
            return True
        verb, _, argument = line.partition(" ")
        match verb.upper():
            case "MAIL":
                self._mail(argument)
            case "RCPT":
                self._rcpt(argument)
            case "DATA":
                self._data()
            case "EHLO":
                self._say_hello(argument)
            case "HELO":
                self._ehlo = argument
                self._say(f"250 {self._orders.hostname}")
            case "STARTTLS" if self._orders.tls is not None and not self._is_tls:
                self._start_tls(self._orders.tls)
            case "AUTH" if self._orders.credentials is not None:
                self._auth(argument)
            case "RSET":
                self._conclude("")
                self._say("250 2.0.0 Ok")
            case "NOOP":
                self._say("250 2.0.0 Ok")
            case "QUIT":
                self._conclude("")
                self._say("221 2.0.0 Bye")
                self.close()
            case _:
                self._say("500 5.5.2 Command unknown")
        return True

    def _say_hello(self, name: str) -> None:
        self._conclude("")
        self._ehlo = name
        lines = [self._orders.hostname, *self._orders.extensions]
        if self._orders.tls is not None and not self._is_tls:
            lines.append("STARTTLS")
        if self._orders.credentials is not None:
            lines.append("AUTH PLAIN LOGIN")
        separators = ["-"] * (len(lines) - 1) + [" "]
        self._answer(
            Phase.EHLO, "\r\n".join(f"250{mark}{line}" for mark, line in zip(separators, lines, strict=True))
        )

    def _start_tls(self, context: ssl.SSLContext) -> None:
        # Nothing that came in clear text may count after the handshake (RFC 3207 §4.2).
        self._buffer.clear()
        if not self._answer(Phase.STARTTLS, "220 2.0.0 Go ahead").startswith("220"):
            return
        self._is_shaking_hands = True
        self._transport.pause_reading()
        self._flush()
        assert self._orders.tasks is not None
        self._orders.tasks.create_task(self._shake_hands(context), name=f"TLS with {self.peer_ip}")

    async def _shake_hands(self, context: ssl.SSLContext) -> None:
        loop = asyncio.get_running_loop()
        try:
            transport = await loop.start_tls(self._transport, self, context, server_side=True)
        except (OSError, ssl.SSLError):
            self._transport.abort()
            return
        if transport is None:
            return
        self._transport, self._is_tls, self._ehlo = transport, True, ""
        # The client's next command may have come with the end of its handshake.
        self._is_shaking_hands = False
        self._listen()

    def _auth(self, argument: str) -> None:
        mechanism, _, initial = argument.partition(" ")
        if mechanism.upper() not in {"PLAIN", "LOGIN"}:
            self._say("504 5.5.4 Mechanism unknown")
            return
        self._auth_steps = [mechanism.upper()]
        if initial:
            self._take_credentials(initial)
        else:
            self._say("334 " if mechanism.upper() == "PLAIN" else "334 VXNlcm5hbWU6")

    def _take_credentials(self, line: str) -> None:
        steps = self._auth_steps
        assert steps is not None
        try:
            steps.append(b64decode(line, validate=True).decode())
        except ValueError:
            self._auth_steps = None
            self._say("501 5.5.2 Not base64")
            return
        if steps[0] == "LOGIN" and len(steps) == 2:
            self._say("334 UGFzc3dvcmQ6")
            return
        self._auth_steps = None
        parts = steps[1].split("\0") if steps[0] == "PLAIN" else ["", *steps[1:]]
        if len(parts) != 3:
            self._say("501 5.5.2 Not PLAIN")
            return
        _, username, password = parts
        self._logins.append((username, password))
        is_right = (self._orders.credentials or {}).get(username) == password
        said = self._answer(Phase.AUTH, "235 2.7.0 Welcome" if is_right else "535 5.7.8 Wrong credentials")
        self._username = username if said.startswith("235") else ""

    # ── a transaction ────────────────────────────────────────────────────────────────────

    def _reset(self) -> None:
        self._mail_from: str | None = None
        self._parameters = ""
        self._refusal = ""
        self._is_refusal_told = False
        self._recipients: list[str] = []
        self._rcpt_parameters: dict[str, str] = {}
        self._final = ""
        self._content = b""

    def _mail(self, argument: str) -> None:
        match = _PATH.fullmatch(argument[5:]) if argument[:5].upper() == "FROM:" else None
        if not self._ehlo or self._recipients or (self._mail_from is not None and not self._refusal):
            self._say("503 5.5.1 Bad sequence of commands")
            return
        if match is None:
            self._say("501 5.5.4 Bad MAIL FROM")
            return
        self._conclude("")
        self._mail_from, self._parameters = match[1], match[2]
        reply = "250 2.1.0 Ok"
        if self._orders.credentials is not None and not self._username:
            reply = "530 5.7.0 Authentication required"
        elif (scripted := self._orders.by_ip.get(self.peer_ip)) is not None:
            reply = scripted.next()
        elif self._orders.max_size:
            size = re.search(r"(?i)\bSIZE=(\d+)", self._parameters)
            if size and int(size[1]) > self._orders.max_size:
                reply = "552 5.3.4 Too big"
        said = self._answer(Phase.MAIL, reply)
        if said and not said.startswith("2") and self._mail_from is not None:
            self._refusal = said

    def _rcpt(self, argument: str) -> None:
        match = _PATH.fullmatch(argument[3:]) if argument[:3].upper() == "TO:" else None
        if self._mail_from is None:
            self._say("503 5.5.1 MAIL first")
            return
        if match is None:
            self._say("501 5.5.4 Bad RCPT TO")
            return
        recipient = match[1]
        self._rcpt_parameters[recipient] = match[2]
        if self._refusal:
            self._is_refusal_told = True
            self._tell(recipient, self._refusal)
            self._say("503 5.5.1 MAIL first")
            return
        limit = self._orders.max_recipients
        reply = self._orders.reply_to(self.peer_ip, recipient)
        if limit is not None and len(self._recipients) >= limit:
            reply = "452 4.5.3 Too many recipients"
        if reply is not None and reply.startswith("2"):
            self._final, reply = self._final or reply, None
        self._recipients.append(recipient)
        said = self._answer(Phase.RCPT, reply or "250 2.1.5 Ok")
        if self._recipients and not said.startswith("2"):
            self._recipients.pop()
            self._tell(recipient, said)

    def _data(self) -> None:
        if self._mail_from is None or self._refusal:
            self._say("503 5.5.1 MAIL first")
            return
        reply = "354 Go ahead" if self._recipients else "554 5.5.1 No valid recipients"
        said = self._answer(Phase.DATA, reply)
        if said.startswith("354"):
            self._in_body, self._searched = True, 0
        elif not self._is_deaf:
            self._conclude(said)

    def _take_content(self) -> bool:
        limit = self._orders.drop_in_body
        if limit is not None and len(self._buffer) >= limit:
            self._in_body = False
            self._conclude("")
            self.close()
            return False
        if self._buffer.startswith(b".\r\n"):
            content, rest = b"", 3
        else:
            end = self._buffer.find(b"\r\n.\r\n", self._searched)
            if end < 0:
                self._searched = max(0, len(self._buffer) - 4)
                if self._orders.max_size and len(self._buffer) > 2 * self._orders.max_size:
                    self._say("552 5.3.4 Too big")
                    self._conclude("552 5.3.4 Too big")
                    self.close()
                return False
            content, rest = bytes(self._buffer[: end + 2]), end + 5
        del self._buffer[:rest]
        self._in_body = False
        if b"\r\n." in content or content.startswith(b"."):
            content = (b"\r\n" + content).replace(b"\r\n.", b"\r\n")[2:]
        reply = self._final or "250 2.0.0 Ok"
        if self._orders.max_size and len(content) > self._orders.max_size:
            reply = "552 5.3.4 Too big"
        self._content = content
        self._conclude(self._answer(Phase.BODY, reply))
        self._messages += 1
        if self._messages == self._orders.closes_after:
            self.close()
        return True

    def _conclude(self, reply: str) -> None:
        """The transaction is over: tell of the recipients whose fate was open."""
        for recipient in self._recipients:
            self._tell(recipient, reply, self._content)
        if self._refusal and not self._is_refusal_told:
            self._tell("", self._refusal)
        self._reset()

    def _tell(self, recipient: str, reply: str, content: bytes = b"") -> None:
        self._orders.taken(
            Attempt(
                self.peer_ip,
                self._ehlo,
                self._is_tls,
                self._username,
                self._mail_from or "",
                self._parameters,
                recipient,
                reply,
                content,
                self._number,
                self._rcpt_parameters.get(recipient, ""),
            )
        )
