"""``python -m pipeline`` is ``lincorr``."""

import sys

from pipeline.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
