r"""Effect of each regularizer on surfaces, the far field, interpolation, unseen shapes and speed.

Each variant is the default preset for two CPU cores with a few changed settings, trained on the same store with the
same seed for the same time. `default_again` is the default with another seed; smaller differences than between these
two are not significant. Training alternates between variants as in quality.py (--turns). Results are stored under
--out; running the same command again continues after the last completed turn and measures only what is missing. A
variant whose training fails is reported and omitted. The output (results.json, results.md) lists for each variant

- the number of steps in the given time;
- reconstruction: the fused surfaces of training shapes against their solids (quality.py): point-to-triangle distance
  (mean of both directions) and 1 - normal consistency;
- far field: s_g at the uniform samples of the store more than 0.1 from the surface: mean absolute error, share of wrong
  signs, mean | |grad s_g| - 1 |;
- interpolation: linear paths of 9 codes between fixed pairs of training shapes: mean displacement per step and its
  coefficient of variation, which is 0 at constant speed; and for the middle code the number of pieces above 0.5 % of
  the area of the largest one, and the share of the area outside the largest piece (chairs with loose parts have several
  pieces themselves). A path with an empty step is omitted; "measured" is the number of the others;
- unseen shapes, inverted with one code: mean and median of the point-to-triangle distance.

Weights: on 39 chairs, after 6 minutes of an older default (codes of 32 values, six octaves, clamped), the data terms
summed to 2.6e-3. At weight 1, without being trained, the regularizers were: eikonal 1.3 (L1) and 4.1 (L2), heat 0.26,
divergence 20, code 0.35 (norm), 0.12 (squared), 0.20 (KL), feature 1.1, lipschitz 12. Their weights scale these values
to 1e-3 to 3e-3, with two exceptions. The eikonal weight, 0.01 with data terms of weight 1, is in the published range of
0.003 to 0.1 (IGR, HotSpot); the term decreases during training. The divergence weight is a hundredth of the eikonal
weight; training with the published ratio of 2 was unstable on point clouds. The divergence needs second derivatives,
which vanish for ReLU networks, so it is combined with softplus, and these variants are compared with softplus
references.

python benchmarks/regularizers.py --data chairs.zarr --meshes furniture --train chair_train.json \
    --test chair_test.json --out regularizers/chairs [--minutes 5] [--turns 1] [--variants default heat ...]
"""

import json
import statistics
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
import trimesh
from quality import ONE_CODE, common_parser, measure_split, references_of, solid_surfaces, timed_config, train_in_turns
from torch import Tensor

import latentsdf as ls
from latentsdf.config.inversion import InvertConfig
from latentsdf.config.training import Config
from latentsdf.data.store import SampleStore
from latentsdf.extraction.field import SignedDistance
from latentsdf.latent.interpolation import smoothness
from latentsdf.latent.inversion.observation import Observation, observe
from latentsdf.models.derivatives import jet
from latentsdf.space import ShapeSpace, Target
from latentsdf.training import checkpoint
from latentsdf.utils.console import track
from latentsdf.utils.errors import LatentSDFError
from latentsdf.utils.malloc import keep_freed_memory

BASE = "latentsdf_cpu"
EIKONAL = {"loss.eikonal": 0.01}
HEAT = {"loss.heat": 0.01}
SOFTPLUS = {"model.general.activation": "softplus"}
VARIANTS: dict[str, dict[str, object]] = {
    "default": {},
    "default_again": {"train.seed": 1},
    "agreement": {"loss.agreement": 0.5},
    "clamped": {"loss.clamp": 0.1},  # far samples only have a lower bound of the distance
    "eikonal_clamped": EIKONAL | {"loss.clamp": 0.1},
    "eikonal_l1": EIKONAL,
    "eikonal_l2": EIKONAL | {"loss.eikonal_norm": "l2"},
    "heat": EIKONAL | HEAT,
    "heat_alone": HEAT,
    "softplus": SOFTPLUS,
    "softplus_eikonal": SOFTPLUS | EIKONAL,
    "steik": SOFTPLUS | EIKONAL | {"loss.directional_divergence": 1e-4},
    "eikonal_heat_cpu": SOFTPLUS | EIKONAL | HEAT,  # equals the preset of this name
    "code_norm": {"loss.code": 3e-3},
    "code_squared": {"loss.code": 0.01, "loss.code_prior": "squared"},
    "code_kl": {"loss.code": 0.01, "loss.code_prior": "kl", "train.code_std": 0.1},
    "feature": {"loss.feature": 1e-3},
    "lipschitz": {"loss.lipschitz": 1e-4},
}
REFERENCES = (
    ("eikonal_clamped", "clamped"),
    ("heat", "eikonal_l1"),
    ("softplus_eikonal", "softplus"),
    ("steik", "softplus_eikonal"),
)
"""Pairs (variant, reference) that are compared in addition to the comparisons with the default."""

