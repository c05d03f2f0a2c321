"""Flags and checks that several verbs share."""

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING

from latentsdf.cli.arg_types import number, positive, resolution, whole
from latentsdf.utils.errors import ConfigError

if TYPE_CHECKING:
    from latentsdf.config.inversion import InvertConfig, RefineConfig
    from latentsdf.space import ShapeSpace


def space(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("checkpoint", type=Path, help="folder of a trained space")
    device(parser)


def device(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N (%(default)s)")


def seed(parser: argparse.ArgumentParser, of: str) -> None:
    parser.add_argument("--seed", type=whole(0), default=0, help=f"of {of}; same seed, same result (%(default)s)")


def shape(
    parser: argparse.ArgumentParser, mesh: str | None = None, *, several: str | None = None
) -> "argparse._MutuallyExclusiveGroup":
    """Ways to name one shape, of which a command takes one; `mesh` explains a third, where there is one.

    `several` explains what a list of ids is for, where `--id` takes one.
    """
    ways = parser.add_mutually_exclusive_group()
    if several is not None:
        ways.add_argument("--id", nargs="+", help=f"training shapes, ids or category/id; {several}")
    else:
        ways.add_argument("--id", help="a training shape: id or category/id")
    ways.add_argument("--code", type=Path, help="the folder written by invert, or a code.npy (in model space)")
    if mesh is not None:
        ways.add_argument("--mesh", type=Path, help=mesh)
    return ways


def decoding(parser: argparse.ArgumentParser, cells: int = 256) -> None:
    parser.add_argument("--resolution", type=resolution, default=cells, help="cells per axis (%(default)s)")
    mode = "the smooth branch, the detailed one, that one in the band about the surface, or blended there (%(default)s)"
    parser.add_argument("--mode", choices=("general", "overfit", "fused", "smooth"), default="fused", help=mode)


def refining(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--refine", action="store_true", help="learn a mesh's own detail too, kept as delta.npz")
    parser.add_argument("--refine-seconds", type=positive(), help="budget of that a shape; implies --refine")


def require_png(path: Path | None) -> None:
    if path is not None and path.suffix.lower() != ".png":
        raise ConfigError(f"a picture is written as .png, got {path}")


def require_folder(path: Path | None) -> None:
    """Make an output folder before the work whose result it is for; ConfigError where that cannot be."""
    if path is None:
        return
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be made a folder ({error.strerror}); name another --out") from error
    if not os.access(path, os.W_OK):
        raise ConfigError(f"{path}: cannot be written to; name another --out")


def inverting(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--steps", type=whole(1), help="Gauss-Newton steps at most")
    parser.add_argument("--starts", type=whole(1), help="codes tried side by side at first")
    parser.add_argument("--points", type=whole(1), help="samples of the observation that the fit sees")
    parser.add_argument("--prior", type=number(0), help="weight of staying near the training codes")
    parser.add_argument(
        "--partial", action="store_true", help="the target is a part: leave what is missing to the prior"
    )
    parser.add_argument("--align", action="store_true", help="estimate scale, turn about y and translation too")
    parser.add_argument(
        "--frame", choices=("user", "model"), default="user", help="coordinates of the target (%(default)s)"
    )
    seed(parser, "the samples of the target")


def refuse_inverting(arguments: argparse.Namespace) -> None:
    """ConfigError for flags of `inverting` where nothing is inverted."""
    unset = {"steps": None, "starts": None, "points": None, "prior": None, "partial": False, "align": False}
    useless = [f"--{name}" for name, default in unset.items() if getattr(arguments, name) is not default]
    useless += ["--frame"] * (arguments.frame != "user") + ["--seed"] * (arguments.seed != 0)
    if useless:
        raise ConfigError(f"{' and '.join(useless)} would have no effect: only the target of --mesh is inverted")


def inversion(arguments: argparse.Namespace, *, by_layer: bool = False) -> "InvertConfig":
    from latentsdf.config.inversion import InvertConfig

    names = ("steps", "starts", "points", "prior")
    given = {name: getattr(arguments, name) for name in names if getattr(arguments, name) is not None}
    given |= {name: getattr(arguments, name) for name in ("partial", "align", "frame", "seed")}
    return InvertConfig(by_layer=by_layer, **given)


def load_space(arguments: argparse.Namespace) -> "ShapeSpace":
    from latentsdf.space import load

    return load(arguments.checkpoint, arguments.device)


def refinement(arguments: argparse.Namespace) -> "RefineConfig | None":
    from latentsdf.config.inversion import RefineConfig

    if arguments.refine_seconds is not None:
        return RefineConfig(seconds=arguments.refine_seconds, seed=arguments.seed)
    return RefineConfig(seed=arguments.seed) if arguments.refine else None
