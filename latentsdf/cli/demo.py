"""`latentsdf demo`: the complete pipeline on procedural furniture."""

from pathlib import Path
from typing import Annotated, Any, ClassVar

from latentsdf.cli.arg_types import UNSET, integer, positive_float
from latentsdf.cli.common_args import DeviceArgs, create_output_folder
from latentsdf.cli.parser import command, command_line

_STEPS = 3_000
_UNLIMITED_STEPS = 10_000_000


@command
class Demo(DeviceArgs):
    """Run the complete pipeline on procedural furniture: sampling, training, extraction, inversion, report."""

    examples: ClassVar[tuple[str, ...]] = ("latentsdf demo", "latentsdf demo --steps 500 --out checkpoints/short")

    out: Path = Path("checkpoints/demo")
    """Output folder of the space and the report."""
    steps: Annotated[int | None, integer(1), UNSET] = None
    """Number of training steps (default: 3,000, or as many as fit into --minutes)."""
    minutes: Annotated[float | None, positive_float(), UNSET] = None
    """Limit of the training time in minutes."""
    per_family: Annotated[int, integer(1)] = 40
    """Number of training shapes per family."""
    workers: Annotated[int, integer(0)] = 0
    """Number of preprocessing workers; 0 for one per core."""
    seed: Annotated[int, integer(0)] = 0
    """Seed of initialization and sampling."""

    def run(self) -> dict[str, Any]:
        """Run all steps; returns the content of report.json."""
        from latentsdf.cli.demo_pipeline import demo

        create_output_folder(self.out)
        return demo(
            self.out,
            steps=self.steps or (_STEPS if self.minutes is None else _UNLIMITED_STEPS),
            minutes=self.minutes or 0.0,
            per_family=self.per_family,
            workers=self.workers,
            seed=self.seed,
            device=self.device,
        )

    def next_step(self, result: dict[str, Any] | None) -> str:  # noqa: ARG002
        """Return the page to open, and how to use the space."""
        invert = command_line("latentsdf", "invert", self.out, "MESH", "--out", "fit/")
        return f"open {self.out / 'report.html'} in a browser; fit a mesh of yours: {invert}"
