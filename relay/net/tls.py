"""TLS contexts for both directions, and the certificate of an installation that has none."""

import datetime
import os
import ssl
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import ip_address
from pathlib import Path
from tempfile import mkstemp
from typing import cast

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.x509.oid import NameOID

from relay.domain.route import TlsPolicy

_CERTIFICATE, _KEY = "relay.crt", "relay.key"
_USAGE = x509.KeyUsage(
    digital_signature=True,
    key_cert_sign=True,
    content_commitment=False,
    key_encipherment=False,
    data_encipherment=False,
    key_agreement=False,
    crl_sign=False,
    encipher_only=False,
    decipher_only=False,
)
"""A server's and, for clients that are given it, an authority's: Python 3.13 asks for it."""
_NOT_BEFORE = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)
_NOT_AFTER = datetime.datetime(2120, 1, 1, tzinfo=datetime.UTC)
"""Fixed: nobody can check a self-signed certificate, so that its age protects nobody."""


class UnusablePair(OSError):
    """Certificate and key that no listener can use; str() names the files and what to do."""


def server_context(certificate: Path, key: Path) -> ssl.SSLContext:
    """For listeners: TLS 1.2 and later. Raises UnusablePair when the files do not serve."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        # Without a word for it OpenSSL would ask the terminal for a passphrase, and wait.
        context.load_cert_chain(certificate, key, password=b"")
    except (OSError, ValueError) as error:
        raise UnusablePair(_why_unusable(certificate, key, error)) from error
    return context


class LivePair:
    """The pair of a listener, which may be replaced while it listens."""

    def __init__(self, certificate: Path, key: Path) -> None:
        """Raises UnusablePair."""
        self.certificate, self._key = certificate, key
        self.context = self._newest = server_context(certificate, key)
        """For the listener, for as long as it lives."""
        self.context.sni_callback = self._choose

    def reload(self) -> None:
        """Take the files as they are now for handshakes to come. Raises UnusablePair: the old pair stays."""
        self._newest = server_context(self.certificate, self._key)

    def _choose(self, connection: ssl.SSLSocket | ssl.SSLObject, _: str | None, __: ssl.SSLContext) -> None:
        """OpenSSL asks whether the client named a host or not."""
        connection.context = self._newest


def _why_unusable(certificate: Path, key: Path, error: Exception) -> str:
    try:
        chain = x509.load_pem_x509_certificates(certificate.read_bytes())
    except OSError as unread:
        return f"{certificate}: {unread.strerror}: expected a readable file"
    except ValueError:
        return f"{certificate}: expected a certificate in PEM"
    try:
        private = _private_in(key)
    except UnusablePair as unusable:
        return str(unusable)
    public = _octets_of(private.public_key())
    places = [at for at, part in enumerate(chain) if _octets_of(part.public_key()) == public]
    if not places:
        return (
            f"{key} is not the key of {certificate}: expected the key that the certificate was made for;"
            " after a renewal, name both of the same one"
        )
    if places[0] > 0:
        return f"{certificate}: the certificate of {key} is not the first in it: put it before all others"
    reason = getattr(error, "reason", None) or str(error)
    return f"{certificate} with {key}: OpenSSL refuses them: {reason}"


def _private_in(key: Path) -> PrivateKeyTypes:
    """Raises UnusablePair."""
    try:
        return serialization.load_pem_private_key(key.read_bytes(), None)
    except OSError as error:
        raise UnusablePair(f"{key}: {error.strerror}: expected a readable file") from error
    except TypeError as error:
        remedy = f"`openssl pkey -in {key} -out FILE` takes it off"
        raise UnusablePair(f"{key}: expected a key without a passphrase: {remedy}") from error
    except (ValueError, UnsupportedAlgorithm) as error:
        raise UnusablePair(f"{key}: expected a private key in PEM") from error


def _octets_of(key: object) -> bytes:
    public = cast(ec.EllipticCurvePublicKey, key)  # or of another kind, which has the method too
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return public.public_bytes(serialization.Encoding.DER, form)


@dataclass(frozen=True, slots=True)
class Certificate:
    """What clients judge a certificate by."""

    begins: datetime.datetime
    ends: datetime.datetime
    names: tuple[str, ...]
    """Host names, perhaps with `*` for the first label, and addresses."""

    def is_for(self, host: str) -> bool:
        """Whether a client that calls us so will take it (RFC 9525 §6.3)."""
        name = host.lower().rstrip(".")
        parent = "*." + name.partition(".")[2]
        return any(known.lower().rstrip(".") in (name, parent) for known in self.names)


def read_certificate(path: Path) -> Certificate:
    """The first of the file. Raises OSError, ValueError."""
    found = x509.load_pem_x509_certificates(path.read_bytes())[0]
    names: tuple[str, ...] = ()
    with suppress(x509.ExtensionNotFound):
        listed = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        addresses = listed.get_values_for_type(x509.IPAddress)
        names = (*listed.get_values_for_type(x509.DNSName), *map(str, addresses))
    return Certificate(found.not_valid_before_utc, found.not_valid_after_utc, names)


@lru_cache(maxsize=16)
def client_context(policy: TlsPolicy, cafile: Path | None = None) -> ssl.SSLContext:
    """For next hops: required is verified by name, with the system's trust or cafile; opportunistic is not.

    Made once for each: loading the system's trust takes tens of milliseconds.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if policy is TlsPolicy.REQUIRED:
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if cafile is None:
            context.load_default_certs(ssl.Purpose.SERVER_AUTH)
        else:
            context.load_verify_locations(cafile)
        return context
    # RFC 7435: any encryption is better than none.
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def self_signed_in(folder: Path) -> tuple[Path, Path]:
    """Where certificate and key of an installation without any are, or will be."""
    return folder / _CERTIFICATE, folder / _KEY


