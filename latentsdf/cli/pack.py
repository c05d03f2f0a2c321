"""`latentsdf pack`: write a small copy of a space for sharing."""

from pathlib import Path
from typing import Any, ClassVar

from latentsdf.cli.common_args import PackArgs, SpaceArgs
from latentsdf.cli.parser import command, command_line
from latentsdf.utils.console import console


@command
class Pack(PackArgs, SpaceArgs):
    """Write a small copy of a space for sharing, with a model card.

    Rows of the feature grid that training never reached, and the state of the optimizer, are left out. Every command
    reads the copy, but training cannot resume in it.
    """

    examples: ClassVar[tuple[str, ...]] = (
        "latentsdf pack checkpoints/chairs --out chairs --half --license cc-by-4.0",
        "latentsdf pack checkpoints/furniture --out furniture --half --grid-bits 5 --keep 500",
    )

    out: Path
    """Folder of the copy."""
    overwrite: bool = False
    """Replace the space in --out."""

    def run(self) -> dict[str, Any]:
        """Write the copy; returns its size by part and the changes by rounding."""
        from latentsdf.sharing.pack import rounding_of

        space = self.load_space()
        written = space.save_packed(self.out, **self.pack_options(), overwrite=self.overwrite)
        sizes = {name: size for name, size in written["bytes"].items() if size}
        for name, size in sizes.items():
            console.print(f"{name:>9}  {size:12,} bytes")
        if self.half or self.grid_bits:
            console.print(rounding_of({"packing": written}) or "the effect of rounding was not measured: no surface")
        console.print(f"{self.out}: {written['shapes']} of {len(space)} shapes")
        return {"out": str(self.out)} | written

    def next_step(self, result: dict[str, Any] | None) -> str:  # noqa: ARG002
        """Return how to publish the copy."""
        return command_line("latentsdf", "push", self.out, f"user/{self.out.name}")
