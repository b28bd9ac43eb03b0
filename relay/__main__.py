"""`python -m relay`."""

import sys

from relay.process.main import main

if __name__ == "__main__":
    sys.exit(main())
