"""``python -m bgworker.cli``."""

import sys

from bgworker.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
