"""The script of `relay sink`: which mail the fake next hop defers, refuses or slows down."""

import ipaddress
import re
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field

from relay.config.problems import Table, parse_table
from relay.config.toml import read_toml
from relay.sink.orders import Rate

SCRIPT_HELP = """A script is a TOML file of rules. The first that fits and has something to say decides;
mail that none speaks of is accepted.

[[rule]]
recipient = "*@slow.example"     # a pattern with * and ?; default: all
source_ip = "127.0.0.11"         # an address or a network such as 10.0.0.0/8; default: all
reply = "451 4.7.1 later"        # needed
then = "250 2.0.0 Ok"            # said from the second time on, for each recipient,
after = 10                       # or, with after, once reply was said so often; without then, acceptance
per_second = 5                   # reply is said only to what comes faster than this
"""

_REPLY = re.compile(r"[245][0-5]\d(?: [^\x00-\x1f\x7f]*)?")
_MEMORY = 100_000
"""Recipients whose first time is remembered; the oldest is forgotten first."""


def _is_reply(text: str) -> str:
    if not _REPLY.fullmatch(text):
        raise ValueError('a reply on one line, such as "451 4.7.1 later"')
    return text


def _is_network(text: str) -> str:
    try:
        ipaddress.ip_network(text)
    except ValueError:
        raise ValueError("an IP address, or a network such as 10.0.0.0/8") from None
    return text


_Reply = Annotated[str, AfterValidator(_is_reply)]


class RuleTable(Table):
    """One `[[rule]]`."""

    recipient: str = "*"
    source_ip: Annotated[str, AfterValidator(_is_network)] | None = None
    reply: _Reply
    then: _Reply | None = None
    after: Annotated[int, Field(ge=1)] | None = None
    per_second: Annotated[float, Field(gt=0)] | None = None


class ScriptTable(Table):
    """The whole file."""

    rule: tuple[RuleTable, ...] = ()


@dataclass(slots=True)
class _Rule:
    """A rule and what it remembers."""

    table: RuleTable
    network: ipaddress.IPv4Network | ipaddress.IPv6Network | None
    rate: Rate | None
    spoken: int = 0
    seen: OrderedDict[str, None] = field(default_factory=OrderedDict)

    def fits(self, source: ipaddress.IPv4Address | ipaddress.IPv6Address, recipient: str) -> bool:
        if self.network is not None and source not in self.network:
            return False
        return fnmatchcase(recipient, self.table.recipient.lower())

    def reply_to(self, recipient: str, now: float) -> str | None:
        if self.rate is not None and not self.rate.is_exceeded(now):
            return None
        table = self.table
        if table.after is not None:
            self.spoken += 1
            return table.reply if self.spoken <= table.after else table.then
        if table.then is None:
            return table.reply
        if recipient in self.seen:
            return table.then
        self.seen[recipient] = None
        if len(self.seen) > _MEMORY:
            self.seen.popitem(last=False)
        return table.reply


class Script:
    """Rules in the order of the file."""

    def __init__(self, rules: Sequence[RuleTable], now: Callable[[], float]) -> None:
        """now: seconds of any clock that runs evenly."""
        self._now = now
        self._rules = [_remembering(rule, now()) for rule in rules]

    def decide(self, source_ip: str, recipient: str) -> str | None:
        """The reply for this recipient; None: no rule speaks of it."""
        source, lowered = ipaddress.ip_address(source_ip), recipient.lower()
        for rule in self._rules:
            if rule.fits(source, lowered) and (reply := rule.reply_to(lowered, self._now())) is not None:
                return reply
        return None


def load_script(path: Path, now: Callable[[], float]) -> Script:
    """The script in a file. Raises ConfigError, one line a mistake: file, key, value, expected."""
    table = parse_table(ScriptTable, read_toml(path), lambda location: str(path))
    return Script(table.rule, now)


def _remembering(rule: RuleTable, now: float) -> _Rule:
    network = None if rule.source_ip is None else ipaddress.ip_network(rule.source_ip)
    rate = None
    if rule.per_second is not None:
        rate = Rate(rule.reply, max(rule.per_second, 1.0), rule.per_second, now)
    return _Rule(rule, network, rate)
