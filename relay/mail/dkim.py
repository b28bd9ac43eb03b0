"""DKIM signatures for what leaves: rsa-sha256, relaxed/relaxed (RFC 6376), nothing else."""

import base64
import hashlib
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from relay.mail.headers import Field, fields_of

_SEALED = frozenset(
    (
        *("from", "to", "subject", "date", "cc", "reply-to", "sender"),
        *("mime-version", "content-type", "list-unsubscribe"),
    )
)
"""Named once more than they occur: nobody can add one below our signature (RFC 6376 §8.15)."""
_SIGNED = (
    "from",
    "to",
    "subject",
    "date",
    "cc",
    "reply-to",
    "sender",
    "message-id",
    "in-reply-to",
    "references",
    "mime-version",
    "content-type",
    "content-transfer-encoding",
    "list-id",
    "list-unsubscribe",
    "list-unsubscribe-post",
)
"""What says who wrote what to whom (RFC 6376 §5.4.1). Never Bcc: the copies differ by it."""
SIGNED_FIELDS = ":".join(_SIGNED)
"""As the API tells it."""

_MIN_BITS, _MAX_BITS = 1024, 4096
_LINE = 72
_PIECE = 256 * 1024
_SPACE = re.compile(rb"[ \t\r\n]+")
_EMPTY_LINES_BACKWARDS = re.compile(rb"(?:\n\r)*+")
_PADDING, _HASH = padding.PKCS1v15(), hashes.SHA256()


class UnusableKey(ValueError):
    """The text is no RSA key that we sign with; str() says why."""


@dataclass(frozen=True, slots=True)
class Signer:
    """In whose name a signature is made: the record `selector._domainkey.domain` has the public key."""

    domain: str
    """Lower-case A-labels."""
    selector: str
    private: str = field(repr=False)
    """PKCS #8 in DER in base64, of a key that `check_key` or `encode_key` made."""


# ── keys ─────────────────────────────────────────────────────────────────────────────────


