"""Passwords as argon2id hashes, as the port `PasswordHasher` wants them."""

import base64
import os

from argon2 import PasswordHasher
from argon2.exceptions import HashingError, InvalidHashError, VerificationError, VerifyMismatchError

from relay.domain.errors import OverCapacity

PASSES, MEMORY_KIB, LANES = 3, 64 << 10, 1
"""RFC 9106 §4, second choice, but for the lanes: one, so that a hash takes one core."""
_SALT_BYTES, _HASH_BYTES = 16, 32


class Argon2Hasher:
    """`PasswordHasher`."""

    def __init__(self, passes: int = PASSES, memory_kib: int = MEMORY_KIB, lanes: int = LANES) -> None:
        self._argon2 = PasswordHasher(passes, memory_kib, lanes, _HASH_BYTES, _SALT_BYTES)
        salt, tag = (
            base64.b64encode(os.urandom(size)).decode().rstrip("=") for size in (_SALT_BYTES, _HASH_BYTES)
        )
        self._decoy = f"$argon2id$v=19$m={memory_kib},t={passes},p={lanes}${salt}${tag}"

    @property
    def decoy(self) -> str:
        """A hash that no password is known for: random octets with the present parameters."""
        return self._decoy

    def hash(self, password: str) -> str:
        """Raises OverCapacity when there is no memory for it."""
        try:
            return self._argon2.hash(_octets(password))
        except HashingError as error:
            raise OverCapacity from error

    def is_correct(self, stored: str, password: str) -> bool:
        """Raises OverCapacity when there is no memory for it."""
        try:
            return self._argon2.verify(stored, _octets(password))
        except (VerifyMismatchError, InvalidHashError):
            return False
        except VerificationError as error:
            raise OverCapacity from error

    def is_outdated(self, stored: str) -> bool:
        return self._argon2.check_needs_rehash(stored)


def _octets(password: str) -> bytes:
    """Of any text at all: what is no UTF-8 is no password, and no error either."""
    return password.encode("utf-8", "surrogatepass")
