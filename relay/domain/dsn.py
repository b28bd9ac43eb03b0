"""What a client asks to be told of its mail, and what is told (RFC 3461, RFC 3464)."""

from dataclasses import dataclass
from enum import StrEnum


class Report(StrEnum):
    """What a report says became of a recipient, in the words of its `Action` (RFC 3464 §2.3.3)."""

    FAILED = "failed"
    RELAYED = "relayed"
    """Taken by a host that reports nothing further."""


@dataclass(frozen=True, slots=True)
class DsnRequest:
    """The parameters of MAIL and RCPT for one recipient, as the client gave them; empty: not given."""

    ret: str = ""
    """`FULL` or `HDRS`: how much of the message a report of its failure returns."""
    envid: str = ""
    """The client's name for the transaction, as xtext."""
    notify: str = ""
    """`NEVER`, or some of `SUCCESS,FAILURE,DELAY`."""
    orcpt: str = ""
    """The recipient as the first sender named it: `TYPE;XTEXT`. Beyond ASCII only where SMTPUTF8 was said."""

    def __str__(self) -> str:
        """As the commands say it."""
        named = {"RET": self.ret, "ENVID": self.envid, "NOTIFY": self.notify, "ORCPT": self.orcpt}
        return " ".join(f"{keyword}={value}" for keyword, value in named.items() if value)

    @property
    def wants_failure(self) -> bool:
        return not self.notify or "FAILURE" in self.notify

    @property
    def wants_success(self) -> bool:
        return "SUCCESS" in self.notify
