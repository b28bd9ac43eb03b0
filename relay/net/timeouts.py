"""How long each phase of a conversation may take (RFC 5321 §4.5.3.2)."""

from dataclasses import dataclass

from relay.domain.reply import Phase


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds that a server has for its reply."""

    greeting_s: float = 300
    ehlo_s: float = 300
    starttls_s: float = 60
    auth_s: float = 60
    mail_s: float = 300
    rcpt_s: float = 300
    data_s: float = 120
    block_s: float = 180
    """For taking some more of the content while our buffers are full."""
    body_s: float = 600
    """For the reply to the final dot. Less of it makes duplicates (RFC 1047)."""
    quit_s: float = 2

    def of(self, phase: Phase) -> float:
        """For a phase after the opening of the conversation."""
        match phase:
            case Phase.MAIL:
                return self.mail_s
            case Phase.RCPT:
                return self.rcpt_s
            case Phase.DATA:
                return self.data_s
            case Phase.BODY:
                return self.body_s
            case _:
                return self.quit_s
