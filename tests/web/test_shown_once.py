"""Keys and links that wait to be shown: once, to whoever made them, and not for long."""

from datetime import UTC, datetime, timedelta

from relay.domain.users import SessionId
from relay.frames.console.shown_once import Secret, Secrets

NOW = datetime(2026, 3, 1, tzinfo=UTC)
ANN, BEN = SessionId("ann"), SessionId("ben")


def secret(text: str) -> Secret:
    return Secret(text, "Key", "For SMTP", "/", "Back")


def test_a_secret_is_shown_once_and_to_its_session_alone() -> None:
    secrets = Secrets()
    name = secrets.put(ANN, secret("abc"), NOW)
    assert secrets.take(BEN, name, NOW) is None
    assert secrets.take(ANN, name, NOW) == secret("abc")
    assert secrets.take(ANN, name, NOW) is None


def test_a_secret_does_not_wait_for_long() -> None:
    secrets = Secrets()
    name = secrets.put(ANN, secret("abc"), NOW)
    assert secrets.take(ANN, name, NOW + timedelta(minutes=11)) is None


def test_a_session_that_makes_many_loses_its_own_oldest_and_nobody_elses() -> None:
    secrets = Secrets()
    of_ben = secrets.put(BEN, secret("ben's"), NOW)
    of_ann = [secrets.put(ANN, secret(str(number)), NOW) for number in range(1500)]
    assert secrets.take(BEN, of_ben, NOW) == secret("ben's")
    assert secrets.take(ANN, of_ann[-21], NOW) is None
    assert secrets.take(ANN, of_ann[-20], NOW) == secret("1480")
