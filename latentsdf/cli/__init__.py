"""The `latentsdf` command, one file a verb. The only place that wires the rest; nothing imports it."""

from latentsdf.cli.main import main

__all__ = ["main"]
