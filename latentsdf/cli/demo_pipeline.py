"""The complete pipeline on procedural furniture, with the same steps as for real data.

    sampling -> training -> extraction of training shapes -> inversion of unseen shapes -> interpolation -> retrieval

The results are summarized in `report.html` and `report.json`. This module is separate from `demo.py` because it imports
torch.
"""

import json
import platform
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import torch
import trimesh
from PIL import Image

from latentsdf.config.inversion import InvertConfig
from latentsdf.config.training import Config, TrainConfig
from latentsdf.data.furniture import furniture
from latentsdf.evaluation import html_report
from latentsdf.evaluation.evaluate import evaluate
from latentsdf.evaluation.result import Evaluation
from latentsdf.latent.code import Codes
from latentsdf.rendering.render import render_mesh
from latentsdf.rendering.sheets import comparison_sheet, contact_sheet
from latentsdf.space import ShapeSpace, load
from latentsdf.training.checkpoint import load_config, read_metrics
from latentsdf.training.train import train
from latentsdf.utils import devices
from latentsdf.utils.atomic_files import atomic_write
from latentsdf.utils.console import console
from latentsdf.utils.errors import CheckpointError, ConfigError, LatentSDFError
from latentsdf.utils.output_folders import require_writable_output

RESOLUTION = 256
_PRESET = "demo"
_FAMILIES = ("chair", "table", "lamp", "cabinet")
_EVALUATED_PER_FAMILY = 6
_UNSEEN_PER_FAMILY = 2
_UNSEEN_SEED = 100_000
_FAST_INVERSION = InvertConfig(steps=10, starts=1, points=512, by_layer=False, assess=False)


def demo(
    out: Path, *, minutes: float, per_family: int, workers: int, seed: int, device: str = "auto"
) -> dict[str, Any]:
    """Run every step and write the report.

    Args:
        out: Output folder of the store, the space and the report.
        minutes: Training time in minutes.
        per_family: Number of training shapes per family, at least 6.
        workers: Number of preprocessing workers; 0 for one per core.
        seed: Seed of the training.
        device: `auto`, `cpu`, `cuda` or `cuda:N`.

    Returns:
        The content of `report.json`.

    Raises:
        ConfigError: Fewer than 6 shapes per family, or the device is not available.
        CheckpointError: `out` holds an output other than that of an earlier demo.
        LatentSDFError: Preprocessing failed.
    """
    started = time.monotonic()
    if per_family < _EVALUATED_PER_FAMILY:
        raise ConfigError(
            f"the demo evaluates {_EVALUATED_PER_FAMILY} shapes per family, so --per-family must be at least "
            f"{_EVALUATED_PER_FAMILY}, got {per_family}"
        )
    devices.resolve(device)
    _require_replaceable(out)
    out.mkdir(parents=True, exist_ok=True)
    store = out / "samples.zarr"
    _heading(1, f"sampling: {per_family} shapes per family ({', '.join(_FAMILIES)})")
    _preprocess(store, per_family, workers)
    sampled = time.monotonic()
    _heading(2, f"training: {minutes:g} minutes")
    config = Config(preset=_PRESET, train=TrainConfig(minutes=minutes, steps=10**9, seed=seed))
    train(store, out, config, overwrite=True, device=device)
    trained = time.monotonic()
    space = load(out, device)
    _heading(3, "extracting training shapes")
    known = {f"{f}_{i:04d}": furniture(f, i) for f in _FAMILIES for i in range(_EVALUATED_PER_FAMILY)}
    seen, seen_meshes = evaluate(space, known, resolution=RESOLUTION)
    _heading(4, "inverting unseen shapes, without refinement")
    new = {f"{f} {i + 1}": furniture(f, _UNSEEN_SEED + i) for f in _FAMILIES for i in range(_UNSEEN_PER_FAMILY)}
    unseen, unseen_meshes = evaluate(space, new, unseen=True, resolution=RESOLUTION)
    _heading(5, "interpolating and drawing random shapes")
    strips = [_interpolation_strip(space, f"{family}_0000") for family in _FAMILIES]
    random_rows = [_render_codes(space, space.sample(7, category=family)) for family in _FAMILIES]
    _heading(6, "retrieving every training shape by its mesh")
    share, misses = _retrieve_training_shapes(space)
    summary = {
        "train": seen.as_dict(),
        "unseen": unseen.as_dict(),
        "self_retrieval_share": share,
        "self_retrieval_misses": misses,
        "training_shapes": len(space.ids),
        "training_steps": int(read_metrics(out)[-1]["step"]),
        "seconds": {
            "samples": round(sampled - started),
            "training": round(trained - sampled),
            "uses": round(time.monotonic() - trained),
            "all": round(time.monotonic() - started),
        },
        "machine": f"{platform.machine()}, {torch.get_num_threads()} threads, torch {torch.__version__}",
        "seed": seed,
    }
    with atomic_write(out / "report.json") as temporary:
        temporary.write_text(json.dumps(summary, indent=1))
    html_report.write_html(
        out / "report.html",
        "latentsdf demo",
        [
            ("Summary", _summary_table(summary, seen, unseen)),
            ("Training shapes: original above, fused reconstruction below", _sheet(known, seen_meshes)),
            ("Unseen shapes: original above, inverted below", _sheet(new, unseen_meshes)),
            (
                "Interpolation from a training shape to the least similar shape of its family; parts that only one of "
                "them has may break in between",
                html_report.html_image(contact_sheet(strips)),
            ),
            ("Random shapes", html_report.html_image(contact_sheet(random_rows))),
            ("Retrieval: unseen query, then the nearest training shapes", _retrieval_rows(space, new)),
            ("Loss over training time", html_report.html_curve(read_metrics(out), ("general", "overfit"))),
            ("Every shape", _shape_table(seen) + _shape_table(unseen)),
        ],
    )
    console.print(
        f"\n[bold]{out / 'report.html'}[/]\n"
        f"training shapes: {_median_metrics(seen)}\nunseen shapes: {_median_metrics(unseen)}\n"
        f"training shapes that retrieve themselves first: {share:.1%}"
    )
    return summary