FAR = 0.1
FAR_SAMPLES = 20_000
PATH_STEPS = 9
PATH_RESOLUTION = 128
CHUNK = 8_192
COLUMNS = {
    "point to triangle": ("reconstruction", "triangle_mean"),
    "1 - normal consistency": ("reconstruction", "normal_error"),
    "far: error of s_g": ("far", "error"),
    "far: wrong signs": ("far", "wrong_sign"),
    "far: slope off 1": ("far", "slope_error"),
    "path: displacement per step": ("paths", "travel"),
    "path: variation": ("paths", "variation"),
    "middle: pieces": ("paths", "pieces"),
    "middle: outside the largest piece": ("paths", "debris"),
    "unseen: mean": ("unseen", "triangle_mean"),
    "unseen: median": ("unseen", "triangle_median"),
}
"""Part and name of the metric in each column, by column title."""

Figures = dict[str, Any]


def far_field(field: SignedDistance, samples: Tensor) -> dict[str, float]:
    """Measure the errors of a field farther than `FAR` from the surface.

    Args:
        field: Signed distance.
        samples: Points and exact signed distances (N, 4).

    Returns:
        Mean absolute error, share of wrong signs, and mean absolute deviation of the gradient norm from 1.
    """
    far = samples[samples[:, 3].abs() > FAR]
    parts = []
    for some in far.split(CHUNK):
        at, distance = jet(field, some[:, :3]), some[:, 3]
        slope_error = (at.gradient.norm(dim=-1) - 1).abs()
        wrong = (at.distance < 0) != (distance < 0)
        parts.append(torch.stack(((at.distance - distance).abs(), wrong.float(), slope_error), dim=1).detach())
    error, wrong_sign, slope = torch.cat(parts).double().mean(0).tolist()
    return {"error": error, "wrong_sign": wrong_sign, "slope_error": slope}


def debris(mesh: trimesh.Trimesh) -> dict[str, float]:
    """Count the pieces with at least 0.5 % of the largest area; compute the share of area outside the largest piece."""
    piece = trimesh.graph.connected_component_labels(mesh.face_adjacency, node_count=len(mesh.faces))
    area = np.bincount(piece, weights=mesh.area_faces)
    return {"pieces": int((area >= 5e-3 * area.max()).sum()), "debris": float(1 - area.max() / area.sum())}


def measure_far(space: ShapeSpace, store: SampleStore, names: Sequence[str]) -> Figures:
    """Measure the far field of training shapes and average over them."""
    each = {}
    for name in names:
        row = space.row(name)
        samples = torch.from_numpy(store.offsurface_samples(space.keys[row])[1][:FAR_SAMPLES]).to(space.device)
        code = space.codes[row][None]

        def field(points: Tensor, code: Tensor = code) -> Tensor:
            return space.model.branch("general", points[None], code)[0]

        each[name] = far_field(field, samples)
    return _means(each) | {"measured": len(each), "each": each}


