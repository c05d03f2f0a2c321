"""The pipeline of `latentsdf demo`: every step from procedural meshes to a report.

Sampling, training, fused extraction of training shapes, inversion of unseen shapes, interpolation and retrieval run as
they do on real data. The results are `report.html` and `report.json`. Separate from `demo.py`, because it imports
torch.
"""

import json
import platform
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
import trimesh
from PIL import Image

from latentsdf.config.inversion import InvertConfig
from latentsdf.config.training import Config, TrainConfig
from latentsdf.data.furniture import FAMILIES, furniture
from latentsdf.evaluation import html_report
from latentsdf.evaluation.evaluate import evaluate
from latentsdf.evaluation.result import Evaluation
from latentsdf.rendering.render import render_mesh
from latentsdf.rendering.sheets import comparison_sheet, contact_sheet
from latentsdf.space import ShapeSpace, load
from latentsdf.training.checkpoint import load_config, read_metrics
from latentsdf.training.train import train
from latentsdf.utils import devices
from latentsdf.utils.console import console
from latentsdf.utils.errors import CheckpointError, ConfigError, LatentSDFError
from latentsdf.utils.output_folders import require_writable_output

RESOLUTION = 256
_PRESET = "demo"
_EVALUATED_PER_FAMILY = 6
_UNSEEN_PER_FAMILY = 2
_UNSEEN_SEED = 100_000
_FAST_INVERSION = InvertConfig(steps=10, starts=1, points=512, by_layer=False)


def demo(
    out: Path, *, minutes: float, per_family: int, workers: int, seed: int, device: str = "auto"
) -> dict[str, Any]:
    """Run every step and write the report.

    Args:
        out: Folder of the store, the space and the report.
        minutes: Training time.
        per_family: Training shapes of each family.
        workers: Preprocessing workers; 0 for one per core.
        seed: Seed of the training.
        device: auto, cpu, cuda or cuda:N.

    Returns:
        The content of `report.json`.

    Raises:
        ConfigError: If there are too few shapes or the device is not available.
        CheckpointError: If `out` holds anything but an earlier demo.
    """
    started = time.monotonic()
    if per_family < _EVALUATED_PER_FAMILY:
        raise ConfigError(f"the demo measures {_EVALUATED_PER_FAMILY} shapes of each family; got {per_family}")
    devices.resolve(device)
    _require_own(out)
    out.mkdir(parents=True, exist_ok=True)
    store = out / "samples.zarr"
    _heading(1, f"samples: {per_family} shapes of each of {', '.join(FAMILIES)}")
    _preprocess(store, per_family, workers)
    sampled = time.monotonic()
    _heading(2, f"training: {minutes:g} minutes")
    config = Config(preset=_PRESET, train=TrainConfig(minutes=minutes, steps=10**9, seed=seed))
    train(store, out, config, overwrite=True, device=device)
    trained = time.monotonic()
    space = load(out, device)
    _heading(3, "decoding training shapes")
    known = {f"{f}_{i:04d}": furniture(f, i) for f in FAMILIES for i in range(_EVALUATED_PER_FAMILY)}
    seen, seen_meshes = evaluate(space, known, resolution=RESOLUTION)
    _heading(4, "inverting unseen shapes, by codes alone")
    new = {f"{f} {i + 1}": furniture(f, _UNSEEN_SEED + i) for f in FAMILIES for i in range(_UNSEEN_PER_FAMILY)}
    unseen, unseen_meshes = evaluate(space, new, unseen=True, resolution=RESOLUTION)
    _heading(5, "interpolating")
    strips = [_strip(space, f"{family}_0000") for family in FAMILIES]
    _heading(6, "retrieving every training shape by its own mesh")
    share, misses = _retrieval(space)
    summary = {
        "train": seen.as_dict(),
        "unseen": unseen.as_dict(),
        "chamfer_over_floor_median": _over_floor(seen),
        "unseen_f_score_002_median": unseen.summary()["f_score_002"]["median"],
        "self_retrieval_share": share,
        "self_retrieval_misses": misses,
        "training_shapes": len(space.ids),
        "seconds": {
            "samples": round(sampled - started),
            "training": round(trained - sampled),
            "uses": round(time.monotonic() - trained),
            "all": round(time.monotonic() - started),
        },
        "machine": f"{platform.machine()}, {torch.get_num_threads()} threads, torch {torch.__version__}",
        "seed": seed,
    }
    (out / "report.json").write_text(json.dumps(summary, indent=1))
    html_report.write_html(
        out / "report.html",
        "latentsdf demo",
        [
            ("Figures", _figures(summary)),
            ("Training shapes: original above, fused reconstruction below", _sheet(known, seen_meshes)),
            ("Unseen shapes: original above, inverted below", _sheet(new, unseen_meshes)),
            (
                "Interpolation from a training shape to its nearest relative",
                html_report.html_image(contact_sheet(strips)),
            ),
            ("Retrieval: unseen query, then the nearest training shapes", _retrieval_rows(space, new)),
            ("Loss over training time", html_report.html_curve(read_metrics(out), ("general", "overfit"))),
            ("Every shape", _every_shape(seen) + _every_shape(unseen)),
        ],
    )
    console.print(
        f"\n[bold]{out / 'report.html'}[/]\n"
        f"training shapes: Chamfer {summary['chamfer_over_floor_median']:.2f} x its sampling floor (median)\n"
        f"unseen shapes: F-score(0.02) {summary['unseen_f_score_002_median']:.3f} (median)\n"
        f"training shapes that retrieve themselves first: {share:.1%}"
    )
    return summary


