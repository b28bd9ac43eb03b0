"""What rendering a message may take, counted as it runs, and the errors of templates."""

from dataclasses import dataclass

from relay.domain.errors import RelayError

MAX_STEPS = 1_000_000
"""Of making one message: a node, a round, an operand is a step, and so are some octets that are written or
compared. They take a third of a second at most."""
MAX_OCTETS = 20 << 20
OCTETS_A_STEP = 256


@dataclass
class BadTemplate(RelayError):
    """A template that cannot be compiled or, for this recipient, not be rendered."""

    detail: str
    line: int = 0
    """From 1; 0 when no place can be named."""

    def __str__(self) -> str:
        return f"line {self.line}: {self.detail}" if self.line else self.detail


class OverBudget(BadTemplate):
    """The rendering takes more than it was given. It is the same sentence for whoever gave less at first."""


@dataclass(slots=True)
class Budget:
    """What is left for making one message: everything that is rendered for it takes from this."""

    steps: int = MAX_STEPS
    octets: int = MAX_OCTETS
    """Of UTF-8, that may still be written."""

    def spend(self, steps: int) -> None:
        """Raises OverBudget when there are not so many left."""
        self.steps -= steps
        if self.steps < 0:
            raise OverBudget(f"rendering takes more than {MAX_STEPS:,} steps")

    def write(self, text: str) -> None:
        """Take what the text needs. Raises OverBudget."""
        size = len(text) if text.isascii() else len(text.encode("utf-8", "replace"))
        self.octets -= size
        if self.octets < 0:
            raise OverBudget("the rendered content is too large")
        self.spend(1 + size // OCTETS_A_STEP)
