"""The conversation: EHLO, STARTTLS, AUTH, MAIL, RCPT, DATA (docs/rules.md#smtp-replies, RFC 5321)."""

import re
from collections.abc import Awaitable, Callable, Mapping

from relay import __version__
from relay.domain.directory import Principal
from relay.domain.errors import NotAuthenticated, Unavailable
from relay.ingress.auth import (
    Credentials,
    Identity,
    TooManyFailures,
    credentials_of,
    decode_base64,
    decode_plain,
)
from relay.ingress.commands import BAD_LINE, address_in, parse_mail, parse_rcpt, read_line
from relay.ingress.connection import FOREIGN, Connection
from relay.ingress.data import DataReader
from relay.ingress.intake import MailOrigin, Transaction, hand_in
from relay.ingress.refusal import Refusal, tell
from relay.ingress.replies import (
    FOREIGN_PROTOCOL,
    NO_ROOM,
    NOT_AUTHENTICATED,
    RELAYING_DENIED,
    TOO_LARGE,
    TOO_MANY_RECIPIENTS,
    Complaint,
)
from relay.ingress.surroundings import Surroundings
from relay.mail.trace import date_field

_MAX_ERRORS = 20
_MAX_IDLE_TALK = 100
"""Commands of a stranger that lead nowhere, before each counts as an error."""
_MAX_AUTH_FAILURES = 3

_FOREIGN = re.compile(
    rb"(?:GET|HEAD|POST|PUT|DELETE|CONNECT|OPTIONS|TRACE|PATCH|PRI|PROXY) "
    rb"|SSH-|[!-9;-~]+:|.* (?:HTTP|RTSP|SIP)/[0-9]",
    re.IGNORECASE,
)
"""Requests and fields of HTTP and its like, SSH, and PROXY headers.

What follows them may have been written by a stranger, as by a web page in a browser of a trusted network.
"""
_PROTOCOL = re.compile(r"(?:^| )(?:HTTP|RTSP|SIP)/[0-9]", re.IGNORECASE)
"""Behind verbs that SMTP has too, and that take any text."""
_BAD_SEQUENCE = "503 5.5.1 Bad sequence of commands"
_OF_ANY_TEXT = frozenset({"EHLO", "HELO", "HELP", "NOOP", "VRFY"})
_TOO_MANY_ERRORS = "421 4.7.0 Too many errors, closing connection"


