"""Who may do what at which door, while the account and the subaccount are what they are: one table."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace

import httpx

from relay.domain.changes import Change, Put
from relay.domain.directory import Snapshot, Status
from relay.domain.ids import AccountId, SubaccountId
from relay.testing.harness import RelayHarness

ACCOUNT, PART = AccountId(1), SubaccountId(123)
STATUSES: Mapping[str, tuple[Status, Status]] = {
    "active": (Status.ACTIVE, Status.ACTIVE),
    "account suspended": (Status.SUSPENDED, Status.ACTIVE),
    "account terminated": (Status.TERMINATED, Status.ACTIVE),
    "part suspended": (Status.ACTIVE, Status.SUSPENDED),
    "part terminated": (Status.ACTIVE, Status.TERMINATED),
}
"""Of account 1 and of its subaccount 123."""

TABLE = """
              account:     active  susp.  term.  active active
              subaccount:  active  active active susp.  term.

REST look     all            +       +      +      +      +
REST look     all for part   +       +      +      +      +
REST look     few            +       +      +      +      +
REST look     part           +       +      +      +      +
REST look     operator       +       +      +      +      +
REST look     stranger       -       -      -      -      -
REST look     nobody         ?       ?      ?      ?      ?
REST pool     all            +       -      -      +      +
REST pool     all for part   -       -      -      -      -
REST pool     few            -       -      -      -      -
REST pool     part           -       -      -      -      -
REST pool     operator       +       +      +      +      +
REST pool     stranger       -       -      -      -      -
REST pool     nobody         ?       ?      ?      ?      ?
REST key      all            +       -      -      +      +
REST key      all for part   +       -      -      -      -
REST key      few            -       -      -      -      -
REST key      part           -       -      -      -      -
REST key      operator       +       +      +      +      +
REST key      stranger       -       -      -      -      -
REST key      nobody         ?       ?      ?      ?      ?
REST domain   all            +       -      -      +      +
REST domain   all for part   +       -      -      -      -
REST domain   few            -       -      -      -      -
REST domain   part           +       -      -      -      -
REST domain   operator       +       +      +      +      +
REST domain   stranger       -       -      -      -      -
REST domain   nobody         ?       ?      ?      ?      ?
REST suppress all            +       -      -      +      +
REST suppress all for part   +       -      -      -      -
REST suppress few            -       -      -      -      -
REST suppress part           +       -      -      -      -
REST suppress operator       +       +      +      +      +
REST suppress stranger       -       -      -      -      -
REST suppress nobody         ?       ?      ?      ?      ?
REST buy      all            +       -      -      +      +
REST buy      all for part   -       -      -      -      -
REST buy      few            -       -      -      -      -
REST buy      part           -       -      -      -      -
REST buy      operator       +       +      +      +      +
REST buy      stranger       -       -      -      -      -
REST buy      nobody         ?       ?      ?      ?      ?
REST terms    all            -       -      -      -      -
REST terms    part           -       -      -      -      -
REST terms    operator       +       +      +      +      +
REST terms    stranger       -       -      -      -      -
REST terms    nobody         ?       ?      ?      ?      ?
REST send     all            +       -      -      +      +
REST send     all for part   +       -      -      -      -
REST send     few            -       -      -      -      -
REST send     part           +       -      -      -      -
REST send     operator       +       -      -      +      +
REST send     stranger       -       -      -      -      -
REST send     nobody         ?       ?      ?      ?      ?
REST schedule all            +       -      -      +      +
REST schedule all for part   +       -      -      -      -
REST schedule few            -       -      -      -      -
REST schedule part           +       -      -      -      -
REST schedule operator       +       -      -      +      +
REST schedule stranger       -       -      -      -      -
REST schedule nobody         ?       ?      ?      ?      ?
REST cancel   all            +       -      -      +      +
REST cancel   all for part   +       -      -      -      -
REST cancel   few            -       -      -      -      -
REST cancel   part           +       -      -      -      -
REST cancel   operator       +       +      +      +      +
REST cancel   stranger       -       -      -      -      -
REST cancel   nobody         ?       ?      ?      ?      ?
REST campaign all            +       -      -      +      +
REST campaign all for part   +       -      -      -      -
REST campaign few            -       -      -      -      -
REST campaign part           +       -      -      -      -
REST campaign operator       +       +      +      +      +
REST campaign stranger       -       -      -      -      -
REST campaign nobody         ?       ?      ?      ?      ?

