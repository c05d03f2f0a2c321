"""`latentsdf demo`: the complete pipeline on procedural furniture."""

from pathlib import Path
from typing import Annotated, Any, ClassVar

from latentsdf.cli.arg_types import integer, positive_float
from latentsdf.cli.common_args import DeviceArgs, create_output_folder
from latentsdf.cli.parser import command


@command
class Demo(DeviceArgs):
    """Run the complete pipeline on procedural furniture: sampling, training, extraction, inversion, report."""

    examples: ClassVar[tuple[str, ...]] = ("latentsdf demo", "latentsdf demo --minutes 1 --out checkpoints/short")

    out: Path = Path("checkpoints/demo")
    """Output folder of the space and the report."""
    minutes: Annotated[float, positive_float()] = 4.5
    """Training time in minutes."""
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
            minutes=self.minutes,
            per_family=self.per_family,
            workers=self.workers,
            seed=self.seed,
            device=self.device,
        )
