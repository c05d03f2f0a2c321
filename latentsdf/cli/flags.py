"""Flags and checks that several verbs share."""

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING

from latentsdf.errors import ConfigError

if TYPE_CHECKING:
    from latentsdf.config import InvertConfig, RefineConfig
    from latentsdf.space import ShapeSpace


def space(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("checkpoint", type=Path, help="checkpoint folder")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N")


def shape(parser: argparse.ArgumentParser, mesh: str | None = None) -> None:
    """Ways to name one shape, of which a command takes one; `mesh` explains a third, where there is one."""
    ways = parser.add_mutually_exclusive_group()
    ways.add_argument("--id", help="a training shape: id or category/id")
    ways.add_argument("--code", type=Path, help="the folder written by invert, or a code.npy (in model space)")
    if mesh is not None:
        ways.add_argument("--mesh", type=Path, help=mesh)


def decoding(parser: argparse.ArgumentParser, resolution: int = 256) -> None:
    parser.add_argument("--resolution", type=int, default=resolution, help="cells per axis (%(default)s)")
    parser.add_argument("--mode", choices=("general", "overfit", "fused", "smooth"), default="fused")


def refining(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--refine", action="store_true", help="learn a mesh's own detail too, kept as delta.npz")
    parser.add_argument("--refine-seconds", type=float, help="budget of that a shape; implies --refine")


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
    parser.add_argument("--steps", type=int, help="Gauss-Newton steps at most")
    parser.add_argument("--starts", type=int, help="codes tried side by side at first")
    parser.add_argument("--points", type=int, help="samples of the observation that the fit sees")
    parser.add_argument("--prior", type=float, help="weight of staying near the training codes")
    parser.add_argument(
        "--partial", action="store_true", help="the target is a part: leave what is missing to the prior"
    )
    parser.add_argument("--align", action="store_true", help="estimate scale, turn about y and translation too")
    parser.add_argument("--frame", choices=("user", "model"), default="user", help="coordinates of the target")
    parser.add_argument("--seed", type=int, default=0)


def refuse_inverting(arguments: argparse.Namespace) -> None:
    """ConfigError for flags of `inverting` where nothing is inverted."""
    unset = {"steps": None, "starts": None, "points": None, "prior": None, "partial": False, "align": False}
    useless = [f"--{name}" for name, default in unset.items() if getattr(arguments, name) is not default]
    useless += ["--frame"] * (arguments.frame != "user") + ["--seed"] * (arguments.seed != 0)
    if useless:
        raise ConfigError(f"{' and '.join(useless)} would have no effect: only the target of --mesh is inverted")


def inversion(arguments: argparse.Namespace, *, by_layer: bool = False) -> "InvertConfig":
    from latentsdf.config import InvertConfig

    names = ("steps", "starts", "points", "prior")
    given = {name: getattr(arguments, name) for name in names if getattr(arguments, name) is not None}
    given |= {name: getattr(arguments, name) for name in ("partial", "align", "frame", "seed")}
    return InvertConfig(by_layer=by_layer, **given)


def load_space(arguments: argparse.Namespace) -> "ShapeSpace":
    from latentsdf.space import load

    return load(arguments.checkpoint, arguments.device)


def refinement(arguments: argparse.Namespace) -> "RefineConfig | None":
    from latentsdf.config import RefineConfig

    if arguments.refine_seconds is not None:
        if arguments.refine_seconds <= 0:
            raise ConfigError(f"--refine-seconds must be positive, got {arguments.refine_seconds:g}")
        return RefineConfig(seconds=arguments.refine_seconds, seed=arguments.seed)
    return RefineConfig(seed=arguments.seed) if arguments.refine else None
