"""`python -m meshcore`."""

import sys

from meshcore.cli import main

if __name__ == "__main__":
    sys.exit(main())
