"""Flags and checks that several verbs share."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from latentsdf.errors import ConfigError

if TYPE_CHECKING:
    from latentsdf.config import RefineConfig
    from latentsdf.space import ShapeSpace


def space(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("checkpoint", type=Path, help="checkpoint folder")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N")


def shape(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--id", help="a training shape: id or category/id")
    parser.add_argument("--code", type=Path, help="the folder written by invert, or a code.npy (in model space)")


def decoding(parser: argparse.ArgumentParser, resolution: int = 256) -> None:
    parser.add_argument("--resolution", type=int, default=resolution, help="cells per axis (%(default)s)")
    parser.add_argument("--mode", choices=("general", "overfit", "fused", "smooth"), default="fused")


def refining(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--refine", action="store_true", help="learn a mesh's own detail too, kept as delta.npz")
    parser.add_argument("--refine-seconds", type=float, help="budget of that a shape; implies --refine")


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
