"""Programs and libraries that send mail: how each hands one message to a relay, by STARTTLS and with AUTH."""

import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

FROM, TO = "alice@acme.test", "bob@gmail.example"
SUBJECT = "Grüße aus Köln"
BODY = "Schöne Grüße\n.\n.a dot in front\n..and two\n\nThe end\n"
"""Every line that a client without dot-stuffing would lose, or end the message with."""


@dataclass(frozen=True)
class Errand:
    """One message on its way to one relay, whose certificate the client is to verify."""

    host: str
    port: int
    user: str
    password: str
    certificate: Path
    pool: str
    folder: Path

    @property
    def msys(self) -> str:
        """The value of X-MSYS-API."""
        return json.dumps({"options": {"ip_pool": self.pool}, "campaign_id": "clients"})

    @property
    def url_user(self) -> str:
        """The user name as it stands in a URL: that of a subaccount has a colon."""
        return quote(self.user, safe="")

    @property
    def message(self) -> str:
        """The whole message, for what does not compose one itself."""
        return (
            f"From: {FROM}\nTo: {TO}\nSubject: {SUBJECT}\nX-MSYS-API: {self.msys}\nMIME-Version: 1.0\n"
            f"Content-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: 8bit\n\n{BODY}"
        )

    @property
    def words(self) -> tuple[str, ...]:
        """For scripts: host, port, user, password, certificate, value of X-MSYS-API."""
        return (self.host, str(self.port), self.user, self.password, str(self.certificate), self.msys)


@dataclass(frozen=True)
class Run:
    """One call of a program."""

    words: tuple[str, ...]
    stdin: str = ""
    environment: Mapping[str, str] = field(default_factory=dict)


Program = Callable[[str], str]


def swaks(errand: Errand, program: Program) -> Run:
    server = ("--server", errand.host, "--port", str(errand.port), "--tls", "--tls-verify")
    login = ("--auth", "LOGIN", "--auth-user", errand.user, "--auth-password", errand.password)
    words = (*server, "--tls-ca-path", str(errand.certificate), *login, "--from", FROM, "--to", TO)
    return Run((program("swaks"), *words, "--data", "-"), errand.message)


def msmtp(errand: Errand, program: Program) -> Run:
    settings = errand.folder / "msmtprc"
    settings.write_text(
        f"account default\nhost {errand.host}\nport {errand.port}\nfrom {FROM}\nauth plain\n"
        f"user {errand.user}\npassword {errand.password}\n"
        f"tls on\ntls_starttls on\ntls_trust_file {errand.certificate}\n"
    )
    settings.chmod(0o600)
    return Run((program("msmtp"), "-C", str(settings), TO), errand.message)


def s_nail(errand: Errand, program: Program) -> Run:
    settings = (
        "v15-compat",
        f"mta=smtp://{errand.url_user}:{errand.password}@{errand.host}:{errand.port}",
        "smtp-use-starttls",
        "smtp-auth=plain",
        f"tls-ca-file={errand.certificate}",
        "tls-verify=strict",
        f"from={FROM}",
        "ttycharset=utf-8",
        "sendwait",
        f"DEAD={errand.folder / 'dead.letter'}",
    )
    told = tuple(word for setting in settings for word in ("-S", setting))
    header = ("-C", f"X-MSYS-API: {errand.msys}", "-s", SUBJECT, TO)
    return Run((program("s-nail"), "-:/", *told, *header), BODY)


def mutt(errand: Errand, program: Program) -> Run:
    settings = errand.folder / "muttrc"
    settings.write_text(
        f'set smtp_url="smtp://{errand.url_user}@{errand.host}:{errand.port}"\n'
        f'set smtp_pass="{errand.password}"\nset ssl_starttls=yes ssl_force_tls=yes\n'
        f'set certificate_file="{errand.certificate}" copy=no use_envelope_from=yes charset=utf-8\n'
        f"set from={FROM}\nmy_hdr X-MSYS-API: {errand.msys}\n",
        encoding="utf-8",
    )
    return Run((program("mutt"), "-n", "-F", str(settings), "-s", SUBJECT, "--", TO), BODY)


def git_send_email(errand: Errand, program: Program) -> Run:
    patch = errand.folder / "0001.patch"
    patch.write_text(f"From {'0' * 40} Mon Sep 17 00:00:00 2001\n{errand.message}", encoding="utf-8")
    connection = (
        f"--smtp-server={errand.host}",
        f"--smtp-server-port={errand.port}",
        "--smtp-encryption=tls",
    )
    login = (f"--smtp-user={errand.user}", f"--smtp-pass={errand.password}")
    envelope = (f"--from={FROM}", f"--to={TO}", "--suppress-cc=all", "--confirm=never", "--quiet")
    words = (*connection, *login, f"--smtp-ssl-cert-path={errand.certificate}", *envelope, str(patch))
    committer = ("-c", "user.name=Alice", "-c", f"user.email={FROM}")
    return Run((program("git"), *committer, "send-email", *words))


