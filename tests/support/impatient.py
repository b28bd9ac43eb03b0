"""The relay, whose parent of workers takes them for hung after seconds: HUNG_AFTER_S, else five."""

import os
import sys

from relay.process import supervise
from relay.process.main import main

if __name__ == "__main__":
    supervise.HUNG_AFTER_S = float(os.environ.get("HUNG_AFTER_S", "5"))
    sys.exit(main())
