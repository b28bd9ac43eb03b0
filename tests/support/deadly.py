"""The relay, which dies as soon as it works on a transmission of the campaign `deadly`."""

import os
import signal
import sys

from relay.accept.scheduled import DueTransmissions
from relay.ports.transmissions import TransmissionStanding
from relay.process.main import main

_step = DueTransmissions.step


async def _die(self: DueTransmissions, standing: TransmissionStanding) -> None:
    if standing.transmission.options.campaign_id == "deadly":
        os.kill(os.getpid(), signal.SIGKILL)
    await _step(self, standing)


if __name__ == "__main__":
    DueTransmissions.step = _die  # type: ignore[method-assign] # what no input should do any more
    sys.exit(main())
