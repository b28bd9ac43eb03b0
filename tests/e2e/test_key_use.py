"""The day of a key's last use is told, whichever door it opened."""

from hashlib import sha256
from pathlib import Path

from relay.sink.fake_mta import FakeMta
from relay.store import open_store
from relay.testing.harness import RelayHarness
from relay.testing.lab import WITH_API


async def test_uses_by_smtp_and_by_rest_are_told_and_refused_ones_are_not(
    tmp_path: Path, mta: FakeMta
) -> None:
    async with RelayHarness(tmp_path, mta, settings=WITH_API) as relay:
        rest, unused = await relay.make_key(), await relay.make_key()
        await relay.inject("bob@gmail.example", ip_pool="marketing")
        async with relay.api(key=rest) as client:
            assert (await client.get("/account")).status_code == 200
        async with relay.api(key="f" * 40) as client:
            assert (await client.get("/account")).status_code == 401
        _, password = relay.login()
        today = relay.clock.now().date()
        await relay.stop()
    async with await open_store(f"sqlite:///{tmp_path}/relay.db") as opened:
        uses = await opened.directory.key_uses()
    assert uses == {sha256(key.encode()).hexdigest(): today for key in (rest, password)}
    assert sha256(unused.encode()).hexdigest() not in uses
