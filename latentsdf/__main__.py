"""`python -m latentsdf` is the `latentsdf` command."""

import sys

from latentsdf.cli import main

sys.exit(main())
