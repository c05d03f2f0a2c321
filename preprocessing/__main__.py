"""The `latentsdf-preprocess` command."""

import dataclasses
import json
import sys
from collections.abc import Sequence
from dataclasses import field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import tyro
from tyro.constructors import PrimitiveConstructorSpec

from latentsdf.cli.arg_types import UNSET, OptionalPath, finite_float, integer, string_list
from latentsdf.cli.common_args import training_line
from latentsdf.cli.kernels import compile_sampling
from latentsdf.cli.parser import Command, command, parse, print_completion, show_next_step
from latentsdf.cli.settings import TOP_LEVEL, given_settings, settings_type, shown_default, with_defaults, with_settings
from latentsdf.config.sampling import SamplingConfig
from latentsdf.data.furniture import FAMILIES
from latentsdf.data.mesh_datasets import Layout
from latentsdf.utils.console import console, show_error
from latentsdf.utils.errors import ConfigError, LatentSDFError
from preprocessing import job, sources
from preprocessing.cluster import connected
from preprocessing.merge import Merge
from preprocessing.report import Report
from preprocessing.shards import Shard

_PROG = "latentsdf-preprocess"
_SPARSE = SamplingConfig().sparse_resolution
_COARSE = 32  # sparse lattices with fewer cells are too coarse to be useful


def shard_constructor() -> PrimitiveConstructorSpec[Any]:
    """Accept a shard, such as 2/16."""
    return PrimitiveConstructorSpec(
        nargs=1,
        metavar="I/N",
        instance_from_str=lambda values: Shard.parse(values[0]),
        is_instance=lambda _: True,
        str_from_instance=lambda value: [str(value)],
    )


if TYPE_CHECKING:
    SamplingSettings = Any
else:
    SamplingSettings = settings_type(SamplingConfig)


