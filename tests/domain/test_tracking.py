"""Tracking that is asked for and not there is named, option by option."""

from relay.domain.tracking import tracking_asked_for


def test_only_what_is_turned_on_is_asked_for() -> None:
    asked = {"open_tracking": True, "click_tracking": False, "initial_open": 1, "transactional": True}
    assert tracking_asked_for(asked) == ["Open tracking is not available on this installation."]
