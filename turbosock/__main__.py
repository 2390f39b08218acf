"""`python -m turbosock`: the same as the `turbosock` command."""

from __future__ import annotations

import sys

from turbosock.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
