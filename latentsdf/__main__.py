"""`python -m latentsdf` is the `latentsdf` command."""

import os
import sys
from pathlib import Path

if __name__ == "__main__":
    # `python -m` puts the working directory first on the module path; a user's yaml.py must not replace a dependency.
    # A checkout that is not installed is imported from the working directory, which therefore stays.
    working_directory = os.path.realpath(os.getcwd())
    if (
        not sys.flags.safe_path
        and sys.path
        and os.path.realpath(sys.path[0]) == working_directory
        and Path(working_directory) != Path(__file__).resolve().parents[1]
    ):
        del sys.path[0]

    from latentsdf.cli import main

    sys.exit(main())
