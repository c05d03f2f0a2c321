"""The `latentsdf` command: one verb a capability. The only place that wires the rest; nothing imports it."""

import argparse
import dataclasses
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from rich.text import Text

from latentsdf.errors import ConfigError, LatentSDFError, MissingExtraError, StoreError
from latentsdf.progress import console, show_error, show_note

if TYPE_CHECKING:
    from latentsdf.config import RefineConfig
    from latentsdf.invert import Inversion
    from latentsdf.space import CodeLike, ShapeSpace

_DELTA = "delta.npz"

EXAMPLES = """
a first day with real data:
  latentsdf-preprocess --source meshes/furniture --category chair --split splits/chair_train.json --out chairs.zarr
  latentsdf train --config configs/latentsdf_cpu.yaml --data chairs.zarr --out checkpoints/chairs --minutes 15
  latentsdf extract checkpoints/chairs --id kenney_chair --resolution 512 --mode fused --out chair.ply
  latentsdf invert checkpoints/chairs new_chair.obj --out fit/ --refine
  latentsdf interpolate checkpoints/chairs --ids A B --steps 9 --out strip.png
  latentsdf retrieve checkpoints/chairs --mesh new_chair.obj -k 5 --json
  latentsdf render checkpoints/chairs --id A --out a.png
  latentsdf evaluate checkpoints/chairs --meshes meshes/furniture --split splits/chair_train.json --json
  latentsdf info chairs.zarr
  latentsdf export chairs.zarr chairs.h5 && latentsdf import chairs.h5 copy.zarr
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code: 0 done, 1 nothing could be measured, 2 user error, 130 interrupted."""
    parser = build_parser()
    arguments, rest = parser.parse_known_args(argv)
    command: Callable[[argparse.Namespace], Any] = arguments.run
    try:
        arguments.overrides = _overrides(rest) if arguments.accepts_overrides else _reject(rest)
        result = command(arguments)
    except (LatentSDFError, FileNotFoundError) as error:
        show_error(error)
        return 2
    except KeyboardInterrupt:
        console.print("interrupted; what was written so far is kept, run it again to continue (train: with --resume)")
        return 130
    if getattr(arguments, "json", False):
        sys.stdout.write(json.dumps(result, indent=1) + "\n")
    return 1 if command is _evaluate and not result["shapes"] else 0


