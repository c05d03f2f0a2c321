"""The `latentsdf-preprocess merge` command."""

from pathlib import Path
from typing import Annotated, Any, ClassVar

import tyro

from latentsdf.cli.arg_types import path_list
from latentsdf.cli.common_args import training_line
from latentsdf.cli.parser import Command, command
from latentsdf.utils.console import console, show_note
from preprocessing import shards

_SHARDS = tyro.conf.arg(metavar="SHARD [SHARD ...]", help_behavior_hint="(required)")


@command
class Merge(Command):
    """Merge the stores of all shards of a run (--shard) into one store.

    Its shapes are the same, byte for byte, as those of a run without shards. Shards or shapes that are missing are
    named, and nothing is written then. A shape that failed in its shard is reported and left out. Repeat the command
    to continue an interrupted merge. Previews stay beside the shards.
    """

    examples: ClassVar[tuple[str, ...]] = (
        "latentsdf-preprocess merge part.1.zarr part.2.zarr part.3.zarr --out shapes.zarr",
        "latentsdf-preprocess merge parts/*.zarr --out shapes.zarr --link",
    )

    shards: Annotated[tuple[Path, ...], path_list("SHARD"), tyro.conf.Positional, _SHARDS]
    """Stores of the shards, in any order."""
    out: Path
    """Store to create or extend (a .zarr folder)."""
    link: bool = False
    """Make hard links instead of copies: needs no space, if SHARDs and OUT are on one file system."""
    partial: bool = False
    """Merge what there is, even if shards or shapes are missing."""
    strict: bool = False
    """Exit with 1 if a shape failed."""

    def run(self) -> dict[str, Any]:
        """Merge; returns the numbers of shapes, and the reasons of the failed ones."""
        report = shards.merge(self.shards, self.out, link=self.link, partial=self.partial)
        count = f"{len(report.sampled)} merged, {report.existing} already there, {len(report.failed)} failed"
        console.print(f"{self.out}: {report.selected} shapes in {len(self.shards)} shards: {count}", soft_wrap=True)
        for reason in report.failed.values():
            show_note("skipped", reason)
        return shards.summary(report, len(self.shards))

    def exit_code(self, result: dict[str, Any] | None) -> int:
        """Return 1 if the store has no shape, or with --strict if one failed."""
        if result is None:
            return 0
        return int(result["merged"] + result["present"] == 0 or (self.strict and bool(result["failed"])))

    def next_step(self, result: dict[str, Any] | None) -> str:  # noqa: ARG002
        """Return how to train on the store."""
        return training_line(self.out)