def check_self_signed(folder: Path) -> None:
    """Raises UnusablePair, with the remedy, when the pair in folder, or the half of one, does not serve."""
    certificate, key = self_signed_in(folder)
    there = [file for file in (certificate, key) if file.exists() or file.is_symlink()]
    try:
        if len(there) == 2:
            server_context(certificate, key)
        elif key in there:
            _signer_in(key)
        elif there:
            raise UnusablePair(f"{certificate} is there without its key, {key}")
    except UnusablePair as error:
        told = " and ".join(map(str, there))
        what = f"{error}; the relay makes this pair itself: remove {told}, and the next start makes a new one"
        raise UnusablePair(what) from error


def _signer_in(key: Path) -> ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey:
    """Raises UnusablePair."""
    private = _private_in(key)
    if not isinstance(private, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey):
        raise UnusablePair(f"{key}: expected an EC or RSA key")
    return private


def ensure_self_signed(folder: Path, hostname: str, *others: str) -> tuple[Path, Path]:
    """Certificate and key in folder, made when missing; the key is for its owner alone.

    hostname, others: whom clients that are given the certificate as authority may call us.
    Processes that start together agree on one pair: whoever comes second keeps the first's.
    Raises UnusablePair for a half that does not serve.
    """
    certificate, key = self_signed_in(folder)
    if certificate.exists() and key.exists():
        return certificate, key
    check_self_signed(folder)
    folder.mkdir(0o700, exist_ok=True)
    _write_once(key, _new_key())
    _write_once(certificate, _self_signed(_signer_in(key), (hostname, *others)))
    return certificate, key


def _new_key() -> bytes:
    return ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _self_signed(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey, hosts: Sequence[str]) -> bytes:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, hosts[0][:64])])
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(_NOT_BEFORE)
        .not_valid_after(_NOT_AFTER)
        .add_extension(x509.SubjectAlternativeName([_general_name(host) for host in hosts]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_USAGE, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def _general_name(hostname: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(hostname.strip("[]")))
    except ValueError:
        return x509.DNSName(hostname)


def _write_once(path: Path, content: bytes) -> None:
    """Whole, mode 0600, and only when there is none: link(2) does not replace."""
    descriptor, name = mkstemp(dir=path.parent, prefix=f".{path.name}.")
    temporary = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        try:
            path.hardlink_to(temporary)
        except FileExistsError:
            return
    finally:
        temporary.unlink()
