"""`relay check` and certificates: pairs that no listener can use, and those that clients will not believe."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from relay.testing.process import Printed
from tests.cli.conftest import Cli
from tests.cli.test_check import HTTP, Settings, judged, told

DAY = timedelta(days=1)


class Pair:
    """A certificate and its key, written into a folder."""

    def __init__(
        self,
        folder: Path,
        name: str = "site",
        *,
        begins: timedelta = -DAY,
        ends: timedelta = 90 * DAY,
        names: Sequence[str] = ("relay.test",),
        issuer: "Pair | None" = None,
        purpose: x509.ObjectIdentifier | None = None,
    ) -> None:
        """issuer: None for itself."""
        self.private = ec.generate_private_key(ec.SECP256R1())
        self.certificate, self.key = folder / f"{name}.crt", folder / f"{name}.key"
        now, subject = datetime.now(UTC), x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])  # noqa: TID251
        self.subject, signer = subject, issuer or self
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(signer.subject)
            .public_key(self.private.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now + begins)
            .not_valid_after(now + ends)
        )
        if names:
            known = [x509.IPAddress(ip_address(n)) if n[0].isdigit() else x509.DNSName(n) for n in names]
            builder = builder.add_extension(x509.SubjectAlternativeName(known), critical=False)
        if purpose is not None:
            builder = builder.add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
        self.pem = builder.sign(signer.private, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
        self.certificate.write_bytes(self.pem)
        self.key.write_bytes(self.key_pem(serialization.NoEncryption()))

    def key_pem(self, encryption: serialization.KeySerializationEncryption) -> bytes:
        form = serialization.PrivateFormat.PKCS8
        return self.private.private_bytes(serialization.Encoding.PEM, form, encryption)

    def is_followed_by(self, *others: "Pair") -> "Pair":
        """Its file holds them too."""
        self.certificate.write_bytes(b"".join(pair.pem for pair in (self, *others)))
        return self


def judged_with(cli: Cli, pair: Pair, section: str = "smtp") -> Printed:
    files = {"certificate": str(pair.certificate), "key": str(pair.key)}
    return judged(cli, {"": {"roles": HTTP}, section: files})


@pytest.mark.parametrize("section", ["smtp", "http"])
def test_a_key_of_another_certificate_names_both_files_and_the_remedy(cli: Cli, section: str) -> None:
    pair, other = Pair(cli.folder), Pair(cli.folder, "other")
    assert judged_with(cli, pair, section).err == ""
    pair.key = other.key
    printed = judged_with(cli, pair, section)
    line = (
        f"relay.toml: {section}.certificate: other.key is not the key of site.crt: expected the key that the"
    )
    line += " certificate was made for; after a renewal, name both of the same one"
    assert (printed.status, told(cli, printed)) == (2, [line])
    started = cli("run")
    assert (started.status, told(cli, started)) == (2, [line])


def test_what_is_no_pair_is_told_by_file(cli: Cli) -> None:
    pair = Pair(cli.folder)
    good = pair.key.read_bytes()
    for key, line in (
        (b"nothing", "site.key: expected a private key in PEM"),
        (
            pair.key_pem(serialization.BestAvailableEncryption(b"secret")),
            "site.key: expected a key without a passphrase: `openssl pkey -in site.key -out FILE` takes it"
            " off",
        ),
    ):
        pair.key.write_bytes(key)
        printed = judged_with(cli, pair)
        assert (printed.status, told(cli, printed)) == (2, [f"relay.toml: smtp.certificate: {line}"])
    pair.key.write_bytes(good)
    pair.certificate.write_bytes(Pair(cli.folder, "issuer").pem + pair.pem)
    (line,) = told(cli, judged_with(cli, pair))
    assert "site.crt: the certificate of site.key is not the first in it: put it before all others" in line
    pair.certificate.write_bytes(b"nothing")
    (line,) = told(cli, judged_with(cli, pair))
    assert line.endswith("site.crt: expected a certificate in PEM")


def test_the_pair_that_the_relay_made_is_judged_too(cli: Cli) -> None:
    for file, pair in zip(("relay.crt", "relay.key"), (Pair(cli.folder), Pair(cli.folder)), strict=True):
        (cli.folder / file).write_bytes(pair.pem if file.endswith("crt") else pair.key.read_bytes())
    printed = judged(cli, {})
    assert printed.status == 2
    assert "relay.key is not the key of " in printed.err
    remedy = (
        "the relay makes this pair itself: remove relay.crt and relay.key, and the next start makes a new one"
    )
    assert told(cli, printed)[0].endswith(f"; {remedy}")
    assert judged_with(cli, Pair(cli.folder)).status == 0, "nobody uses it"


@pytest.mark.parametrize(
    ("half", "content", "line"),
    [
        ("key", b"junk", "relay.key: expected a private key in PEM"),
        ("key", None, "relay.key: No such file or directory: expected a readable file"),
        (
            "key",
            Ed25519PrivateKey.generate().private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            ),
            "relay.key: expected an EC or RSA key",
        ),
        ("crt", b"junk", "relay.crt is there without its key, relay.key"),
    ],
)
def test_half_of_the_pair_that_the_relay_makes_is_judged(
    cli: Cli, half: str, content: bytes | None, line: str
) -> None:
    """None: a link that leads nowhere."""
    file = cli.folder / f"relay.{half}"
    if content is None:
        file.symlink_to(cli.folder / "gone")
    else:
        file.write_bytes(content)
    printed = judged(cli, {})
    line = f"relay.toml: store: {line}; the relay makes this pair itself: remove relay.{half}, and"
    line += " the next start makes a new one"
    assert (printed.status, told(cli, printed)) == (2, [line])
    started = cli("run")
    assert (started.status, told(cli, started)) == (2, [line])


def test_a_key_that_serves_is_kept_for_a_new_certificate(cli: Cli) -> None:
    (cli.folder / "relay.key").write_bytes(Pair(cli.folder).key.read_bytes())
    assert judged(cli, {}).status == 0


@pytest.mark.parametrize(
    ("begins", "ends", "names", "line"),
    [
        pytest.param(-9 * DAY, -DAY, ["relay.test"], "expired on ", id="expired"),
        pytest.param(-9 * DAY, 13 * DAY, ["relay.test"], "expires on ", id="soon"),
        pytest.param(DAY, 90 * DAY, ["relay.test"], "is not valid before ", id="not yet"),
        pytest.param(
            -DAY,
            90 * DAY,
            ["relay.example", "192.0.2.1"],
            "is for relay.example, 192.0.2.1, and clients come to relay.test: expected one for that name",
            id="another name",
        ),
        pytest.param(-DAY, 90 * DAY, ["*.relay.test"], "is for *.relay.test, and ", id="below the name"),
        pytest.param(-DAY, 90 * DAY, [], "is for no name, and ", id="no name"),
    ],
)
def test_what_clients_will_not_believe_is_a_warning(
    cli: Cli, begins: timedelta, ends: timedelta, names: list[str], line: str
) -> None:
    printed = judged_with(cli, Pair(cli.folder, begins=begins, ends=ends, names=names))
    (said,) = told(cli, printed)
    assert printed.status == 0
    assert said.startswith(f"warning: relay.toml: smtp.certificate: site.crt: {line}")


@pytest.mark.parametrize("names", [["relay.test"], ["RELAY.test"], ["*.test"], ["a.example", "relay.test"]])
def test_a_certificate_for_the_name_has_no_line(cli: Cli, names: list[str]) -> None:
    assert judged_with(cli, Pair(cli.folder, ends=15 * DAY, names=names)).err == ""


def test_http_goes_by_the_name_that_people_use(cli: Cli) -> None:
    pair = Pair(cli.folder, names=["relay.acme.org"])
    assert "clients come to relay.test" in judged_with(cli, pair, "http").err
    files = {"certificate": str(pair.certificate), "key": str(pair.key)}
    settings: Settings = {"": {"roles": HTTP}, "http": {**files, "public_url": "https://relay.acme.org:8443"}}
    assert judged(cli, settings).err == ""


def test_files_of_a_role_that_does_not_run_are_not_looked_at(cli: Cli) -> None:
    files = {"certificate": "none.crt", "key": "none.key"}
    assert judged(cli, {"http": files}).status == 0
    assert judged(cli, {"": {"roles": HTTP}, "http": files}).status == 2


# ── the way to a root ────────────────────────────────────────────────────────────────────


def test_a_certificate_without_its_issuer_is_told_by_both_names(cli: Cli) -> None:
    root = Pair(cli.folder, "Root")
    middle = Pair(cli.folder, "Middle", issuer=root)
    leaf = Pair(cli.folder, issuer=middle)
    start = "warning: relay.toml: smtp.certificate: site.crt: "
    remedy = "put that behind it, as in fullchain.pem"
    without = f"is there without its issuer, Middle, so that clients cannot go back to a root: {remedy}"
    assert told(cli, judged_with(cli, leaf)) == [start + without]
    wrong = f"was issued by Middle, and behind it stands Root, which did not: {remedy}"
    assert told(cli, judged_with(cli, leaf.is_followed_by(root))) == [start + wrong]
    namesake = Pair(cli.folder, "Middle", issuer=root)
    wrong = f"was issued by Middle, and behind it stands Middle, which did not: {remedy}"
    assert told(cli, judged_with(cli, leaf.is_followed_by(namesake))) == [start + wrong]
    for chain in ((middle,), (middle, root), (root, middle)):
        assert told(cli, judged_with(cli, leaf.is_followed_by(*chain))) == []
    assert f"{start}{without}".replace("smtp.", "http.") in told(
        cli, judged_with(cli, leaf.is_followed_by(), "http")
    )


def test_an_issuer_that_is_not_valid_now_is_told(cli: Cli) -> None:
    middle = Pair(cli.folder, "Middle", begins=-9 * DAY, ends=-DAY, issuer=Pair(cli.folder, "Root"))
    (said,) = told(cli, judged_with(cli, Pair(cli.folder, issuer=middle).is_followed_by(middle)))
    assert "site.crt: its issuer behind it, Middle, expired on " in said
    assert said.endswith(": put the renewed one there")
    middle = Pair(cli.folder, "Middle", begins=DAY, issuer=Pair(cli.folder, "Root"))
    (said,) = told(cli, judged_with(cli, Pair(cli.folder, issuer=middle).is_followed_by(middle)))
    assert "site.crt: its issuer behind it, Middle, is not valid before " in said


@pytest.mark.parametrize(
    ("purpose", "is_told"),
    [
        (ExtendedKeyUsageOID.CLIENT_AUTH, True),
        (ExtendedKeyUsageOID.SERVER_AUTH, False),
        (ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE, False),
    ],
)
def test_a_certificate_for_clients_alone_is_told(
    cli: Cli, purpose: x509.ObjectIdentifier, is_told: bool
) -> None:
    said = told(cli, judged_with(cli, Pair(cli.folder, purpose=purpose)))
    line = "site.crt: is not for servers (extendedKeyUsage without serverAuth): clients refuse it"
    assert said == ([f"warning: relay.toml: smtp.certificate: {line}"] if is_told else [])


# ── the pair that the relay makes ────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("ends", "names", "line"),
    [
        pytest.param(
            90 * DAY, ["former.test"], "is for former.test, and clients come to relay.test", id="name"
        ),
        pytest.param(-DAY, ["relay.test"], "expired on ", id="expired"),
        pytest.param(90 * DAY, ["relay.test", "localhost"], "", id="as it should be"),
    ],
)
@pytest.mark.parametrize("roles", [["smtp"], ["api"], ["egress"]])
def test_the_pair_that_the_relay_made_for_another_name_is_told_where_it_is_used(
    cli: Cli, roles: list[str], ends: timedelta, names: list[str], line: str
) -> None:
    Pair(cli.folder, "relay", begins=-9 * DAY, ends=ends, names=names)
    said = told(cli, judged(cli, {"": {"roles": roles}, "http": {"listen_tls": ["127.0.0.1:8443"]}}))
    if not line or roles == ["egress"]:
        assert said == []
    else:
        (said_of_it,) = said
        assert said_of_it.startswith(f"warning: relay.toml: store: relay.crt: {line}")
        assert said_of_it.endswith("remove both files of the pair, and the next start makes a new one")
