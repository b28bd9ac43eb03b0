"""Who may speak for which domain (docs/rules.md#mail-by-smtp), and mail that goes in circles."""

import pytest

from relay.domain.events import PolicyRejection
from relay.sink.fake_mta import FakeMta
from relay.testing.harness import RelayHarness
from relay.testing.injection import InjectionRefusedError
from relay.testing.lab import lab_directory

TO = "bob@gmail.example"
DOMAINS = """
[[account.sending_domain]]
domain = "acme.test"
[[account.sending_domain]]
domain = "all.test"
shared_with_subaccounts = true
[[account.sending_domain]]
domain = "joe.test"
subaccount = 123
"""


@pytest.fixture
def relay_directory() -> str:
    """The lab; Acme lists sending domains, and so may send from no other."""
    before, found, behind = lab_directory().partition("# Birch")
    assert found
    return before + DOMAINS + found + behind


@pytest.mark.parametrize(
    ("subaccount", "sender"),
    [
        pytest.param(None, "news@acme.test", id="the account's own"),
        pytest.param(None, "News <news@ACME.test>", id="whatever the case"),
        pytest.param(None, "news@all.test", id="the account's, though shared"),
        pytest.param(123, "joe@all.test", id="shared with the subaccount"),
        pytest.param(123, "joe@joe.test", id="the subaccount's own"),
    ],
)
async def test_mail_from_a_domain_of_ones_own_is_sent(
    relay: RelayHarness, mta: FakeMta, subaccount: int | None, sender: str
) -> None:
    await relay.inject(TO, subaccount=subaccount, headers={"From": sender})
    assert await relay.quiet() == []
    assert len(mta.accepted) == 1


@pytest.mark.parametrize(
    ("subaccount", "message", "domain"),
    [
        pytest.param(None, b"From: a@other.test\r\n", "other.test", id="nobody's"),
        pytest.param(None, b"From: a@sub.acme.test\r\n", "sub.acme.test", id="a domain below"),
        pytest.param(None, b"From: a@joe.test\r\n", "joe.test", id="a subaccount's"),
        pytest.param(123, b"From: a@acme.test\r\n", "acme.test", id="the account's, not shared"),
        pytest.param(124, b"From: a@joe.test\r\n", "joe.test", id="another subaccount's"),
        pytest.param(None, b"Subject: x\r\n", "", id="no From"),
        pytest.param(None, b"From: a@acme.test\r\nFrom: a@other.test\r\n", "", id="two From fields"),
        pytest.param(None, b"From: a@acme.test, b@other.test\r\n", "", id="two domains in one"),
    ],
)
async def test_mail_from_another_domain_is_refused_and_told(
    relay: RelayHarness, mta: FakeMta, subaccount: int | None, message: bytes, domain: str
) -> None:
    with pytest.raises(InjectionRefusedError) as refused:
        await relay.inject(TO, subaccount=subaccount, message=message + b"\r\nHello.\r\n")
    assert str(refused.value) == f"550 5.7.1 Unconfigured Sending Domain <{domain}>"
    assert await relay.queue() == []
    assert mta.attempts == []
    (told,) = await relay.inside.store.events.recent(10)
    assert isinstance(told.event, PolicyRejection)
    assert told.event.raw_reason == str(refused.value)


async def test_an_account_that_lists_no_domain_may_send_from_any(relay: RelayHarness, mta: FakeMta) -> None:
    await relay.inject(TO, account=3, ip_pool="promo", headers={"From": "a@other.test"})
    assert await relay.quiet() == []
    assert len(mta.accepted) == 1


@pytest.mark.parametrize(("hops", "is_sent"), [pytest.param(100, True), pytest.param(101, False)])
async def test_mail_that_passed_more_than_100_servers_is_a_loop(
    relay: RelayHarness, mta: FakeMta, hops: int, is_sent: bool
) -> None:
    message = b"Received: by somebody\r\n" * hops + b"From: a@acme.test\r\n\r\nHello.\r\n"
    if is_sent:
        await relay.inject(TO, message=message)
    else:
        with pytest.raises(InjectionRefusedError, match=r"^554 5\.4\.6 mail loop detected$"):
            await relay.inject(TO, message=message)
    assert await relay.quiet() == []
    assert len(mta.accepted) == is_sent