def _require_replaceable(out: Path) -> None:
    """Raise CheckpointError if the folder holds an output other than that of an earlier demo."""
    require_writable_output(out, "space", overwrite=True)
    if (out / "model.safetensors").is_file() and (preset := load_config(out).preset) != _PRESET:
        raise CheckpointError(
            f"{out}: holds a space trained with preset '{preset}', not by the demo; choose another --out"
        )


def _heading(number: int, text: str) -> None:
    console.print(f"\n[bold]{number}/6[/] {text}")


def _preprocess(store: Path, per_family: int, workers: int) -> None:
    """Run `python -m preprocessing` as a subprocess: `latentsdf` must not import `preprocessing`."""
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
    args = [*(token for pair in flags.items() for token in pair), "--category", *_FAMILIES]
    # -P: do not import a preprocessing.py from the working directory.
    done = subprocess.run([sys.executable, "-P", "-m", "preprocessing", *args], check=False)
    if done.returncode == 130:
        raise KeyboardInterrupt
    if done.returncode:
        raise LatentSDFError(f"preprocessing failed with exit code {done.returncode}; see its messages above")


def _median_metrics(evaluation: Evaluation) -> str:
    """Summarize an evaluation in one line: medians of the main metrics."""
    summary = evaluation.summary()
    if not summary:
        return "none could be evaluated"
    median = {name: values["median"] for name, values in summary.items()}
    shapes = evaluation.shapes.values()
    right = sum(shape.pieces == shape.reference_pieces for shape in shapes)
    return (
        f"mean distance {median['triangle_mean']:.4f}, F(0.005) {median['f_score_0.005']:.3f}, F(0.01) "
        f"{median['f_score_0.01']:.3f}, missing {median['missing']:.1%}, debris {median['debris']:.1%}, normal "
        f"consistency {median['normal_consistency']:.3f} (medians); correct number of pieces for {right} of "
        f"{len(shapes)}"
    )


def _interpolation_strip(space: ShapeSpace, first: str, steps: int = 7) -> list[Image.Image]:
    """Render an interpolation from a shape to the least similar one of its family."""
    family, _ = _family_and_seed(first)
    last = [name for name in space.nearest(first, k=len(space.ids)).ids if name.startswith(family)][-1]
    return _render_codes(space, space.interpolate(first, last, steps=steps))


def _render_codes(space: ShapeSpace, codes: Codes) -> list[Image.Image]:
    return [render_mesh(space.extract(code, 128, frame="model"), size=160) for code in codes]


def _retrieve_training_shapes(space: ShapeSpace) -> tuple[float, dict[str, str]]:
    """Invert the meshes of all training shapes and retrieve the nearest training shape of each.

    Returns:
        Share of shapes that retrieve themselves, and for each of the others the shape that was retrieved instead.
    """
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
    columns = 4 if len(originals) % 6 else 6
    return html_report.html_image(comparison_sheet(originals, reconstructions, columns=columns))


def _summary_table(summary: dict[str, Any], seen: Evaluation, unseen: Evaluation) -> str:
    rows = [
        ("training shapes", str(summary["training_shapes"])),
        ("training steps within the time budget", f"{summary['training_steps']:,}"),
        ("training shapes, extracted", _median_metrics(seen)),
        ("unseen shapes, inverted without refinement", _median_metrics(unseen)),
        ("training shapes that retrieve themselves first", f"{summary['self_retrieval_share']:.1%}"),
        ("seconds", ", ".join(f"{name} {value}" for name, value in summary["seconds"].items())),
        ("machine", summary["machine"]),
    ]
    return html_report.html_table(("metric", "value"), rows)


def _shape_table(evaluation: Evaluation) -> str:
    names = list(next(iter(evaluation.shapes.values())).as_dict())
    rows = [[shape, *(f"{v:.3g}" for v in c.as_dict().values())] for shape, c in evaluation.shapes.items()]
    return html_report.html_table(("shape", *names), rows)
