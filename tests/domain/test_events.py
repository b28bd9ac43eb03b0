"""The table of kinds of events: whoever adds a class adds its row, and its place among its like."""

from dataclasses import fields
from typing import get_args

from relay.domain.events import EVENT_KINDS, Event


def _with(field: str) -> set[type[Event]]:
    return {event for event in get_args(Event) if field in {one.name for one in fields(event)}}


def test_each_class_of_event_has_its_row_and_each_row_its_class() -> None:
    assert [kind.event for kind in EVENT_KINDS] == list(get_args(Event))


def test_no_two_kinds_share_a_name_or_a_word() -> None:
    assert len({kind.name for kind in EVENT_KINDS}) == len(EVENT_KINDS)
    assert len({kind.word for kind in EVENT_KINDS}) == len(EVENT_KINDS)


def test_what_counts_its_retries_is_an_attempt() -> None:
    assert {kind.event for kind in EVENT_KINDS if kind.is_attempt} == _with("num_retries")


def test_what_has_a_bounce_class_is_a_failure_and_looks_like_one() -> None:
    failures = [kind for kind in EVENT_KINDS if kind.is_failure]
    assert {kind.event for kind in failures} == _with("bounce_class") == _with("raw_reason")
    assert {kind.tone for kind in failures} == {"wait", "bad"}
    assert [kind.is_end for kind in failures] == [kind.tone == "bad" for kind in failures]
