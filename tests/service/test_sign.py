"""Which domain a message is from: its key signs, and its owner may say who sends."""

import pytest

from relay.accept.sign import sending_domain_of
from relay.domain.address import normalise_domain
from relay.mail.headers import fields_of


@pytest.mark.parametrize(
    "domain", ["ΒΌΛΟΣ.test", "ΣΑΣ.test", "βόλος.test", "Straße.test", "ＡＢ.test", "ACME.test"]
)
def test_the_domain_of_from_is_the_one_that_the_directory_knows(domain: str) -> None:
    """In one form as everywhere: a sigma at the end of a word is another letter (RFC 5895 §2)."""
    assert sending_domain_of(fields_of(f"From: a@{domain}\r\n".encode())) == normalise_domain(domain)


@pytest.mark.parametrize(
    ("value", "domain"), [("a@PAY\u200dPAL.test", "pay\u200dpal.test"), ("a@-X-", "-x-"), ("nobody", "")]
)
def test_a_domain_of_from_that_is_none_is_told_and_equals_none(value: str, domain: str) -> None:
    assert sending_domain_of(fields_of(f"From: {value}\r\n".encode())) == domain
