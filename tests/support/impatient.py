"""The relay, whose parent of workers takes them for hung after three seconds."""

import sys

from relay import supervise
from relay.cli.main import main

HUNG_AFTER_S = 3.0

if __name__ == "__main__":
    supervise.HUNG_AFTER_S = HUNG_AFTER_S
    sys.exit(main())
