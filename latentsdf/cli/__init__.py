"""The `latentsdf` command-line interface, with one module per command."""

from latentsdf.cli.main import main

__all__ = ["main"]