def curl(errand: Errand, program: Program) -> Run:
    content = errand.folder / "message"
    content.write_text(errand.message.replace("\n", "\r\n"), encoding="utf-8", newline="")
    server = f"{errand.host}:{errand.port}/client.example"
    connection = ("--ssl-reqd", "--cacert", str(errand.certificate))
    envelope = ("--mail-from", FROM, "--mail-rcpt", TO, "--upload-file", str(content))
    url = f"smtp://{errand.url_user}:{errand.password}@{server}"
    return Run((program("curl"), "-sS", *connection, *envelope, url))


def curl_v(errand: Errand, program: Program) -> Run:
    """What its user does who wants to know."""
    run = curl(errand, program)
    return Run((*run.words, "-v"))


def net_smtp(errand: Errand, program: Program) -> Run:
    return Run((program("perl"), "-e", NET_SMTP, *errand.words), errand.message)


def phpmailer(errand: Errand, program: Program) -> Run:
    return Run((program("php"), "-r", PHPMAILER, "--", *errand.words, FROM, TO, SUBJECT), BODY)


def nodemailer(errand: Errand, program: Program) -> Run:
    trust = {"NODE_PATH": "/usr/share/nodejs"}
    return Run((program("node"), "-e", NODEMAILER, *errand.words, FROM, TO, SUBJECT, BODY), environment=trust)


def django(errand: Errand, program: Program) -> Run:
    trust = {"SSL_CERT_FILE": str(errand.certificate)}
    return Run((sys.executable, "-c", DJANGO, *errand.words, FROM, TO, SUBJECT), BODY, trust)


NET_SMTP = """
use strict;
use Net::SMTP;
my ($host, $port, $user, $password, $certificate, undef) = @ARGV;
my $smtp = Net::SMTP->new($host, Port => $port, Timeout => 20) or die "no connection: $@";
sub taken { shift or die "refused: " . $smtp->code . " " . $smtp->message }
taken($smtp->starttls(SSL_ca_file => $certificate, SSL_verify_mode => 1));
taken($smtp->auth($user, $password));
taken($smtp->mail('alice@acme.test'));
taken($smtp->to('bob@gmail.example'));
taken($smtp->data);
taken($smtp->datasend(<STDIN>));
taken($smtp->dataend);
$smtp->quit;
"""

PHPMAILER = """
require '/usr/share/php/libphp-phpmailer/autoload.php';
[, $host, $port, $user, $password, $certificate, $msys, $from, $to, $subject] = $argv;
$mail = new PHPMailer\\PHPMailer\\PHPMailer(true);
$mail->isSMTP();
[$mail->Host, $mail->Port, $mail->SMTPAuth, $mail->SMTPSecure] = [$host, $port, true, 'tls'];
[$mail->Username, $mail->Password, $mail->CharSet] = [$user, $password, 'UTF-8'];
$mail->SMTPOptions = ['ssl' => ['cafile' => $certificate]];
$mail->setFrom($from);
$mail->addAddress($to);
$mail->addCustomHeader('X-MSYS-API', $msys);
[$mail->Subject, $mail->Body] = [$subject, stream_get_contents(STDIN)];
try {
    $mail->send();
} catch (Exception $refused) {
    echo 'exception: ', $refused->getMessage(), "\\n", 'ErrorInfo: ', $mail->ErrorInfo, "\\n";
    exit(1);
}
"""

NODEMAILER = """
const fs = require('fs');
const [host, port, user, pass, certificate, msys, from, to, subject, text] = process.argv.slice(1);
const mailer = require('nodemailer').createTransport({
  host, port, requireTLS: true, auth: {user, pass}, pool: true, tls: {ca: fs.readFileSync(certificate)},
});
mailer.sendMail({from, to, subject, text, headers: {'X-MSYS-API': msys}}).then(
  () => mailer.close(),
  error => { console.error(error.code, error.responseCode, error.message); process.exit(1); },
);
"""

DJANGO = """
import sys

import django
from django.conf import settings
from django.core.mail import EmailMessage

host, port, user, password, certificate, msys, sender, to, subject = sys.argv[1:]
settings.configure(
    EMAIL_HOST=host, EMAIL_PORT=port, EMAIL_USE_TLS=True, EMAIL_HOST_USER=user, EMAIL_HOST_PASSWORD=password
)
django.setup()
EmailMessage(subject, sys.stdin.read(), sender, [to], headers={"X-MSYS-API": msys}).send()
"""