def encode_key(key: rsa.RSAPrivateKey) -> tuple[str, str]:
    """The private and the public half as we keep them: base64 of PKCS #8, and of SubjectPublicKeyInfo."""
    private = key.private_bytes(
        serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    public = key.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return base64.b64encode(private).decode(), base64.b64encode(public).decode()


def check_key(text: str) -> tuple[str, str]:
    """The halves of a private key that somebody supplied: PEM, or its base64 alone. Takes 50 ms.

    Raises UnusableKey.
    """
    inner = "".join(line for line in text.splitlines() if not line.startswith("-----"))
    try:
        der = base64.b64decode("".join(inner.split()), validate=True)
        key = serialization.load_der_private_key(der, None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise UnusableKey("not a private key") from None
    if not isinstance(key, rsa.RSAPrivateKey):
        raise UnusableKey("not an RSA key")
    if not _MIN_BITS <= key.key_size <= _MAX_BITS:
        raise UnusableKey(f"not between {_MIN_BITS} and {_MAX_BITS} bits")
    return encode_key(key)


@lru_cache(maxsize=1024)
def _loaded(private: str) -> rsa.RSAPrivateKey:
    """Checked when it was taken: the check costs a hundred signatures."""
    key = serialization.load_der_private_key(
        base64.b64decode(private), None, unsafe_skip_rsa_key_validation=True
    )
    assert isinstance(key, rsa.RSAPrivateKey)
    return key


# ── the record ───────────────────────────────────────────────────────────────────────────


def record(public: str) -> str:
    """The TXT record for a public key."""
    return f"v=DKIM1; k=rsa; h=sha256; p={public}"


def is_record_of(text: str, public: str) -> bool:
    """Whether a TXT record, its strings joined, lets that key verify our signatures (RFC 6376 §3.6.1)."""
    tags: dict[str, str] = {}
    for tag in text.split(";"):
        name, _, value = tag.partition("=")
        tags.setdefault(name.strip(), "".join(value.split()))
    return (
        tags.get("v", "DKIM1") == "DKIM1"
        and tags.get("k", "rsa") == "rsa"
        and "sha256" in tags.get("h", "sha256").split(":")
        and tags.get("p") == public
    )


# ── signing ──────────────────────────────────────────────────────────────────────────────


def body_hash(body: bytes) -> str:
    """The `bh=` of a body with CRLF lines, in the relaxed form (RFC 6376 §3.4.4).

    A megabyte takes 15 ms: not for an event loop.
    """
    hashed = hashlib.sha256()
    for piece in _relaxed_body(body):
        hashed.update(piece)
    return base64.b64encode(hashed.digest()).decode()


def signature_field(header: bytes, hashed_body: str, signer: Signer, now: datetime) -> bytes:
    """`DKIM-Signature:` for a header section and the body of that hash; it goes anywhere above them.

    Fields that are in the section neither by one of our names nor twice may still be added.
    """
    names, signed = _chosen(fields_of(header))
    unsigned = (
        f"DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/relaxed; d={signer.domain};\r\n"
        f" s={signer.selector}; t={int(now.timestamp())};\r\n"
        f" h={_folded(names)};\r\n"
        f" bh={hashed_body};\r\n"
        " b="
    ).encode()
    own = _relaxed(b"dkim-signature", unsigned.partition(b":")[2])
    signature = _loaded(signer.private).sign(b"".join((*signed, own)), _PADDING, _HASH)
    text = base64.b64encode(signature)
    lines = [text[start : start + _LINE] for start in range(0, len(text), _LINE)]
    return unsigned + b"\r\n ".join(lines) + b"\r\n"


def _chosen(fields: Sequence[Field]) -> tuple[list[str], list[bytes]]:
    """The names for `h=`, and the fields that they stand for: of equal names the lowest first (§5.4.2)."""
    found: dict[str, list[Field]] = {}
    for field_ in fields:
        found.setdefault(field_.name, []).append(field_)
    names: list[str] = []
    signed: list[bytes] = []
    for name in _SIGNED:
        for field_ in reversed(found.get(name, ())):
            names.append(name)
            signed.append(_relaxed(name.encode(), field_.value) + b"\r\n")
        if name in _SEALED:
            names.append(name)
    return names, signed


def _relaxed(name: bytes, value: bytes) -> bytes:
    """A field without its last CRLF in the relaxed form (§3.4.2)."""
    return name + b":" + _SPACE.sub(b" ", value).strip(b" ")


def _relaxed_body(body: bytes) -> Iterator[bytes]:
    """The body in the relaxed form, piece by piece; empty lines at its end are none of it."""
    empty_lines, has_text = 0, False
    for piece in _cut(body):
        lines = _relaxed_lines(piece)
        text = lines.rstrip(b"\r\n")
        ending = _EMPTY_LINES_BACKWARDS.match(lines[len(text) :][::-1])
        octets = ending.end() if ending else 0
        if octets < len(lines):
            yield b"\r\n" * empty_lines
            yield lines[: len(lines) - octets]
            empty_lines, has_text = 0, True
        empty_lines += octets // 2
    if has_text:
        yield b"\r\n"


def _cut(body: bytes) -> Iterator[bytes]:
    """Whole lines, some hundred KiB at a time: nobody else runs while octets are replaced."""
    start = 0
    while len(body) - start > _PIECE:
        end = body.rfind(b"\r\n", start, start + _PIECE)
        if end < 0 and (end := body.find(b"\r\n", start + _PIECE - 1)) < 0:
            break
        yield body[start : end + 2]
        start = end + 2
    yield body[start:]


def _relaxed_lines(lines: bytes) -> bytes:
    """With one space for all white space in a row, and none at the end of a line."""
    lines = lines.replace(b"\t", b" ")
    while b"  " in lines:
        lines = lines.replace(b"  ", b" ")
    lines = lines.replace(b" \r\n", b"\r\n")
    return lines.removesuffix(b" ")


def _folded(names: Iterable[str]) -> str:
    """The names with colons between them; a line does not grow with their number."""
    return "".join(_folds(names))


def _folds(names: Iterable[str]) -> Iterator[str]:
    width = 0
    for position, name in enumerate(names):
        if position:
            yield ":"
            if width > _LINE - len(name):
                yield "\r\n  "
                width = 0
        yield name
        width += len(name) + 1
