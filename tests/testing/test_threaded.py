"""`relay_server`: a relay for code that blocks, as the tests of a Flask or Django project send mail."""

import json
import smtplib
import urllib.request
from email.message import EmailMessage
from pathlib import Path

import pytest

from relay.testing import ThreadedRelay
from relay.testing.lab import lab_directory


def _send(server: ThreadedRelay, to: str, pool: str = "marketing") -> None:
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = "shop@acme.test", to, "Your order"
    message["X-MSYS-API"] = json.dumps({"options": {"ip_pool": pool}})
    message.set_content("Thank you.")
    with smtplib.SMTP(*server.smtp_address, timeout=10) as client:
        client.login(server.user, server.key)
        client.send_message(message)


def _events(server: ThreadedRelay) -> list[str]:
    """Types of all events, by REST, newest first."""
    asked = urllib.request.Request(f"{server.api_url}/events/message", headers={"Authorization": server.key})
    with urllib.request.urlopen(asked, timeout=10) as answer:
        return [event["type"] for event in json.load(answer)["results"]]


def test_mail_of_smtplib_arrives_and_is_listed(relay_server: ThreadedRelay) -> None:
    _send(relay_server, "bob@example.com")
    _send(relay_server, "ann@example.com")
    assert relay_server.wait_until_quiet() == []
    assert {one.recipient for one in relay_server.arrived()} == {"ann@example.com", "bob@example.com"}
    (mine,) = relay_server.arrived("Bob@example.com")
    assert mine.peer_ip in {"127.0.0.11", "127.0.0.12"}
    assert b"Thank you." in mine.content


def test_what_was_just_done_is_among_the_events(relay_server: ThreadedRelay) -> None:
    """Though its clock has not moved since."""
    _send(relay_server, "bob@example.com")
    relay_server.wait_until_quiet()
    assert _events(relay_server) == ["delivery", "injection"]


def test_its_next_hop_is_told_what_to_say_and_its_time_is_moved(relay_server: ThreadedRelay) -> None:
    relay_server.mta(lambda mta: mta.answer("bob@example.com", "451 4.2.1 later", then="250 2.0.0 Ok"))
    _send(relay_server, "bob@example.com")
    (waiting,) = relay_server.wait_until_quiet()
    assert relay_server.arrived() == []
    relay_server.call(lambda relay: relay.delete_pool("marketing"))
    relay_server.advance(minutes=20)
    assert relay_server.wait_until_quiet() == []
    assert [one.peer_ip for one in relay_server.arrived()] == [waiting.pin.ip]


def test_mail_is_sent_by_rest(relay_server: ThreadedRelay) -> None:
    body = {
        "recipients": [{"address": "bob@example.com"}],
        "content": {"from": "shop@acme.test", "subject": "Hello", "text": "Hello"},
    }
    asked = urllib.request.Request(
        f"{relay_server.api_url}/transmissions",
        json.dumps(body).encode(),
        {"Authorization": relay_server.key, "Content-Type": "application/json"},
    )
    with urllib.request.urlopen(asked, timeout=10) as answer:
        assert json.load(answer)["results"]["total_accepted_recipients"] == 1
    relay_server.wait_until_quiet()
    assert len(relay_server.arrived("bob@example.com")) == 1


def test_what_keeps_it_from_starting_is_raised_where_it_is_started(tmp_path: Path) -> None:
    server = ThreadedRelay(tmp_path, directory=lab_directory() + "\n[[rout]]\n")
    with pytest.raises(ValueError, match=r"rout: .*did you mean route\?"):
        server.start()


def test_two_at_a_time(relay_server: ThreadedRelay, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    with ThreadedRelay(other) as second:
        _send(second, "bob@example.com")
        second.wait_until_quiet()
        assert (len(second.arrived()), relay_server.arrived()) == (1, [])
