"""The `latentsdf` command: one file per command, on top of all other packages."""

from latentsdf.cli.main import main

__all__ = ["main"]
