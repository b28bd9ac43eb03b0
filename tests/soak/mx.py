"""The relay with a DNS of fifty sites: d0.example … go to mx0.example … on 127.0.2.1 …

python -m tests.soak.mx RELAY_TOML
"""

import asyncio
import os
import signal
import sys
from pathlib import Path

import uvloop

from relay.config.config import load_config
from relay.process.runtime import Relay
from relay.testing.fake_dns import FakeDns

SITES = 50


def dns(sites: int) -> FakeDns:
    """Every domain has an exchanger of its own, up to that many sites."""
    return FakeDns(
        {f"d{number}.example": [f"mx{number % sites}.example"] for number in range(1000)},
        {f"mx{number}.example": [f"127.0.2.{number + 1}"] for number in range(sites)},
    )


async def main(config: Path) -> None:
    stopping = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopping.set)
    async with Relay(load_config(config, {}), resolver=dns(SITES)):
        await stopping.wait()


if __name__ == "__main__":
    uvloop.run(main(Path(sys.argv[-1])))
    os._exit(0)
