"""What a start says of others who can reach what the relay can."""

import os
import stat
from pathlib import Path

import pytest

from relay.testing.fake_mta import FakeMta
from relay.testing.process import RelayProcess


@pytest.mark.parametrize("workers", [1, 2])
async def test_a_wide_folder_is_named_once_with_what_to_do(
    tmp_path: Path, mta: FakeMta, workers: int
) -> None:
    folder = tmp_path / "wide"
    folder.mkdir()
    folder.chmod(0o755)
    settings: dict[str, dict[str, object]] = {
        "": {"store": f"sqlite:///{folder}/relay.db", "workers": workers, "roles": ["smtp"]}
    }
    async with RelayProcess(tmp_path, mta.address, settings=settings) as relay:
        said = relay.log.read_text()
        assert said.count(f"others on this machine can look into {folder} (mode 0755)") == 1
        assert f"chmod 700 {folder}\n" in said
        assert stat.S_IMODE(folder.stat().st_mode) == 0o755
        folder.chmod(0o700)
        await relay.restart()
        assert relay.log.read_text().count("can look into") == 1


async def test_a_folder_that_the_relay_makes_is_for_its_user_alone(tmp_path: Path, mta: FakeMta) -> None:
    folder = tmp_path / "one" / "two"
    settings: dict[str, dict[str, object]] = {"": {"store": f"sqlite:///{folder}/relay.db"}}
    async with RelayProcess(tmp_path, mta.address, settings=settings) as relay:
        await relay.inject("bob@gmail.example", ip_pool="receipts")
        await mta.attempts_reached(1)
        made = [path for path in (tmp_path / "one").rglob("*") if path.is_dir()]
        assert folder in made
        assert {stat.S_IMODE(path.stat().st_mode) for path in (folder.parent, *made)} == {0o700}
        assert "can look into" not in relay.log.read_text()


@pytest.mark.parametrize("workers", [1, 2])
async def test_a_start_as_root_says_so_once_and_serves(tmp_path: Path, mta: FakeMta, workers: int) -> None:
    settings: dict[str, dict[str, object]] = {"": {"workers": workers}}
    async with RelayProcess(tmp_path, mta.address, settings=settings) as relay:
        await relay.inject("bob@gmail.example", ip_pool="receipts")
        await mta.attempts_reached(1)
        assert relay.log.read_text().count("running as root") == (os.geteuid() == 0)
