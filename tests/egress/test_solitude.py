"""One alone, or many together."""

import asyncio

from relay.egress.solitude import Solitude


async def test_one_alone_waits_for_the_others_and_keeps_them_waiting() -> None:
    solitude = Solitude()
    told: list[str] = []
    may_end, may_go_on = asyncio.Event(), asyncio.Event()

    async def other(name: str) -> None:
        async with solitude:
            told.append(f"{name} begins")
            await may_end.wait()
        told.append(f"{name} ends")

    async def suspect() -> None:
        async with solitude.alone():
            told.append("alone begins")
            await may_go_on.wait()
            told.append("alone ends")

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(other("first"))
        tasks.create_task(other("second"))
        await asyncio.sleep(0)
        tasks.create_task(suspect())
        await asyncio.sleep(0)
        tasks.create_task(other("late"))
        for _ in range(5):
            await asyncio.sleep(0)
        assert told == ["first begins", "second begins"]
        may_end.set()
        for _ in range(10):
            await asyncio.sleep(0)
        assert sorted(told[2:4]) == ["first ends", "second ends"]
        assert told[4:] == ["alone begins"]
        may_go_on.set()
    assert told[5:] == ["alone ends", "late begins", "late ends"]


async def test_a_failure_gives_the_place_back() -> None:
    solitude = Solitude()
    for company in (solitude, solitude.alone()):
        try:
            async with company:
                raise ValueError
        except ValueError:
            pass
    async with asyncio.timeout(1), solitude.alone():
        pass
    async with asyncio.timeout(1), solitude:
        pass