def measure_paths(space: ShapeSpace, pairs: Sequence[tuple[str, str]], resolution: int) -> Figures:
    """Measure displacement along paths and debris of their middle shapes, averaged over paths without empty steps."""
    each, broken = {}, {}
    with track("paths", total=len(pairs), unit="path") as advance:
        for first, second in pairs:
            name = f"{first} to {second}"
            try:
                codes = space.interpolate(first, second, steps=PATH_STEPS)
                smooth = smoothness([space.extract(code, resolution, frame="model") for code in codes])
                middle = debris(space.extract(codes[PATH_STEPS // 2], resolution, frame="model", smallest_piece=0.0))
                each[name] = {"travel": float(smooth.displacement.mean()), "variation": smooth.variation} | middle
            except LatentSDFError as error:
                broken[name] = str(error)
            advance()
    return _means(each) | {"measured": len(each), "broken": broken, "each": each}


def _means(each: Mapping[str, Mapping[str, float]]) -> Figures:
    rows = list(each.values())
    return {name: statistics.fmean(row[name] for row in rows) for name in rows[0]} if rows else {}


@dataclass(frozen=True)
class Study:
    """Shapes and settings with which all variants are measured."""

    store: SampleStore
    seen: dict[str, trimesh.Trimesh]
    unseen: dict[str, trimesh.Trimesh]
    solids: dict[str, trimesh.Trimesh]
    resolution: int
    points: int

    @cached_property
    def observations(self) -> dict[str, Observation]:
        """Observations of the unseen shapes for inversion, the same for all variants."""
        return {name: observe(mesh, self.store.config.normalization) for name, mesh in self.unseen.items()}

    def measure(self, folder: Path, device: str) -> Figures:
        """Measure a trained variant. Each part is cached in the folder until the settings of the measurement change."""
        step = checkpoint.load_state(folder)["step"]
        space = ls.load(folder, device)
        pairs = list(pairwise(self.seen))
        settings = {"step": step, "resolution": self.resolution, "points": self.points}
        settings |= {"seen": list(self.seen), "unseen": list(self.unseen)}
        parts: dict[str, Callable[[], Figures]] = {
            "reconstruction": lambda: self._surfaces(space, self.seen, None),
            "far": lambda: measure_far(space, self.store, list(self.seen)),
            "paths": lambda: measure_paths(space, pairs, min(self.resolution, PATH_RESOLUTION)),
            "unseen": lambda: self._surfaces(space, self.observations, ONE_CODE),
        }
        found: Figures = {"steps": step}
        for part, measure in parts.items():
            found[part] = _measured_once(folder / f"figures_{part}.json", settings, measure)
        return found

    def _surfaces(self, space: ShapeSpace, shapes: Mapping[str, Target], inversion: InvertConfig | None) -> Figures:
        """Measure fused surfaces: means of all metrics over shapes, and the median of the distance."""
        split = measure_split(space, shapes, self.solids, inversion, self.resolution, self.points, ("fused",))["fused"]
        each: dict[str, dict[str, float]] = split["each"]  # type: ignore[assignment]
        if not each:
            return {"measured": 0, "each": each}
        median = statistics.median(shape["triangle_mean"] for shape in each.values())
        return _means(each) | {"triangle_median": median, "measured": len(each), "each": each}


def _measured_once(path: Path, settings: dict[str, object], measure: Callable[[], Figures]) -> Figures:
    if path.is_file():
        kept = json.loads(path.read_text())
        if kept["settings"] == settings:
            return kept["figures"]
    figures = measure()
    path.write_text(json.dumps({"settings": settings, "figures": figures}, indent=1))
    return figures


def require_same(folder: Path, config: Config) -> None:
    """Exit if the folder has a run with other settings, which would be mistaken for this variant."""
    if (folder / "state.pt").is_file() and checkpoint.load_config(folder) != config:
        raise SystemExit(f"{folder}: was trained with other settings (minutes, weights); pass another --out")


def table(results: Mapping[str, Figures]) -> str:
    """Format the metrics as a Markdown table, and below it their ratios to the default and to other references."""
    parts = ("reconstruction", "far", "paths", "unseen")
    lines = [f"| variant | changed | steps | {' | '.join(COLUMNS)} | measured: {', '.join(parts)} |"]
    lines.append("|" + "---|" * (len(COLUMNS) + 4))
    for variant, figures in results.items():
        changed = ", ".join(f"{name.split('.', 1)[1]} {value}" for name, value in VARIANTS[variant].items())
        cells = " | ".join(f"{value:.3g}" if value is not None else "" for value in _row(figures)[1:])
        counts = ", ".join(str(figures[part]["measured"]) for part in parts)
        lines.append(f"| {variant} | {changed} | {figures['steps']:,} | {cells} | {counts} |")
    compared = [(variant, "default") for variant in results if variant != "default"]
    compared += [pair for pair in REFERENCES if pair[0] in results]
    lines += ["", f"| ratio | steps | {' | '.join(COLUMNS)} |", "|" + "---|" * (len(COLUMNS) + 2)]
    for variant, reference in compared:
        if reference in results:
            both = zip(_row(results[variant]), _row(results[reference]), strict=True)
            cells = " | ".join(f"{a / b:.2f}" if a is not None and b else "" for a, b in both)
            lines.append(f"| {variant} / {reference} | {cells} |")
    return "\n".join(lines)


def _row(figures: Figures) -> list[float | None]:
    """Steps and the metric of each column, None if nothing could be measured."""
    return [figures["steps"], *(figures[part].get(name) for part, name in COLUMNS.values())]


def main() -> None:
    """Train and measure the variants as far as results are missing, and print the tables."""
    parser = common_parser(__doc__, minutes=5.0, turns=1, points=30_000, limit=12)
    parser.add_argument("--variants", nargs="+", choices=list(VARIANTS), default=list(VARIANTS), metavar="VARIANT")
    arguments = parser.parse_args()
    keep_freed_memory()
    out = arguments.out
    out.mkdir(parents=True, exist_ok=True)
    configs = {name: timed_config(BASE, arguments.minutes, VARIANTS[name]) for name in arguments.variants}
    for name, config in configs.items():
        require_same(out / name, config)
    store = SampleStore.open(arguments.data)
    failed = train_in_turns(configs, store, out, arguments.turns, arguments.device)
    known = {name for key in store for name in (key, key.split("/", 1)[1])}
    seen = references_of(arguments.meshes, arguments.train, arguments.limit)
    seen = {name: mesh for name, mesh in seen.items() if name in known}
    unseen = references_of(arguments.meshes, arguments.test, arguments.limit)
    solids = solid_surfaces(seen | unseen, out / f"solids_{arguments.resolution}", arguments.resolution)
    study = Study(store, seen, unseen, solids, arguments.resolution, arguments.points)
    results: dict[str, Figures] = {}
    for name in (name for name in configs if name not in failed):
        results[name] = study.measure(out / name, arguments.device)
        (out / "results.json").write_text(json.dumps({"variants": VARIANTS, "results": results}, indent=1))
        (out / "results.md").write_text(table(results) + "\n")
    sys.stdout.write(table(results) + "\n")


if __name__ == "__main__":
    main()