def _require_own(out: Path) -> None:
    """Raise CheckpointError if the folder holds anything but an earlier demo."""
    require_writable_output(out, "space", overwrite=True)
    if (out / "model.safetensors").is_file() and (preset := load_config(out).preset) != _PRESET:
        raise CheckpointError(
            f"{out}: holds a space trained with preset '{preset}', not by the demo; name another --out"
        )


def _heading(number: int, text: str) -> None:
    console.print(f"\n[bold]{number}/6[/] {text}")


def _preprocess(store: Path, per_family: int, workers: int) -> None:
    """Run `latentsdf-preprocess` as a process, because `latentsdf` does not import `preprocessing`."""
    flags = {
        "--source": "procedural",
        "--out": str(store),
        "--count": str(per_family),
        "--workers": str(workers),
        "--resolution": str(RESOLUTION),
        "--band-voxels": "4",
        "--sparse-resolution": "64",
        "--near": "40000",
        "--uniform": "20000",
        "--surface": "10000",
    }
    words = [word for pair in flags.items() for word in pair]
    # -P: a preprocessing.py in the working directory is not imported.
    done = subprocess.run([sys.executable, "-P", "-m", "preprocessing", *words], check=False)
    if done.returncode == 130:
        raise KeyboardInterrupt
    if done.returncode:
        raise LatentSDFError(f"preprocessing ended with exit code {done.returncode}; its messages are above")


def _over_floor(evaluation: Evaluation) -> float:
    return float(np.median([comparison.over_floor for comparison in evaluation.shapes.values()]))


def _strip(space: ShapeSpace, first: str, steps: int = 7) -> list[Image.Image]:
    """Pictures of an interpolation from a shape to its nearest neighbour in the same family."""
    family, _ = _family_and_seed(first)
    last = next(name for name in space.nearest(first, k=len(space.ids)).ids[1:] if name.startswith(family))
    codes = space.interpolate(first, last, steps=steps)
    return [render_mesh(space.extract(code, 128), size=160) for code in codes]


def _retrieval(space: ShapeSpace) -> tuple[float, dict[str, str]]:
    """Share of training shapes that are the first hit for their own inverted mesh; the others with their hits."""
    members = {name: furniture(*_family_and_seed(name)) for name in space.ids}
    fits = space.invert_many(list(members.values()), _FAST_INVERSION)
    first = {name: space.nearest(fit, k=1).ids[0] for name, fit in zip(members, fits, strict=True)}
    misses = {name: hit for name, hit in first.items() if hit != name}
    return 1 - len(misses) / len(first), misses


def _family_and_seed(name: str) -> tuple[str, int]:
    family, number = name.rsplit("_", 1)
    return family, int(number)


def _retrieval_rows(space: ShapeSpace, queries: dict[str, trimesh.Trimesh], k: int = 5) -> str:
    fits = space.invert_many(list(queries.values()), _FAST_INVERSION)
    rows, captions = [], []
    for (name, mesh), fit in zip(queries.items(), fits, strict=True):
        hits = space.nearest(fit, k)
        found = [furniture(*_family_and_seed(hit)) for hit in hits.ids]
        rows.append([render_mesh(m, size=140) for m in (mesh, *found)])
        captions.append([name, *hits.ids])
    return html_report.html_image(contact_sheet(rows, captions=captions))


def _sheet(originals: dict[str, trimesh.Trimesh], reconstructions: dict[str, trimesh.Trimesh]) -> str:
    return html_report.html_image(comparison_sheet(originals, reconstructions))


def _figures(summary: dict[str, Any]) -> str:
    rows = [
        ("training shapes", str(summary["training_shapes"])),
        ("Chamfer (CD-sq-sum, 100k) over its sampling floor, median", f"{summary['chamfer_over_floor_median']:.3f}"),
        ("unseen shapes: F-score(0.02), median", f"{summary['unseen_f_score_002_median']:.3f}"),
        ("training shapes that retrieve themselves first", f"{summary['self_retrieval_share']:.1%}"),
        ("seconds", ", ".join(f"{name} {value}" for name, value in summary["seconds"].items())),
        ("machine", summary["machine"]),
    ]
    return html_report.html_table(("figure", "value"), rows)


def _every_shape(evaluation: Evaluation) -> str:
    names = list(next(iter(evaluation.shapes.values())).as_dict())
    rows = [[shape, *(f"{v:.3g}" for v in c.as_dict().values())] for shape, c in evaluation.shapes.items()]
    return html_report.html_table(("shape", *names), rows)