@command
class Preprocess(Command):
    """Turn mesh files into a store of signed distance samples: an exact narrow band and a sparse lattice.

    Run the same command again to continue an interrupted run. A shape is processed again if its source file has
    changed. Stores of several --shard are merged by latentsdf-preprocess merge, see its --help. Exit code: 0 success,
    1 no shape could be processed (or --strict and one failed), 2 error, 130 interrupted.
    """

    examples: ClassVar[tuple[str, ...]] = (
        "latentsdf-preprocess --source meshes/furniture --category chair --split chair_train.json --out chairs.zarr",
        "latentsdf-preprocess --source ShapeNetCore.v2 --category 03001627 --out chairs.zarr --workers 8",
        "latentsdf-preprocess --source registrations_f.hdf5 --category 50002 --frame-step 20 --out bodies.zarr",
        "latentsdf-preprocess --source meshes/furniture --category chair --augment 4 --mirror x --out chairs.zarr",
        "latentsdf-preprocess --source procedural --wide --count 400 --resolution 256 --out furniture.zarr",
        "latentsdf-preprocess --source bodies --count 2000 --resolution 256 --out bodies.zarr",
        "latentsdf-preprocess --source /share/ShapeNetCore.v2 --out /share/shapes.zarr --dask tcp://head:8786",
        "latentsdf-preprocess --source /share/ShapeNetCore.v2 --shard 2/16 --out /share/part.2.zarr",
        "latentsdf-preprocess merge /share/part.*.zarr --out /share/shapes.zarr",
    )

    source: str
    """Folder of meshes, ShapeNetCore root, D-FAUST .hdf5 file, 'procedural' (furniture), or 'bodies' (people of many
    ages and builds in many poses; extra: bodies)."""
    out: Path
    """Store to create or extend (a .zarr folder)."""
    layout: Layout = "auto"
    """Layout of the folder --source."""
    category: Annotated[tuple[str, ...], string_list("NAME"), UNSET] = ()
    """Names or synsets of the categories (default: all)."""
    split: OptionalPath = None
    """DeepSDF split file that selects shapes."""
    glob: str = "*"
    """Wildcard pattern that selects shapes by id or category/id, such as 'kenney_*'."""
    limit: Annotated[int | None, integer(1), UNSET] = None
    """Maximum number of shapes, not counting deformed copies."""
    count: Annotated[int, integer(1)] = 16
    """Number of bodies, or of procedural shapes per family."""
    first_seed: Annotated[int, integer()] = 0
    """Seed of the first body or procedural shape."""
    wide: bool = False
    """Draw procedural shapes from wide ranges of sizes and all combinations of parts; their ids contain 'wide'."""
    augment: Annotated[int, integer(0)] = 0
    """Number of smoothly deformed copies of each shape, with the ids ID~1, ID~2, ...; retrieval and evaluation of a
    trained space leave them out by default."""
    mirror: Literal["x", "y", "z", "none"] = "none"
    """Mirror half of the copies along this axis; for categories whose shapes may be mirrored."""
    frame_step: Annotated[int | None, integer(), UNSET] = None
    """Interval between frames of D-FAUST (default: 10, or 1 with --split)."""
    shard: Annotated[Shard | None, shard_constructor(), UNSET] = None
    """Process only the I-th of N parts of the selected shapes, copies included, into a store of its own; for the jobs
    of a SLURM array. The parts are merged by latentsdf-preprocess merge."""
    workers: Annotated[int, integer()] = 0
    """Number of worker processes; 0 for one per core. Not with --dask."""
    dask: Annotated[str | None, tyro.conf.arg(metavar="ADDRESS", help_behavior_hint="")] = None
    """tcp://host:port of a Dask scheduler; its workers process the shapes (extra: dask). Workers on other machines
    need latentsdf, and the meshes and OUT under the same paths on a shared file system."""
    timeout: Annotated[float, finite_float()] = 600.0
    """Seconds after which a shape is stopped and recorded as failed."""
    memory_gb: Annotated[float, finite_float(), tyro.conf.arg(help_behavior_hint="(default: 0)")] = 0.0
    """GB (10^9 bytes) of memory above which a shape is stopped and recorded as failed; 0: all workers share nine tenths
    of the machine's memory; with --dask, each worker has its own limit."""
    seed: Annotated[int, integer()] = 0
    """Seed of the samples, the same for all shapes of a store."""
    overwrite: bool = False
    """Process shapes again that are already in the store."""
    renew: bool = False
    """Process shapes again that an earlier version sampled with known faults, which latentsdf info lists."""
    preview: bool = False
    """Draw each shape as OUT.previews/CATEGORY/ID.png."""
    strict: bool = False
    """Exit with 1 if any shape failed."""
    settings: Annotated[SamplingSettings, TOP_LEVEL] = field(default_factory=SamplingSettings)

    @classmethod
    def defaults(cls, args: Sequence[str]) -> "Preprocess":  # noqa: ARG003
        """Return the default sampling settings."""
        settings = with_defaults(SamplingSettings, SamplingConfig())
        sparse = shown_default(f"the largest divisor of --resolution that is at most {_SPARSE}")
        settings = dataclasses.replace(settings, sparse_resolution=sparse)
        return cls(source=tyro.MISSING, out=tyro.MISSING, settings=settings)

    def run(self) -> dict[str, Any]:
        """Process all shapes and return the report as a dictionary."""
        return self.process().as_dict()

    def process(self) -> Report:
        """Process all shapes and return the report."""
        if self.dask is None:
            compile_sampling()
        work = partial(
            job.run,
            self._select(),
            self.out,
            self.sampling(),
            timeout=self.timeout,
            overwrite=self.overwrite,
            renew=self.renew,
            seed=self.seed,
            previews=Path(f"{self.out}.previews") if self.preview else None,
            shard=self.shard,
        )
        if self.dask is None:
            return work(workers=self.workers, memory_gb=self.memory_gb)
        if self.workers:
            raise ConfigError(
                "--workers sets the number of local processes; --dask uses all workers of its cluster, so leave it out"
            )
        with connected(self.dask) as cluster:
            memory = self.memory_gb or cluster.memory_gb
            return work(workers=cluster.threads, memory_gb=memory, executor=cluster.executor)

    def sampling(self) -> SamplingConfig:
        """Return the sampling settings. By default, the sparse resolution depends on the resolution.

        Raises:
            ConfigError: A value is out of range.
        """
        given = given_settings(self.settings, SamplingConfig)
        resolution = given.get("resolution", SamplingConfig().resolution)
        if "sparse_resolution" not in given and isinstance(resolution, int) and resolution > 0:
            given["sparse_resolution"] = sparse = sparse_default(resolution)
            if sparse < min(_COARSE, resolution):
                console.print(
                    f"[yellow]note:[/] {resolution} has no divisor from {_COARSE} to {_SPARSE}, so the sparse lattice "
                    f"has {sparse} cells per axis; a multiple of {_SPARSE} as --resolution gives it {_SPARSE}",
                    soft_wrap=True,
                )
        config: SamplingConfig = with_settings(SamplingConfig(), given)
        return config

    def _select(self) -> list[sources.Source]:
        if self.wide and self.source != sources.PROCEDURAL:
            raise ConfigError("--wide is a choice of --source procedural; leave it out")
        if self.mirror != "none" and not self.augment:
            raise ConfigError("--mirror acts on the copies that --augment makes; add --augment K")
        if self.source in (sources.PROCEDURAL, sources.BODIES):
            if self.split is not None:
                raise ConfigError(
                    "--split selects mesh files; select procedural shapes by --category, --count and --glob"
                )
            if self.source == sources.BODIES:
                if self.category:
                    raise ConfigError("--source bodies has a single category; leave out --category")
                chosen = sources.bodies(count=self.count, first_seed=self.first_seed, pattern=self.glob)
            else:
                chosen = sources.procedural(
                    self.category or FAMILIES,
                    count=self.count,
                    first_seed=self.first_seed,
                    pattern=self.glob,
                    wide=self.wide,
                )
        else:
            chosen = sources.files(
                Path(self.source),
                layout=self.layout,
                step=self.frame_step,
                categories=self.category,
                split=self.split,
                pattern=self.glob,
            )
        mirror = None if self.mirror == "none" else self.mirror
        return sources.augmented(chosen[: self.limit], self.augment, seed=self.seed, mirror=mirror)


