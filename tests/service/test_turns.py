"""One count a pool (A33)."""

from relay.accept.turns import Turns
from relay.domain.ids import SHARED_POOL, AccountId, PoolId

NEWS = PoolId("news")


def test_turns_follow_each_other_in_each_pool_of_each_account() -> None:
    turns = Turns()
    taken = [
        turns.take(AccountId(1), NEWS),
        turns.take(AccountId(1), NEWS, 5),
        turns.take(AccountId(1), NEWS),
    ]
    assert taken == [0, 1, 6]
    assert turns.take(AccountId(2), NEWS) == 0
    assert turns.take(AccountId(1), PoolId("other")) == 0


def test_the_turns_of_the_shared_pool_are_everybodys() -> None:
    turns = Turns()
    assert [turns.take(AccountId(number), SHARED_POOL) for number in range(3)] == [0, 1, 2]
