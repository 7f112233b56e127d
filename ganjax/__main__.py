"""``python -m ganjax`` is the ``ganjax`` command."""

import sys

from ganjax.cli import main

sys.exit(main())
