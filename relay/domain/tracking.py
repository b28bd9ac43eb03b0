"""Options that ask for opens and clicks to be tracked, which this relay does not do."""

from collections.abc import Mapping

NOTICE = "open and click tracking are not available on this installation"
"""What is said beside mail that was taken all the same."""
_NAMES = {
    "open_tracking": "Open tracking",
    "click_tracking": "Click tracking",
    "initial_open": "Initial open tracking",
}


def tracking_asked_for(options: Mapping[str, object]) -> list[str]:
    """What a refusal says of each of them that is asked for."""
    return [
        f"{what} is not available on this installation."
        for name, what in _NAMES.items()
        if options.get(name) is True
    ]
