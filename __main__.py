"""`python -m batch_sdxl`, which is the command `batch-sdxl`."""

import sys

from .headless.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