def build_parser() -> argparse.ArgumentParser:
    """All verbs and their flags."""
    parser = argparse.ArgumentParser(
        prog="latentsdf",
        description="Learn one latent code per 3D shape, and use the space of shapes.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    verbs = parser.add_subparsers(required=True, metavar="COMMAND")

    def verb(name: str, run: Callable[[argparse.Namespace], Any], help: str) -> argparse.ArgumentParser:
        sub = verbs.add_parser(name, help=help, description=help)
        sub.set_defaults(run=run, accepts_overrides=False)
        sub.add_argument("--json", action="store_true", help="print the result as JSON on standard output")
        return sub

    demo = verb("demo", _demo, "the whole path on furniture made in code: samples, training, uses, a report")
    demo.add_argument("--out", type=Path, default=Path("checkpoints/demo"), help="folder of the report (%(default)s)")
    demo.add_argument("--minutes", type=float, default=4.5, help="training time (%(default)s)")
    demo.add_argument("--per-family", type=int, default=40, help="training shapes of each family (%(default)s)")
    demo.add_argument("--workers", type=int, default=0, help="preprocessing workers; 0 for one a core")
    demo.add_argument("--seed", type=int, default=0)

    train = verb("train", _train, "train a shape space on a sample store")
    train.set_defaults(accepts_overrides=True)
    train.epilog = "any setting of the configuration can follow as --section.key VALUE, e.g. --train.lr_grid 0.01"
    train.add_argument("--data", type=Path, required=True, help="sample store written by latentsdf-preprocess")
    train.add_argument("--out", type=Path, required=True, help="checkpoint folder to write")
    train.add_argument("--config", type=Path, help="YAML file that lists what differs from the defaults")
    train.add_argument("--minutes", type=float, help="wall-clock budget of the training loop")
    train.add_argument("--steps", type=int, help="number of optimization steps")
    train.add_argument("--resume", action="store_true", help="continue the run in --out")
    train.add_argument("--overwrite", action="store_true", help="replace the space in --out")
    train.add_argument("--seed", type=int)
    train.add_argument("--device", default="auto")

    extract = verb("extract", _extract, "decode a shape to a mesh in its own frame")
    _space(extract)
    _shape(extract)
    _decoding(extract)
    extract.add_argument("--largest-component", action="store_true", help="drop everything but the largest piece")
    extract.add_argument(
        "--smallest-piece", type=float, default=5e-3, help="drop pieces of less of the largest one's area (%(default)s)"
    )
    extract.add_argument("--out", type=Path, required=True, help="mesh file (.ply .obj .stl .glb .off)")

    invert = verb("invert", _invert, "fit a code to a mesh, a point cloud, or signed samples")
    _space(invert)
    invert.add_argument("target", type=Path, help="mesh file, or .npy of points (N,3|6) or signed samples (N,4)")
    invert.add_argument("--out", type=Path, required=True, help="folder for code.npy, mesh.ply, report.json")
    invert.add_argument("--steps", type=int, help="optimization steps")
    _refining(invert)
    invert.add_argument("--seed", type=int, default=0)
    _decoding(invert)

    interpolate = verb("interpolate", _interpolate, "walk between shapes: a PNG strip, or one mesh a step")
    _space(interpolate)
    interpolate.add_argument("--ids", nargs="+", required=True, help="two or more training shapes or code.npy files")
    interpolate.add_argument("--steps", type=int, default=9)
    interpolate.add_argument("--method", choices=("linear", "spherical"), default="linear")
    interpolate.add_argument("--out", type=Path, required=True, help="strip.png, or a folder for meshes and codes")
    _decoding(interpolate, resolution=128)

    retrieve = verb("retrieve", _retrieve, "the training shapes most like a shape")
    _space(retrieve)
    _shape(retrieve)
    retrieve.add_argument("--mesh", type=Path, help="query by a mesh or points file, through inversion")
    retrieve.add_argument("-k", type=int, default=5)
    retrieve.add_argument("--seed", type=int, default=0)

    render = verb("render", _render, "a picture of a shape (sphere tracing, no OpenGL)")
    _space(render)
    _shape(render)
    render.add_argument("--mode", choices=("general", "fused"), default="fused")
    render.add_argument("--size", type=int, default=512)
    render.add_argument("--azimuth", type=float, default=35.0)
    render.add_argument("--elevation", type=float, default=20.0)
    render.add_argument("--out", type=Path, required=True, help="PNG file")

    evaluate = verb("evaluate", _evaluate, "compare reconstructions with meshes, definitions stated")
    _space(evaluate)
    evaluate.add_argument("--meshes", type=Path, required=True, help="folder of reference meshes, searched in depth")
    evaluate.add_argument("--split", type=Path, help="DeepSDF split file that selects them")
    evaluate.add_argument("--invert", action="store_true", help="unseen shapes: invert each mesh first")
    _refining(evaluate)
    evaluate.add_argument("--points", type=int, default=100_000, help="surface samples a side (%(default)s)")
    evaluate.add_argument("--seed", type=int, default=0)
    evaluate.add_argument("--out", type=Path, help="folder for metrics.json, metrics.csv and worst.png (the worst 12)")
    _decoding(evaluate)

    export = verb("export", _export, "write a sample store to one HDF5 file")
    export.add_argument("store", type=Path)
    export.add_argument("out", type=Path, help="HDF5 file (.h5)")
    export.add_argument("--id", action="append", default=[], help="id or category/id; repeat for several, none for all")
    export.add_argument("--compression", choices=("gzip", "lzf"), default="gzip", help="lzf: faster, larger")

    import_ = verb("import", _import, "make a sample store from an exported HDF5 file or from DeepSDF's npz samples")
    import_.add_argument("source", type=Path, help="HDF5 file of latentsdf export, or a folder of <class>/<id>.npz")
    import_.add_argument("store", type=Path, help="the store to write or continue (a .zarr folder)")
    import_.add_argument("--category", action="append", default=[], help="name or synset; repeat for several")
    import_.add_argument("--split", type=Path, help="DeepSDF split file that selects shapes")
    import_.add_argument("--glob", default="*", help="pattern of ids or category/id")
    import_.add_argument("--overwrite", action="store_true", help="replace shapes that the store holds")

    info = verb("info", _info, "what is inside a sample store or a checkpoint")
    info.add_argument("path", type=Path)
    info.add_argument("--verify", action="store_true", help="read every array of a store and check it")
    return parser


def _space(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("checkpoint", type=Path, help="checkpoint folder")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N")


def _shape(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--id", help="a training shape: id or category/id")
    parser.add_argument("--code", type=Path, help="the folder written by invert, or a code.npy (in model space)")


def _decoding(parser: argparse.ArgumentParser, resolution: int = 256) -> None:
    parser.add_argument("--resolution", type=int, default=resolution, help="cells per axis (%(default)s)")
    parser.add_argument("--mode", choices=("general", "overfit", "fused", "smooth"), default="fused")


def _refining(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--refine", action="store_true", help="learn a mesh's own detail too, kept as delta.npz")
    parser.add_argument("--refine-seconds", type=float, help="budget of that a shape; implies --refine")


def _overrides(rest: list[str]) -> dict[str, Any]:
    """`--section.key value` and `--section.key=value` pairs."""
    overrides: dict[str, Any] = {}
    words = [word for item in rest for word in (item.split("=", 1) if item.startswith("--") else [item])]
    while words:
        name = words.pop(0)
        if not name.startswith("--") or "." not in name or not words:
            raise ConfigError(f"unknown argument {name}; settings are given as --section.key VALUE")
        overrides[name[2:]] = yaml.safe_load(words.pop(0))
    return overrides


def _reject(rest: list[str]) -> dict[str, Any]:
    if rest:
        raise ConfigError(f"unknown argument {rest[0]}; see --help")
    return {}


def _demo(arguments: argparse.Namespace) -> dict[str, Any]:
    from latentsdf.demo import demo

    return demo(
        arguments.out,
        minutes=arguments.minutes,
        per_family=arguments.per_family,
        workers=arguments.workers,
        seed=arguments.seed,
    )


def _train(arguments: argparse.Namespace) -> dict[str, Any]:
    from latentsdf import settings
    from latentsdf.checkpoint import load_config
    from latentsdf.config import Config
    from latentsdf.train import train

    overrides = dict(arguments.overrides)
    for name in ("minutes", "steps", "seed"):
        if getattr(arguments, name) is not None:
            overrides[f"train.{name}"] = getattr(arguments, name)
    if arguments.minutes is not None and arguments.steps is None:
        overrides.setdefault("train.steps", 10_000_000)
    if arguments.config is not None:
        config = settings.load(Config, arguments.config, overrides)
    else:
        base = dataclasses.asdict(load_config(arguments.out)) if arguments.resume else {}
        config = settings.from_dict(Config, settings.merge(base, overrides), "command line")
    return train(
        arguments.data,
        arguments.out,
        config,
        resume=arguments.resume,
        overwrite=arguments.overwrite,
        device=arguments.device,
    )


def _extract(arguments: argparse.Namespace) -> dict[str, Any]:
    from latentsdf.geometry import mesh as meshes

    meshes.require_writable(arguments.out)
    space = _load(arguments)
    mesh = space.extract(
        _query(space, arguments),
        arguments.resolution,
        arguments.mode,
        largest_component=arguments.largest_component,
        smallest_piece=arguments.smallest_piece,
    )
    meshes.save(mesh, arguments.out)
    report = {"out": str(arguments.out), "vertices": len(mesh.vertices), "faces": len(mesh.faces)}
    console.print(f"{arguments.out}: {report['vertices']:,} vertices, {report['faces']:,} faces")
    return report


def _invert(arguments: argparse.Namespace) -> dict[str, Any]:
    import numpy as np

    from latentsdf.config import InvertConfig
    from latentsdf.geometry import mesh as meshes

    space = _load(arguments)
    steps = {} if arguments.steps is None else {"steps": arguments.steps}
    config = InvertConfig(seed=arguments.seed, **steps)
    fit = space.invert(_read_target(arguments.target), config, refinement=_refinement(arguments))
    arguments.out.mkdir(parents=True, exist_ok=True)
    # An older fit's delta does not go with a new code.
    (arguments.out / _DELTA).unlink(missing_ok=True)
    np.save(arguments.out / "code.npy", fit.code)
    if fit.delta is not None:
        fit.delta.save(arguments.out / _DELTA)
    try:
        hits = dataclasses.asdict(space.nearest(fit, k=min(5, len(space.ids))))
    except MissingExtraError as error:
        hits = None
        show_note("no neighbours", str(error))
    report: dict[str, Any] = {
        "target": str(arguments.target),
        "residual": fit.residual,
        "ok": fit.ok,
        "refined": fit.delta is not None,
        "nearest": hits,
        "history": [float(v) for v in fit.history],
        "similarity": dataclasses.asdict(fit.similarity),
    }
    (arguments.out / "report.json").write_text(json.dumps(report, indent=1))
    meshes.save(space.extract(fit, arguments.resolution, arguments.mode), arguments.out / "mesh.ply")
    verdict = "fits" if fit.ok else "does not fit well: the space may not hold this kind of shape"
    nearest = f", nearest {hits['ids'][0]}" if hits else ""
    console.print(Text(f"{arguments.target.name} {verdict}; residual {fit.residual:.4f}{nearest}"))
    return report


def _interpolate(arguments: argparse.Namespace) -> dict[str, Any]:
    import numpy as np

    from latentsdf.geometry import mesh as meshes
    from latentsdf.progress import track
    from latentsdf.render import contact_sheet, render_mesh

    space = _load(arguments)
    ends = [_named_code(space, name) for name in arguments.ids]
    codes = space.interpolate(*ends, steps=arguments.steps, method=arguments.method)
    frames = []
    with track("decoding", total=len(codes), unit="frame") as advance:
        for code in codes:
            frames.append(space.extract(code, arguments.resolution, arguments.mode))
            advance()
    if arguments.out.suffix.lower() == ".png":
        arguments.out.parent.mkdir(parents=True, exist_ok=True)
        contact_sheet([[render_mesh(frame, size=256) for frame in frames]]).save(arguments.out)
    else:
        arguments.out.mkdir(parents=True, exist_ok=True)
        np.save(arguments.out / "codes.npy", codes)
        for number, frame in enumerate(frames):
            meshes.save(frame, arguments.out / f"frame_{number:03d}.glb")
    console.print(f"{arguments.out}: {len(codes)} steps from {arguments.ids[0]} to {arguments.ids[-1]}")
    return {"out": str(arguments.out), "ids": arguments.ids, "steps": len(codes)}


def _retrieve(arguments: argparse.Namespace) -> dict[str, Any]:
    from latentsdf.config import InvertConfig

    if arguments.k < 1:
        raise ConfigError(f"-k must be at least 1, got {arguments.k}")
    space = _load(arguments)
    if arguments.mesh is not None:
        query: CodeLike = space.invert(_read_target(arguments.mesh), InvertConfig(seed=arguments.seed))
    else:
        query = _query(space, arguments)
    hits = space.nearest(query, arguments.k)
    for place, (name, distance) in enumerate(zip(hits.ids, hits.distances, strict=True), start=1):
        console.print(f"{place:3d}  {name}  {distance:.4f}")
    return dataclasses.asdict(hits)


def _render(arguments: argparse.Namespace) -> dict[str, Any]:
    from latentsdf.render import render_field

    if arguments.out.suffix.lower() != ".png":
        raise ConfigError(f"a picture is written as .png, got {arguments.out}")
    space = _load(arguments)
    query = _query(space, arguments)
    field = space.field(query, "general" if arguments.mode == "general" else "overfit")
    image = render_field(
        space.band(query).for_tracing(field),
        size=arguments.size,
        azimuth=arguments.azimuth,
        elevation=arguments.elevation,
        device=space.device,
    )
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    image.save(arguments.out)
    console.print(f"{arguments.out}: {arguments.size} x {arguments.size}")
    return {"out": str(arguments.out)}


def _evaluate(arguments: argparse.Namespace) -> dict[str, Any]:
    from latentsdf.evaluate import evaluate, load_references
    from latentsdf.geometry.files import find_meshes
    from latentsdf.render import comparison_sheet

    refinement = _refinement(arguments)
    if refinement is not None and not arguments.invert:
        raise ConfigError("--refine goes with --invert; training shapes have their detail already")
    space = _load(arguments)
    found = find_meshes(arguments.meshes, split=arguments.split)
    references, failed = load_references(found)
    evaluation, reconstructions = evaluate(
        space,
        references,
        unseen=arguments.invert,
        resolution=arguments.resolution,
        mode=arguments.mode,
        points=arguments.points,
        seed=arguments.seed,
        refinement=refinement,
    )
    evaluation.failed.update(failed)
    console.print(evaluation.table())
    for name, reason in evaluation.failed.items():
        show_note("not measured", f"{name}: {reason}")
    if arguments.out is not None:
        evaluation.save(arguments.out)
        worst = {name: references[name] for name in evaluation.worst(12)}
        if worst:
            comparison_sheet(worst, reconstructions).save(arguments.out / "worst.png")
    return evaluation.as_dict()


def _export(arguments: argparse.Namespace) -> dict[str, Any]:
    from latentsdf.exchange import export_samples
    from latentsdf.store import SampleStore

    store = SampleStore.open(arguments.store)
    keys = export_samples(store, arguments.out, arguments.id, arguments.compression)
    size = arguments.out.stat().st_size
    console.print(f"{arguments.out}: {len(keys)} shapes, {size:,} bytes")
    return {"out": str(arguments.out), "shapes": keys, "bytes": size}


def _import(arguments: argparse.Namespace) -> dict[str, Any]:
    from latentsdf.exchange import import_samples

    report = import_samples(
        arguments.source,
        arguments.store,
        categories=arguments.category,
        split=arguments.split,
        pattern=arguments.glob,
        overwrite=arguments.overwrite,
    )
    count = f"{len(report.imported)} imported, {report.present} already there, {len(report.failed)} failed"
    console.print(f"{arguments.store}: {count}")
    for reason in report.failed.values():
        show_note("skipped", reason)
    if report.failed and not report.imported and not report.present:
        raise StoreError(f"{arguments.source}: no shape could be imported; the reasons are above")
    return dataclasses.asdict(report)


def _info(arguments: argparse.Namespace) -> dict[str, Any]:
    from latentsdf.report import describe_checkpoint, describe_store

    path: Path = arguments.path
    if (path / "model.safetensors").is_file() or (path / "config.yaml").is_file():
        return describe_checkpoint(path)
    return describe_store(path, verify=arguments.verify)


def _load(arguments: argparse.Namespace) -> "ShapeSpace":
    from latentsdf.space import load

    return load(arguments.checkpoint, arguments.device)


def _refinement(arguments: argparse.Namespace) -> "RefineConfig | None":
    from latentsdf.config import RefineConfig

    if arguments.refine_seconds is not None:
        if arguments.refine_seconds <= 0:
            raise ConfigError(f"--refine-seconds must be positive, got {arguments.refine_seconds:g}")
        return RefineConfig(seconds=arguments.refine_seconds, seed=arguments.seed)
    return RefineConfig(seed=arguments.seed) if arguments.refine else None


def _query(space: "ShapeSpace", arguments: argparse.Namespace) -> "CodeLike":
    if arguments.id is not None:
        space.row(arguments.id)
        name: str = arguments.id
        return name
    if arguments.code is not None:
        return _named_code(space, str(arguments.code))
    raise ConfigError("name a shape: --id ID of a training shape, or --code FOLDER|FILE.npy")


def _named_code(space: "ShapeSpace", name: str) -> "CodeLike":
    path = Path(name)
    if (path / "report.json").is_file():
        return _read_fit(path)
    if path.suffix != ".npy":
        space.row(name)
        return name
    if not path.is_file():
        raise FileNotFoundError(f"{name}: no such code file")
    return space.code(_read_array(path))


def _read_fit(folder: Path) -> "Inversion":
    import numpy as np

    from latentsdf.delta import Delta
    from latentsdf.geometry.mesh import Similarity
    from latentsdf.invert import Inversion

    report = json.loads((folder / "report.json").read_text())
    similarity = Similarity(tuple(report["similarity"]["center"]), report["similarity"]["scale"])
    history = np.array(report["history"], dtype=np.float32)
    delta = Delta.load(folder / _DELTA) if report.get("refined") else None
    return Inversion(_read_array(folder / "code.npy"), history, report["residual"], report["ok"], similarity, delta)


def _read_array(path: Path) -> Any:
    import numpy as np

    try:
        return np.load(path)
    except ValueError as error:
        raise ConfigError(f"{path}: not an array written by numpy.save") from error


def _read_target(path: Path) -> Any:
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file")
    return _read_array(path) if path.suffix == ".npy" else path
