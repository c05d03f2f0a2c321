"""The `latentsdf-preprocess` command."""

import argparse
import dataclasses
import json
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Literal, get_args, get_origin

from latentsdf.config.sampling import SamplingConfig
from latentsdf.data.furniture import FAMILIES
from latentsdf.data.mesh_datasets import Layout
from latentsdf.utils.console import console, show_error
from latentsdf.utils.errors import ConfigError, LatentSDFError
from preprocessing import job, sources
from preprocessing.cluster import connected
from preprocessing.report import Report

_SPARSE = SamplingConfig.sparse_resolution
_COARSE = 32  # a sparse lattice of fewer cells shows little
EXAMPLES = """
examples:
  latentsdf-preprocess --source meshes/furniture --category chair --split chair_train.json --out chairs.zarr
  latentsdf-preprocess --source ShapeNetCore.v2 --category 03001627 --out chairs.zarr --workers 8
  latentsdf-preprocess --source registrations_f.hdf5 --category 50002 --frame-step 20 --out bodies.zarr
  latentsdf-preprocess --source procedural --count 40 --resolution 256 --band-voxels 4 --out demo.zarr
  latentsdf-preprocess --source /share/ShapeNetCore.v2 --out /share/shapes.zarr --dask tcp://head:8786

A run that was stopped continues where it was when the same command is given again. A shape whose source file has
changed since is made again.
exit code: 0 done, 1 nothing could be made (or --strict and something failed), 2 wrong use, 130 interrupted
"""


def build_parser() -> argparse.ArgumentParser:
    """Flags; the sampling ones are the fields of SamplingConfig."""
    parser = argparse.ArgumentParser(
        prog="latentsdf-preprocess",
        description="Turn mesh files into a store of signed distance samples: exact dense band, sparse lattice.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--source", required=True, help="a folder of meshes, a ShapeNetCore root, a D-FAUST .hdf5, or 'procedural'"
    )
    parser.add_argument("--out", type=Path, required=True, help="the store to write or continue (a .zarr folder)")
    parser.add_argument("--layout", choices=get_args(Layout), default="auto")
    parser.add_argument("--category", action="append", default=[], help="name or synset; repeat for several")
    parser.add_argument("--split", type=Path, help="DeepSDF split file that selects shapes")
    parser.add_argument("--glob", default="*", help="pattern of ids or category/id, e.g. 'kenney_*'")
    parser.add_argument("--limit", type=int, help="at most this many shapes")
    parser.add_argument("--count", type=int, default=16, help="procedural: members of each family (%(default)s)")
    parser.add_argument("--first-seed", type=int, default=0, help="procedural: seed of the first member")
    parser.add_argument("--frame-step", type=int, help="D-FAUST: every so many frames (10; 1 with --split)")
    parser.add_argument("--workers", type=int, default=0, help="processes; 0 for one a core; not with --dask")
    parser.add_argument(
        "--dask",
        metavar="ADDRESS",
        help="tcp://host:port of a Dask scheduler whose workers make the shapes (extra: dask); on other machines they "
        "need latentsdf installed, and the meshes and OUT under the same paths on a shared file system",
    )
    parser.add_argument("--timeout", type=float, default=600.0, help="seconds until a shape is given up (%(default)g)")
    parser.add_argument(
        "--memory-gb",
        type=float,
        default=0.0,
        help="GiB of memory until a shape is given up (nine tenths of the machine's over the workers; with --dask each "
        "worker's own limit)",
    )
    parser.add_argument("--seed", type=int, default=0, help="one for all shapes of a store (%(default)s)")
    parser.add_argument("--overwrite", action="store_true", help="make shapes again that the store holds")
    parser.add_argument("--preview", action="store_true", help="draw each shape made, as OUT.previews/CATEGORY/ID.png")
    parser.add_argument("--strict", action="store_true", help="exit with 1 if any shape failed")
    parser.add_argument("--json", action="store_true", help="print the report on standard output")
    sampling = parser.add_argument_group("sampling")
    for field in dataclasses.fields(SamplingConfig):
        choices = get_args(field.type) if get_origin(field.type) is Literal else None
        flag = f"--{field.name.replace('_', '-')}"
        default, text = field.default, "(%(default)s)"
        if field.name == "sparse_resolution":
            default, text = None, f"(the largest divisor of --resolution that is at most {_SPARSE})"
        sampling.add_argument(flag, type=type(field.default), choices=choices, default=default, help=text)
    return parser


def sparse_default(resolution: int) -> int:
    """The largest divisor of `resolution` that is at most the default sparse resolution."""
    return max(divisor for divisor in range(1, _SPARSE + 1) if resolution % divisor == 0)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    arguments = build_parser().parse_args(argv)
    if arguments.sparse_resolution is None:
        arguments.sparse_resolution = sparse_default(arguments.resolution)
        if arguments.sparse_resolution < min(_COARSE, arguments.resolution):
            console.print(
                f"[yellow]note:[/] {arguments.resolution} has no divisor from {_COARSE} to {_SPARSE}, so the sparse "
                f"lattice has {arguments.sparse_resolution} cells per axis; a multiple of {_SPARSE} as --resolution "
                f"gives it {_SPARSE}",
                soft_wrap=True,
            )
    try:
        config = SamplingConfig(**{f.name: getattr(arguments, f.name) for f in dataclasses.fields(SamplingConfig)})
        report = _run(arguments, config)
    except (LatentSDFError, OSError) as error:
        show_error(error)
        return 2
    report.show()
    if arguments.json:
        sys.stdout.write(json.dumps(report.as_dict(), indent=1) + "\n")
    if report.interrupted:
        return 130
    nothing = not report.made and not report.present
    return 1 if nothing or (arguments.strict and report.failed) else 0


def _run(arguments: argparse.Namespace, config: SamplingConfig) -> Report:
    work = partial(
        job.run,
        _select(arguments),
        arguments.out,
        config,
        timeout=arguments.timeout,
        overwrite=arguments.overwrite,
        seed=arguments.seed,
        previews=Path(f"{arguments.out}.previews") if arguments.preview else None,
    )
    if arguments.dask is None:
        return work(workers=arguments.workers, memory_gb=arguments.memory_gb)
    if arguments.workers:
        raise ConfigError("--workers is for processes of this machine; with --dask its workers are used, all of them")
    with connected(arguments.dask) as cluster:
        memory = arguments.memory_gb or cluster.memory_gb
        return work(workers=cluster.threads, memory_gb=memory, executor=cluster.executor)


def _select(arguments: argparse.Namespace) -> list[sources.Source]:
    if arguments.source == sources.PROCEDURAL:
        families = arguments.category or FAMILIES
        if arguments.split is not None:
            raise ConfigError("--split selects among mesh files; procedural shapes by --category, --count and --glob")
        chosen = sources.procedural(
            families, count=arguments.count, first_seed=arguments.first_seed, pattern=arguments.glob
        )
    else:
        chosen = sources.files(
            Path(arguments.source),
            layout=arguments.layout,
            step=arguments.frame_step,
            categories=arguments.category,
            split=arguments.split,
            pattern=arguments.glob,
        )
    return chosen[: arguments.limit]


if __name__ == "__main__":
    sys.exit(main())
