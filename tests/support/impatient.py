"""The relay, whose parent of workers takes them for hung after seconds: HUNG_AFTER_S, else three."""

import os
import sys

from relay import supervise
from relay.cli.main import main

if __name__ == "__main__":
    supervise.HUNG_AFTER_S = float(os.environ.get("HUNG_AFTER_S", "3"))
    sys.exit(main())
