"""Options that ask for opens and clicks to be tracked, which this relay does not do."""

from collections.abc import Mapping

NOTICE = "open and click tracking are not available on this installation"
"""What is said beside mail that was taken all the same."""
_NAMES = {
    "open_tracking": "Open tracking",
    "click_tracking": "Click tracking",
    "initial_open": "Initial open tracking",
}


def tracking_asked_for(options: Mapping[str, object]) -> str:
    """What a refusal of the first of them says; empty when none is asked for."""
    return next(
        (
            f"{what} is not available on this installation."
            for name, what in _NAMES.items()
            if options.get(name)
        ),
        "",
    )