def sparse_default(resolution: int) -> int:
    """Return the largest divisor of `resolution` that is at most the default sparse resolution."""
    return max(divisor for divisor in range(1, _SPARSE + 1) if resolution % divisor == 0)


def main(argv: Sequence[str] | None = None, *, hint: bool = True) -> int:
    """Run the command.

    Args:
        argv: Arguments without the program name; those of the process if None.
        hint: Print what to do next after a success.

    Returns:
        0 for success, 1 if no shape could be processed (or `--strict` and one failed), 2 for an error, 130 if
        interrupted.
    """
    args = list(sys.argv[1:] if argv is None else argv)
    try:
        if args[:1] == ["--version"]:
            from latentsdf import __version__

            sys.stdout.write(f"{_PROG} {__version__}\n")
            return 0
        if args[:1] == ["--print-completion"]:
            print_completion(Preprocess, args[1:], _PROG)
            return 0
        if args[:1] == ["merge"]:
            return _merge(args[1:], hint=hint)
        arguments = parse(Preprocess, args or ["--help"], _PROG)
        report = arguments.process()
    except (LatentSDFError, OSError) as error:
        show_error(error)
        return 2
    report.show()
    if arguments.json:
        sys.stdout.write(json.dumps(report.as_dict(), indent=1) + "\n")
    if report.interrupted:
        return 130
    nothing = not report.sampled and not report.existing
    if nothing or (arguments.strict and report.failed):
        return 1
    if hint:
        show_next_step(training_line(arguments.out))
    return 0


def _merge(args: Sequence[str], *, hint: bool) -> int:
    merge = parse(Merge, args or ["--help"], f"{_PROG} merge")
    try:
        result = merge.run()
    except KeyboardInterrupt:
        console.print("interrupted; run the same command again to continue")
        return 130
    if merge.json:
        sys.stdout.write(json.dumps(result, indent=1) + "\n")
    if hint:
        show_next_step(merge.next_step(result))
    return merge.exit_code(result)


if __name__ == "__main__":
    sys.exit(main())
