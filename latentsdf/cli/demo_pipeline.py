"""The complete pipeline on procedural furniture, with the same steps as for real data.

    sampling -> training -> extraction of training shapes -> inversion of unseen shapes -> interpolation -> retrieval

The unseen shapes are also fitted with the pretrained space, if it is found.

The results are summarized in `report.html` and `report.json`. This module is separate from `demo.py` because it imports
torch.
"""

import json
import platform
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import trimesh
from PIL import Image

from latentsdf.cli.demo_report import DemoResults, UnseenShapes, median_metrics, write_report
from latentsdf.config.inversion import InvertConfig
from latentsdf.config.training import Config, TrainConfig
from latentsdf.data.furniture import furniture
from latentsdf.evaluation.evaluate import evaluate
from latentsdf.latent.code import Codes
from latentsdf.latent.inversion.fit_folder import Inversion
from latentsdf.rendering.render import render_mesh
from latentsdf.space import ShapeSpace, load
from latentsdf.training.checkpoint import load_config, read_metrics
from latentsdf.training.train import train
from latentsdf.utils import devices
from latentsdf.utils.atomic_files import atomic_write
from latentsdf.utils.console import console, show_note
from latentsdf.utils.errors import CheckpointError, ConfigError, LatentSDFError
from latentsdf.utils.output_folders import require_writable_output

RESOLUTION = 256
_PRESET = "demo"
_PRETRAINED = "furniture"
_FAMILIES = ("chair", "table", "lamp", "cabinet")
_EVALUATED_PER_FAMILY = 4
_UNSEEN_PER_FAMILY = 2
_UNSEEN_SEED = 100_000
_RANDOM_SHAPES = 6
_PREPROCESS = "import sys; from preprocessing.__main__ import main; sys.exit(main(sys.argv[1:], hint=False))"
_FAST_INVERSION = InvertConfig(steps=10, starts=1, points=512, by_layer=False, assess=False)


def demo(
    out: Path,
    *,
    steps: int,
    minutes: float = 0.0,
    per_family: int,
    workers: int,
    seed: int,
    device: str = "auto",
) -> dict[str, Any]:
    """Run every step and write the report.

    Args:
        out: Output folder of the store, the space and the report.
        steps: Maximum number of training steps.
        minutes: Maximum training time in minutes; 0 for no limit.
        per_family: Number of training shapes per family, at least 4.
        workers: Number of preprocessing workers; 0 for one per core.
        seed: Seed of the training.
        device: `auto`, `cpu`, `cuda` or `cuda:N`.

    Returns:
        The content of `report.json`.

    Raises:
        ConfigError: Fewer than 4 shapes per family, or the device is not available.
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
    _heading(2, f"training: {minutes:g} minutes" if minutes else f"training: {steps:,} steps")
    config = Config(preset=_PRESET, train=TrainConfig(minutes=minutes, steps=steps, seed=seed))
    train(store, out, config, overwrite=True, device=device)
    trained = time.monotonic()
    space = load(out, device)
    _heading(3, "extracting training shapes")
    known = {f"{f}_{i:04d}": furniture(f, i) for f in _FAMILIES for i in range(_EVALUATED_PER_FAMILY)}
    seen, seen_meshes = evaluate(space, known, resolution=RESOLUTION, field_points=0)
    _heading(4, "fitting unseen shapes, without refinement")
    new = {f"{f} {i + 1}": furniture(f, _UNSEEN_SEED + i) for f in _FAMILIES for i in range(_UNSEEN_PER_FAMILY)}
    fits, unseen = _fit_unseen(space, new)
    pretrained = _fit_with_pretrained(new, device)
    _heading(5, "interpolating")
    strips = [_interpolation_strip(space, f"{family}_0000") for family in _FAMILIES]
    _heading(6, "retrieving every training shape by its mesh")
    share, misses = _retrieve_training_shapes(space)
    retrieved, retrieved_names = _retrieval_rows(space, new, fits)
    summary = {
        "train": seen.as_dict(),
        "unseen": unseen.evaluation.as_dict(),
        "unseen_pretrained": None if pretrained is None else pretrained.evaluation.as_dict(),
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
    results = DemoResults(
        summary=summary,
        known=known,
        seen=seen,
        seen_meshes=seen_meshes,
        new=new,
        unseen=unseen,
        pretrained=pretrained,
        strips=strips,
        retrieved=retrieved,
        retrieved_names=retrieved_names,
        metrics=read_metrics(out),
    )
    write_report(out / "report.html", results)
    both = "" if pretrained is None else f"\nthe same, pretrained space: {median_metrics(pretrained.evaluation)}"
    console.print(
        f"\ntraining shapes: {median_metrics(seen)}\nunseen shapes: {median_metrics(unseen.evaluation)}{both}\n"
        f"training shapes that retrieve themselves first: {share:.1%}"
    )
    return summary


def _fit_unseen(space: ShapeSpace, new: dict[str, trimesh.Trimesh]) -> tuple[list[Inversion], UnseenShapes]:
    """Fit codes to unseen shapes, evaluate the fits, and draw random shapes of the families."""
    fits = space.invert_many(list(new.values()), InvertConfig(assess=False))
    by_name = dict(zip(new, fits, strict=True))
    evaluation, meshes = evaluate(space, new, fits=by_name, resolution=RESOLUTION, field_points=0)
    families = [family for family in _FAMILIES if family in space.categories]
    random = [_render_codes(space, space.sample(_RANDOM_SHAPES, category=family)) for family in families]
    return fits, UnseenShapes(evaluation, meshes, random)


def _fit_with_pretrained(new: dict[str, trimesh.Trimesh], device: str) -> UnseenShapes | None:
    """Fit the same shapes with the pretrained space; None, with a note, if it cannot be found or used."""
    try:
        space = load(_PRETRAINED, device)
    except (LatentSDFError, OSError) as error:
        show_note("not compared", f"with the pretrained space '{_PRETRAINED}': {error}")
        return None
    console.print(f"fitting the same shapes with the pretrained space '{_PRETRAINED}' ({len(space)} training shapes)")
    return _fit_unseen(space, new)[1]


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
    """Run `latentsdf-preprocess` as a subprocess: `latentsdf` must not import `preprocessing`."""
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
    done = subprocess.run([sys.executable, "-P", "-c", _PREPROCESS, *args], check=False)
    if done.returncode == 130:
        raise KeyboardInterrupt
    if done.returncode:
        raise LatentSDFError(f"preprocessing failed with exit code {done.returncode}; see its messages above")


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


def _retrieval_rows(
    space: ShapeSpace, queries: dict[str, trimesh.Trimesh], fits: Sequence[Inversion], k: int = 5
) -> tuple[list[list[Image.Image]], list[list[str]]]:
    """Render each query and its nearest training shapes; returns rows of images and their captions."""
    rows, captions = [], []
    for (name, mesh), fit in zip(queries.items(), fits, strict=True):
        hits = space.nearest(fit, k)
        found = [furniture(*_family_and_seed(hit)) for hit in hits.ids]
        rows.append([render_mesh(m, size=140) for m in (mesh, *found)])
        captions.append([name, *hits.ids])
    return rows, captions
