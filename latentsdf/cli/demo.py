"""`latentsdf demo`: the complete pipeline on procedural furniture."""

from pathlib import Path
from typing import Annotated, Any, ClassVar

from latentsdf.cli.arg_types import positive, whole
from latentsdf.cli.common_args import OnDevice, require_folder
from latentsdf.cli.parser import command


@command
class Demo(OnDevice):
    """Run the complete pipeline on procedural furniture: samples, training, extraction, inversion, a report."""

    examples: ClassVar[tuple[str, ...]] = ("latentsdf demo", "latentsdf demo --minutes 1 --out checkpoints/short")

    out: Path = Path("checkpoints/demo")
    """Folder of the space and the report."""
    minutes: Annotated[float, positive()] = 4.5
    """Training time."""
    per_family: Annotated[int, whole(1)] = 40
    """Training shapes of each family."""
    workers: Annotated[int, whole(0)] = 0
    """Preprocessing workers; 0 for one per core."""
    seed: Annotated[int, whole(0)] = 0
    """Seed of the training."""

    def run(self) -> dict[str, Any]:
        """Run all steps; returns the content of report.json."""
        from latentsdf.cli.demo_pipeline import demo

        require_folder(self.out)
        return demo(
            self.out,
            minutes=self.minutes,
            per_family=self.per_family,
            workers=self.workers,
            seed=self.seed,
            device=self.device,
        )