SMTP AUTH     all            +       -      -      +      +
SMTP AUTH     all for part   +       -      -      -      -
SMTP AUTH     few            -       -      -      -      -
SMTP AUTH     part           +       -      -      -      -
SMTP AUTH     operator       +       -      -      +      +
SMTP MAIL     all            +       -      -      +      +
SMTP MAIL     all for part   +       -      -      -      -
SMTP MAIL     part           +       -      -      -      -
SMTP MAIL     operator       +       -      -      +      +
SMTP MAIL     trusted        +       -      -      +      +
SMTP MAIL     trusted part   +       -      -      -      -
SMTP MAIL     nobody         -       -      -      -      -
SMTP RCPT     all            +       -      -      +      +
SMTP RCPT     all for part   +       -      -      -      -
SMTP RCPT     part           +       -      -      -      -
SMTP RCPT     operator       +       -      -      +      +
SMTP RCPT     trusted        +       -      -      +      +
SMTP RCPT     trusted part   +       -      -      -      -
SMTP DATA     all            +       -      -      +      +
SMTP DATA     all for part   +       -      -      -      -
SMTP DATA     part           +       -      -      -      -
SMTP DATA     operator       +       -      -      +      +
SMTP DATA     trusted        +       -      -      +      +
SMTP DATA     trusted part   +       -      -      -      -
SMTP end      all            +       -      -      +      +
SMTP end      all for part   +       -      -      -      -
SMTP end      part           +       -      -      -      -
SMTP end      operator       +       -      -      +      +
SMTP end      trusted        +       -      -      +      +
SMTP end      trusted part   +       -      -      -      -

due           all            +       -      -      +      +
due           all for part   +       -      -      -      -
due           part           +       -      -      -      -
due           operator       +       -      -      +      +
due, revoked  all            +       -      -      +      +
due, revoked  all for part   +       -      -      -      -
due, revoked  part           +       -      -      -      -
due, revoked  operator       +       -      -      +      +

console look  reader         +       +      +      +      +
console look  admin          +       +      +      +      +
console look  operator       +       +      +      +      +
console look  nobody         ?       ?      ?      ?      ?
console own   reader         +       +      +      +      +
console own   admin          +       +      +      +      +
console own   operator       +       +      +      +      +
console own   nobody         ?       ?      ?      ?      ?
console pool  reader         -       -      -      -      -
console pool  admin          +       -      -      +      +
console pool  operator       +       +      +      +      +
console pool  nobody         ?       ?      ?      ?      ?
console key   reader         -       -      -      -      -
console key   admin          +       -      -      +      +
console key   operator       +       +      +      +      +
console key   nobody         ?       ?      ?      ?      ?
console buy   reader         -       -      -      -      -
console buy   admin          +       -      -      +      +
console buy   operator       +       +      +      +      +
console buy   nobody         ?       ?      ?      ?      ?
console bulk  reader         -       -      -      -      -
console bulk  admin          +       -      -      +      +
console bulk  operator       +       +      +      +      +
console bulk  nobody         ?       ?      ?      ?      ?
console found reader         -       -      -      -      -
console found admin          -       -      -      -      -
console found operator       +       +      +      +      +
console found nobody         ?       ?      ?      ?      ?

CLI look      operator       +       +      +      +      +
CLI pool      operator       +       +      +      +      +
CLI key       operator       +       +      +      +      +
CLI terms     operator       +       +      +      +      +
CLI hold      operator       +       +      +      +      +
"""
"""+ done, - refused (403, 535, 550, a rejection), ? asked who it is (401, the page for signing in).

all: a key with all grants. few: with those to look. part: a subaccount's key. for part: in the
subaccount's name. operator: at REST with a key of another account, for this one. stranger: a key
of another account, for this one. trusted: a network, without AUTH. At the command line is who may
open the store. SMTP: the status is reached just before that command. due: at the start time.
"""

Cell = Callable[[str, str, str], Awaitable[str]]
"""What comes of a verb, by a role, when that status is reached."""


def rows(door: str) -> dict[str, list[str]]:
    """What the table says of a door: verb and role, and a cell for each status."""
    found = {}
    for line in TABLE.splitlines():
        if line.startswith(door):
            name, cells = line[:27], line[27:].split()
            found[" ".join(name.split())] = cells
    assert found
    return found


async def measured(door: str, cell: Cell) -> dict[str, list[str]]:
    """The same of what really happens."""
    found = {}
    for line in TABLE.splitlines():
        if line.startswith(door):
            verb, role = line[:14].split(" ", 1)[1].strip(), line[14:27].strip()
            found[" ".join(line[:27].split())] = [await cell(verb, role, status) for status in STATUSES]
    return found


def sign(answer: httpx.Response) -> str:
    """+, - or ?; else the whole answer, for the message of a test that fails."""
    if answer.status_code == 303:
        return "?" if answer.headers["location"].startswith("/sign-in") else "+"
    known = {200: "+", 204: "+", 401: "?", 403: "-"}
    return known.get(answer.status_code) or f"{answer.status_code} {answer.text[:200]}"


def now_being(snapshot: Snapshot, status: str) -> tuple[Change, ...]:
    """What sets account and subaccount so."""
    account, part = STATUSES[status]
    return (
        Put(replace(snapshot.accounts[ACCOUNT], status=account)),
        Put(replace(snapshot.subaccounts[ACCOUNT, PART], status=part)),
    )


async def become(relay: RelayHarness, status: str) -> None:
    await relay.apply(*now_being(relay.inside.directory.snapshot, status))
