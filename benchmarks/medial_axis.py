"""Accuracy of the medial-axis method and HotSpot on three planar shapes with a medial axis in closed form.

    python benchmarks/medial_axis.py SHAPES_FOLDER --out medial.json

Errors of the distance are over the points of the file's lattice in [-1.1, 1.1]^2 of model space, the square in which
both fields were fitted, and near the curve (|d| <= 0.1), in the file's units. `low_to_axis` and `axis_to_low` are the
nearest distances from the set {v < 0.5} to the exact axis, and from the axis to the set, in the same square.
`low_to_axis` is therefore nonzero even for the exact phase field, because the set has a width. `profile_mae` is the
mean absolute difference of v from its limit for the exact axis, 1 - exp(-d / (2 epsilon)) at distance d.
"""

import argparse
import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from latentsdf.geometry.metrics.field import compare_fields
from latentsdf.reconstruction.plots import draw_distance, draw_phase
from latentsdf.reconstruction.presets import preset
from latentsdf.reconstruction.reconstruct import reconstruct
from latentsdf.reconstruction.result import Reconstruction
from latentsdf.training.losses.medial_axis import recovery_profile
from latentsdf.utils.console import console

_SIDE = 1.1
_LATTICE = 400
_LOW = 0.5


def main() -> None:
    """Fit every shape with every method and print the errors."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--shapes", nargs="+", default=list(AXES), choices=AXES)
    parser.add_argument("--methods", nargs="+", default=["hotspot", "medial_axis"])
    parser.add_argument("--steps", type=int, help="number of steps; by default that of the preset")
    parser.add_argument("--images", type=Path, help="folder for images of level sets and phase fields")
    parser.add_argument("--out", type=Path, help="JSON file for all metrics")
    arguments = parser.parse_args()
    rows: list[dict[str, Any]] = []
    for shape in arguments.shapes:
        for method in arguments.methods:
            config = preset(method, 2)
            config = replace(config, train=replace(config.train, steps=arguments.steps or config.train.steps))
            data = np.load(arguments.folder / f"{shape}.npz")
            started, processor = time.monotonic(), time.process_time()
            result = reconstruct(data["surface_points"].astype(np.float64), config=config)
            rows.append(
                {"shape": shape, "method": method, "steps": config.train.steps}
                | {"seconds": round(time.monotonic() - started, 1)}
                | {"processor_seconds": round(time.process_time() - processor, 1)}
                | _errors(result, data["grid_axis"].astype(np.float64), data["sdf_grid"].T.ravel())
                | (_axis_distances(result, AXES[shape]()) if result.phase_field is not None else {})
            )
            console.print(rows[-1])
            if arguments.images is not None:
                _draw(result, arguments.images, f"{shape}_{method}")
            if arguments.out is not None:
                arguments.out.write_text(json.dumps(rows, indent=1))


def _errors(result: Reconstruction, axis: NDArray[np.float64], exact: NDArray[np.float64]) -> dict[str, float]:
    lattice = np.stack(np.meshgrid(axis, axis, indexing="ij"), axis=-1).reshape(-1, 2)
    fitted = _in_square(result, lattice)
    return compare_fields(result.distance(lattice[fitted]), exact[fitted]).as_dict()


def _axis_distances(result: Reconstruction, axis: NDArray[np.float64]) -> dict[str, float]:
    """Measure the distances from {v < 0.5} to the axis and from the axis to this set, in the file's units."""
    along = np.linspace(-_SIDE, _SIDE, _LATTICE)
    lattice = result.similarity.to_user(np.stack(np.meshgrid(along, along), axis=-1).reshape(-1, 2))
    axis = axis[_in_square(result, axis)]
    found, distance = result.phase(lattice), cKDTree(axis).query(lattice)[0]
    limit = recovery_profile(torch.from_numpy(distance * result.similarity.scale), 0.0, result.config.medial.axis_width)
    figures = {"profile_mae": float(np.abs(found - limit.numpy()).mean()), "low_points": int((found < _LOW).sum())}
    if figures["low_points"] == 0:
        return figures
    off, missed = distance[found < _LOW], cKDTree(lattice[found < _LOW]).query(axis)[0]
    for name, values in (("low_to_axis", off), ("axis_to_low", missed)):
        figures |= {f"{name}_mean": float(values.mean()), f"{name}_p95": float(np.percentile(values, 95))}
    return figures


def _in_square(result: Reconstruction, points: NDArray[np.float64]) -> NDArray[np.bool_]:
    return np.asarray((np.abs(result.similarity.to_model(points)) <= _SIDE).all(axis=1))


def _draw(result: Reconstruction, folder: Path, name: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    draw_distance(result, size=400).save(folder / f"{name}.png")
    if result.phase_field is not None:
        draw_phase(result, size=400).save(folder / f"{name}_phase.png")


def _line(start: tuple[float, float], end: tuple[float, float]) -> NDArray[np.float64]:
    share = np.linspace(0, 1, 4000)[:, None]
    return np.array(start) * (1 - share) + np.array(end) * share


def _circle() -> NDArray[np.float64]:
    return np.zeros((1, 2))


def _square() -> NDArray[np.float64]:
    return np.concatenate((_line((-0.5, -0.5), (0.5, 0.5)), _line((-0.5, 0.5), (0.5, -0.5))))


def _l() -> NDArray[np.float64]:
    """Medial axis of the L, [-1/2, 1/2]^2 without its upper right quarter, composed of a half and its mirror image.

    Near the inner corner the axis is the parabola between that corner and the lower side, y = x^2 - 1/4.
    """
    meeting = (1 - 2**0.5) / 2
    x = np.linspace(meeting, 0, 2000)
    lower = np.concatenate(
        (
            _line((0.5, 0.0), (0.25, -0.25)),
            _line((0.5, -0.5), (0.25, -0.25)),
            _line((0.25, -0.25), (0.0, -0.25)),
            np.stack((x, x**2 - 0.25), axis=1),
        )
    )
    diagonals = (_line((-0.5, -0.5), (meeting, meeting)), _line((0.0, 0.0), (3.0, 3.0)))
    return np.concatenate((lower, lower[:, ::-1], *diagonals))


AXES = {"square": _square, "L": _l, "circle": _circle}
"""Functions by shape that return points on the inner and outer medial axis, in the file's units."""


if __name__ == "__main__":
    main()