class IngressSession(Connection):
    """One SMTP conversation with one client."""

    def __init__(self, around: Surroundings, is_encrypted: bool) -> None:
        super().__init__(around, is_encrypted)
        self._helo = ""
        self._is_extended = False
        self._identity = Identity(around.directory, around.settings.trusted, around.failures)
        self._transaction: Transaction | None = None
        self._errors = self._idle_talk = self._auth_failures = 0

    async def converse(self) -> None:
        around = self._around
        date = date_field(around.clock.now()).partition(b" ")[2].strip().decode()
        self._current_principal()
        self.say(f"220 2.0.0 {around.hostname} ESMTP relay/{__version__} {date}")
        while (line := await self.line()) is not None:
            await self._obey(line)

    async def _obey(self, line: bytes) -> None:
        try:
            verb, argument = read_line(line)
            command = _COMMANDS.get(verb)
            if command is None or (verb in _OF_ANY_TEXT and _PROTOCOL.search(argument)):
                raise Complaint("500 5.5.2 Command not recognised")
            await command(self, argument)
        except Complaint as complaint:
            if _FOREIGN.match(line):
                self._around.tally.tell(self._client, FOREIGN)
                self.hang_up(FOREIGN_PROTOCOL)
            else:
                self._complain(complaint.reply)
        except OSError:
            raise
        except Exception:  # noqa: BLE001 - top of a unit of work: one command
            reply = self.internal_error()
            self._tell(Refusal(reply, self._mail_from))
            self._transaction = None
            self.say(reply)

    def _complain(self, reply: str) -> None:
        self.say(reply)
        self._errors += 1
        if self._errors >= _MAX_ERRORS:
            self.hang_up(_TOO_MANY_ERRORS)

    def _answer_idle_talk(self, reply: str) -> None:
        """A stranger's commands that lead nowhere become errors when there are many."""
        self._idle_talk += not self._is_known
        if self._idle_talk > _MAX_IDLE_TALK:
            self._complain(reply)
        else:
            self.say(reply)

    # ── who is there ─────────────────────────────────────────────────────────────────────

    def _current_principal(self) -> Principal | None:
        principal = self._identity.principal(self._client)
        if self._is_known is (principal is None):
            self.know(principal is not None)
        return principal

    def _sender(self) -> Principal:
        """Whose mail it would be. Raises Complaint, and the log says why."""
        principal = self._current_principal()
        if principal is None:
            refusal = self._identity.refusal
            detail = f"reason={refusal.reason} {refusal.holder}".rstrip()
            self._around.tally.tell(self._client, "relaying denied", detail)
            self._tell(Refusal(RELAYING_DENIED, self._mail_from))
            raise Complaint(RELAYING_DENIED)
        return principal

    def _tell(self, refusal: Refusal) -> None:
        """Have whoever it was refused to told; strangers have no account."""
        if self._identity.last is not None:
            tell(self._around, self._identity.last, str(self._client), refusal)

    @property
    def _mail_from(self) -> str:
        return "" if self._transaction is None else self._transaction.mail_from

    async def helo(self, argument: str) -> None:
        self._greet(argument)
        self._is_extended = False
        self._answer_idle_talk(f"250 {self._around.hostname} says HELO to {self._address}")

    async def ehlo(self, argument: str) -> None:
        self._greet(argument)
        self._is_extended = True
        settings = self._around.settings
        lines = [f"{self._around.hostname} says EHLO to {self._address}"]
        if not self._is_encrypted:
            lines.append("STARTTLS")
        lines += ["ENHANCEDSTATUSCODES", "PIPELINING", "8BITMIME", "SMTPUTF8", "DSN"]
        if self._may_log_in:
            # The first form is for clients older than RFC 2554; SparkPost sends both.
            lines += ["AUTH=LOGIN PLAIN", "AUTH LOGIN PLAIN"]
        lines.append(f"SIZE {settings.max_message_bytes}")
        self._answer_idle_talk("\r\n".join([*(f"250-{line}" for line in lines[:-1]), f"250 {lines[-1]}"]))

    def _greet(self, argument: str) -> None:
        name = argument.strip(" ").partition(" ")[0]
        if not name:
            raise Complaint("501 5.5.4 Your host name is missing")
        self._helo = name
        self._transaction = None

    @property
    def _address(self) -> str:
        host = f"[{self._client}]" if self._client.version == 6 else str(self._client)
        return f"{host}:{self._client_port}"

    @property
    def _may_log_in(self) -> bool:
        return self._is_encrypted or self._around.settings.auth_without_tls

    async def starttls(self, argument: str) -> None:
        if argument:
            raise Complaint("501 5.5.4 STARTTLS takes no parameter")
        if self._is_encrypted:
            raise Complaint(_BAD_SEQUENCE)
        self.say("220 2.0.0 continue")
        await self.flush()
        await self.encrypt()
        # RFC 3207 §4.2: nothing that was said in clear counts.
        self._helo, self._is_extended, self._transaction = "", False, None
        self._identity.forget()
        self._current_principal()

    async def auth(self, argument: str) -> None:
        if not self._is_extended or self._identity.has_logged_in or self._transaction is not None:
            raise Complaint(_BAD_SEQUENCE)
        if not self._may_log_in:
            raise Complaint("538 5.7.11 Encryption required for requested authentication mechanism")
        if self._auth_failures >= _MAX_AUTH_FAILURES:
            self.hang_up("421 4.7.0 Too many failed authentications, closing connection")
            return
        self._auth_failures += 1
        mechanism, _, initial = argument.strip(" ").partition(" ")
        shown = await self._read_credentials(mechanism.upper(), initial.strip(" "))
        if shown is not None:
            await self._log_in(shown)

    async def _read_credentials(self, mechanism: str, initial: str) -> Credentials | None:
        """None when the client hung up meanwhile. Raises Complaint."""
        try:
            if mechanism == "PLAIN":
                message = await self._answer("334 ", initial)
                return None if message is None else decode_plain(message)
            if mechanism == "LOGIN":
                username = await self._answer("334 VXNlcm5hbWU6", initial)
                password = None if username is None else await self._answer("334 UGFzc3dvcmQ6", "")
                return None if username is None or password is None else credentials_of(username, password)
        except ValueError:
            self._tell_refusal("reason=malformed")
            raise Complaint("501 5.5.2 Authentication response not understood") from None
        raise Complaint("504 5.5.4 Authentication mechanism not supported")

    async def _answer(self, challenge: str, initial: str) -> bytes | None:
        """The client's answer, given unasked or to the challenge. Raises Complaint, ValueError."""
        if initial:
            return b"" if initial == "=" else decode_base64(initial)
        self.say(challenge)
        line = await self.line()
        if line is None:
            return None
        if line == b"*\r\n":
            raise Complaint("501 5.7.0 Authentication cancelled")
        if not line.endswith(b"\r\n"):
            raise Complaint(BAD_LINE)
        return decode_base64(line[:-2].decode("ascii"))

    async def _log_in(self, shown: Credentials) -> None:
        try:
            await self._identity.log_in(shown, self._client, self.loop.time())
        except TooManyFailures:
            self._tell_refusal("reason=too_many_tries")
            self.hang_up("421 4.7.0 Too many failed authentications, try again later")
            return
        except NotAuthenticated as error:
            self._tell_refusal(f"reason={error.reason} {error.holder}".rstrip())
            raise Complaint(NOT_AUTHENTICATED) from None
        except Unavailable:
            self._around.tally.tell(self._client, "login put off", "reason=store_unavailable")
            self.say("454 4.7.0 Temporary authentication failure")
            return
        self._auth_failures = 0
        self.know(True)
        self.say("235 2.0.0 Authed. Go on.")

    def _tell_refusal(self, detail: str) -> None:
        self._around.refusals.tell(self._client, "door=smtp", detail)

    # ── the transaction ──────────────────────────────────────────────────────────────────

    async def mail(self, argument: str) -> None:
        if not self._helo or self._transaction is not None:
            raise Complaint(_BAD_SEQUENCE)
        self._sender()
        try:
            mail = parse_mail(argument, self._is_extended)
        except Complaint as complaint:
            self._tell(Refusal(complaint.reply, address_in(argument)))
            raise
        too_large = mail.size_bytes > self._around.settings.max_message_bytes
        if too_large or mail.size_bytes > self._around.budget.room_bytes:
            reply = TOO_LARGE if too_large else NO_ROOM
            self._tell(Refusal(reply, mail.path))
            self.say(reply)
        else:
            self._transaction = Transaction(mail.path, mail.smtputf8, mail.eight_bit, mail.dsn_request)
            self.say("250 2.0.0 MAIL FROM accepted")

    async def rcpt(self, argument: str) -> None:
        self._sender()
        transaction = self._transaction
        if transaction is None:
            raise Complaint(_BAD_SEQUENCE)
        try:
            mailbox, request = parse_rcpt(
                argument,
                self._is_extended,
                transaction.smtputf8,
                self._around.postmaster,
                transaction.dsn_request,
            )
        except Complaint as complaint:
            # One bad address among many is the list's fault, not an attack: it counts as no error.
            refusal = Refusal(complaint.reply, transaction.mail_from, address_in(argument))
        else:
            if len(transaction.recipients) < self._around.settings.max_recipients:
                transaction.recipients.append(mailbox)
                transaction.requests.append(request)
                self.say("250 2.0.0 RCPT TO accepted")
                return
            refusal = Refusal(TOO_MANY_RECIPIENTS, transaction.mail_from, mailbox.text)
        self._tell(refusal)
        self.say(refusal.reply)

    async def rset(self, argument: str) -> None:
        if argument:
            raise Complaint("501 5.5.4 RSET takes no parameter")
        self._transaction = None
        self._answer_idle_talk("250 2.0.0 OK")

    async def data(self, argument: str) -> None:
        transaction, principal = self._transaction, self._sender()
        if transaction is None:
            raise Complaint(_BAD_SEQUENCE)
        if argument:
            raise Complaint("501 5.5.4 DATA takes no parameter")
        if not transaction.recipients:
            raise Complaint("554 5.5.1 No valid recipients")
        self.say('354 3.0.0 continue.  finished with "\\r\\n.\\r\\n"')
        settings = self._around.settings
        reader = DataReader(self._around.budget, settings.max_message_bytes)
        try:
            if await self._read_data(reader):
                self._transaction = None
                self._client_waits = True
                origin = self._origin(principal, transaction.smtputf8)
                reply = await hand_in(self._around, origin, transaction, reader, self.internal_error)
                if reply.startswith("2"):
                    self._errors = self._idle_talk = 0
                if reply.startswith("421"):
                    self.hang_up(reply)
                else:
                    self.say(reply)
        finally:
            reader.close()
            self._client_waits = False

    async def _read_data(self, reader: DataReader) -> bool:
        """Until the end of data; False when the client vanished before."""
        rest = self.unread_rest()
        behind = reader.feed(rest) if rest else None
        if behind is None:
            await self.flush()
            self._data_since = self.loop.time()
            try:
                while behind is None:
                    piece = await self.piece()
                    if not piece:
                        self.hang_up()
                        return False
                    behind = reader.feed(piece)
            finally:
                self._data_since = None
        self.put_back(behind)
        return True

    def _origin(self, principal: Principal, smtputf8: bool) -> MailOrigin:
        protocol = "SMTP"
        if self._is_extended:
            # RFC 3848, RFC 6531 §4.3.
            secured = ("S" if self._is_encrypted else "") + ("A" if self._identity.has_logged_in else "")
            protocol = ("UTF8SMTP" if smtputf8 else "ESMTP") + secured
        return MailOrigin(principal, str(self._client), self._helo, protocol)

    # ── the rest ─────────────────────────────────────────────────────────────────────────

    async def noop(self, argument: str) -> None:
        self._answer_idle_talk("250 2.0.0 OK")

    async def vrfy(self, argument: str) -> None:
        if not argument:
            raise Complaint("501 5.5.4 VRFY needs an address")
        self._answer_idle_talk("252 2.0.0 Cannot VRFY user, but will accept message and attempt delivery")

    async def help(self, argument: str) -> None:
        self._answer_idle_talk("214 2.0.0 EHLO HELO STARTTLS AUTH MAIL RCPT DATA RSET NOOP VRFY HELP QUIT")

    async def quit(self, argument: str) -> None:
        if argument:
            raise Complaint("501 5.5.4 QUIT takes no parameter")
        self.hang_up(f"221 2.3.0 {self._around.hostname} closing connection", at_once=True)

    async def not_implemented(self, argument: str) -> None:
        raise Complaint("502 5.5.1 Command not implemented")


_COMMANDS: Mapping[str, Callable[[IngressSession, str], Awaitable[None]]] = {
    "EHLO": IngressSession.ehlo,
    "HELO": IngressSession.helo,
    "STARTTLS": IngressSession.starttls,
    "AUTH": IngressSession.auth,
    "MAIL": IngressSession.mail,
    "RCPT": IngressSession.rcpt,
    "DATA": IngressSession.data,
    "RSET": IngressSession.rset,
    "NOOP": IngressSession.noop,
    "VRFY": IngressSession.vrfy,
    "HELP": IngressSession.help,
    "QUIT": IngressSession.quit,
    **dict.fromkeys(
        ("EXPN", "ETRN", "ATRN", "TURN", "SEND", "SOML", "SAML", "BDAT", "BURL"),
        IngressSession.not_implemented,
    ),
}
