"""What is shown one time: a new key or link between the form that made it and the page that tells it."""

import secrets
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from relay.domain.users import SessionId

_KEPT = timedelta(minutes=10)
_MOST, _MOST_OF_SESSION = 1000, 20
"""Further ones push the oldest out, those of the same session first."""


@dataclass(frozen=True, slots=True)
class Secret:
    """A text that nobody can read again, and what a person should know of it."""

    text: str = field(repr=False)
    title: str
    use: str
    path: str
    """Where the person goes on to, once it is copied."""
    label: str


class Secrets:
    """Those of this process that wait to be shown, each to the session that made it, and then are gone."""

    def __init__(self) -> None:
        self._waiting: dict[tuple[SessionId, str], tuple[datetime, Secret]] = {}

    def put(self, session: SessionId, secret: Secret, now: datetime) -> str:
        """The name under which the session finds it, which tells nothing of the secret."""
        self._forget(now)
        own = [place for place in self._waiting if place[0] == session]
        for place in own[: max(0, len(own) - _MOST_OF_SESSION + 1)]:
            del self._waiting[place]
        name = secrets.token_urlsafe(16)
        self._waiting[session, name] = (now, secret)
        return name

    def take(self, session: SessionId, name: str, now: datetime) -> Secret | None:
        """The secret, the first time; None when it was shown, is another session's, or waited too long."""
        self._forget(now)
        _, secret = self._waiting.pop((session, name), (now, None))
        return secret

    def _forget(self, now: datetime) -> None:
        old = [place for place, (since, _) in self._waiting.items() if now - since > _KEPT]
        for place in [*old, *list(self._waiting)[: max(0, len(self._waiting) - _MOST)]]:
            self._waiting.pop(place, None)
