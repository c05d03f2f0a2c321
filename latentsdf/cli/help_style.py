"""Presentation of arguments and examples in the help of all commands."""

import sys
from collections.abc import Sequence

import tyro

CONFIG = (
    tyro.conf.FlagCreatePairsOff,
    tyro.conf.PositionalMetavarFromFieldName,
    tyro.conf.DisallowNone,
    tyro.conf.HelptextFromCommentsOff,
)
"""tyro markers of every command: one flag per switch, no literal `None`, help texts from docstrings only."""


def print_examples(examples: Sequence[str]) -> None:
    """Print example command lines on standard output."""
    if examples:
        sys.stdout.write("\n".join(["", "examples:", *(f"  {line}" for line in examples), ""]))
