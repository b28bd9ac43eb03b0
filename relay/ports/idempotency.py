"""Answers that are kept for whoever repeats a request."""

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Ticket:
    """The right to answer a request that may be repeated."""

    scope: str
    """Whose key it is: of the account, or of one of its subaccounts."""
    key: str
    began: datetime


@dataclass(frozen=True, slots=True)
class Answer:
    """What the client was told."""

    status: int
    body: bytes


@dataclass(frozen=True, slots=True)
class Answered:
    """The answer to one request, to be kept."""

    ticket: Ticket
    answer: Answer


@dataclass(frozen=True, slots=True)
class Begun:
    """Nobody asked this before: go on, and keep the answer."""

    ticket: Ticket


@dataclass(frozen=True, slots=True)
class Standing:
    """What is known of an earlier request with that key."""

    fingerprint: str
    answer: Answer | None
    """None while it is being worked on."""


class IdempotencyStore(Protocol):
    """Requests that carried a key. Each method is one transaction; none decides anything."""

    async def begin(
        self,
        ticket: Ticket,
        fingerprint: str,
        *,
        expired: datetime,
        given_up: datetime,
    ) -> Begun | Standing:
        """Take the key, or say how it stands.

        A request that began before expired is forgotten, and so is an unanswered one that began
        before given_up. fingerprint: the same for the same request.
        """

    async def answer(self, answered: Answered) -> None:
        """Keep the answer. Raises StaleRequest when the ticket is no longer good."""

    async def give_up(self, ticket: Ticket) -> None:
        """The request was refused and changed nothing: the key is free again."""

    async def forget(self, expired: datetime) -> int:
        """Drop what began before expired; returns how many."""
