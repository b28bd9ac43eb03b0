"""Values of a message: nobody changes one, and the type checker sees to that."""

import dataclasses
import pickle

import pytest

from relay.domain.reply import Phase, Reply
from relay.domain.value import value


@value
class Pair:
    left: int
    right: tuple[int, ...] = dataclasses.field(default=())


def test_values_are_equal_and_hashed_by_what_they_hold() -> None:
    assert Pair(1, (2,)) == Pair(1, (2,)) != Pair(1)
    assert len({Pair(1), Pair(1), Pair(2)}) == 2
    assert dataclasses.replace(Pair(1), left=3) == Pair(3)
    assert pickle.loads(pickle.dumps(Pair(1))) == Pair(1)


def test_a_value_has_its_fields_and_no_others() -> None:
    pair = Pair(1)
    with pytest.raises(AttributeError):
        pair.middle = 2  # type: ignore[attr-defined]


def never_called(pair: Pair, reply: Reply) -> None:
    """The type checker refuses each of these; were one taken, its `ignore` would be one too many."""
    pair.left = 2  # type: ignore[misc]
    reply.phase = Phase.BODY  # type: ignore[misc]
