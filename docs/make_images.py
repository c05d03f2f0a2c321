"""Draws the pictures of the documentation with the library itself.

    python docs/make_images.py checkpoints/pictures

The folder holds a space of 24 shapes of each of four procedural families, which is trained first if there is none. The
pictures are committed, because that takes minutes.
"""

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path

import matplotlib
import numpy as np
import torch
import trimesh
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.offsetbox import AnnotationBbox, OffsetImage
from PIL import Image

import latentsdf as ls
from latentsdf.data.furniture import furniture
from latentsdf.geometry.mesh import normalize
from latentsdf.geometry.mesh_sdf.solid import Solid
from latentsdf.rendering.sheets import contact_sheet
from latentsdf.rendering.slices import render_slice

OUT = Path(__file__).parent / "images"
MAX_BYTES = 200_000
FAMILIES = ("chair", "table", "lamp", "cabinet")
SHAPES = 24  # per family
SAMPLING = ls.SamplingConfig(
    resolution=128, band_voxels=4.0, sparse_resolution=32, near=12_000, uniform=8000, surface=2000
)
CONFIG = ls.Config(
    preset="pictures",
    model=ls.ModelConfig(
        code_dim=32,
        general=ls.BranchConfig(width=64),
        overfit=ls.BranchConfig(width=48, depth=2),
        grid=ls.GridConfig(resolution=96, channels=8),
    ),
    train=ls.TrainConfig(steps=1600, shapes_per_batch=24, points_per_shape=192),
)
_COLORS = {"chair": "#2f6f9f", "table": "#e0873a", "lamp": "#5a9e5a", "cabinet": "#a05aa0"}

matplotlib.use("agg")
matplotlib.rcParams |= {"font.size": 9}


def picture_space(folder: Path) -> ls.ShapeSpace:
    """Open the space in a folder, or train it."""
    if not (folder / "manifest.json").is_file():
        shapes = {f"{name}/{name}_{n:04d}": furniture(name, n) for name in FAMILIES for n in range(SHAPES)}
        store = ls.preprocess(shapes, folder.with_suffix(".zarr"), SAMPLING)
        return ls.train(store, CONFIG, out=folder)
    return ls.load(folder)


def codes(space: ls.ShapeSpace) -> Figure:
    """The codes in the plane of their two first principal directions, with pictures of some shapes."""
    table = np.asarray(space.codes)
    centered = table - table.mean(0)
    plane = centered @ np.linalg.svd(centered, full_matrices=False)[2][:2].T
    families = [key.split("/")[0] for key in space.keys]
    figure = Figure(figsize=(8, 5.4), dpi=100, layout="constrained")
    axes = figure.add_subplot()
    for family, color in _COLORS.items():
        rows = [row for row, name in enumerate(families) if name == family]
        axes.scatter(*plane[rows].T, s=14, color=color, label=family)
    for row in _spread(plane, 16):
        picture = OffsetImage(_transparent(_view(space, row, 160)), zoom=0.42)
        axes.add_artist(AnnotationBbox(picture, plane[row], frameon=False, box_alignment=(0.5, 0)))
    axes.set(xlabel="first principal direction", ylabel="second principal direction")
    axes.margins(0.12)
    axes.legend(frameon=False)
    return figure


def _transparent(image: Image.Image) -> np.ndarray:
    """Make the white background of a picture transparent; returns (H, W, 4)."""
    colors = np.asarray(image)
    return np.dstack((colors, np.where((colors == 255).all(axis=2), 0, 255).astype(np.uint8)))


def _spread(points: np.ndarray, count: int) -> list[int]:
    """Rows of points that are far from each other: each is the farthest from those before."""
    chosen = [0]
    while len(chosen) < count:
        chosen.append(int(np.linalg.norm(points[:, None] - points[chosen], axis=2).min(1).argmax()))
    return chosen


def _slice(field: Callable[[torch.Tensor], torch.Tensor], x: float, window: Sequence[float], size: int) -> np.ndarray:
    """Values (size, size) on the plane of constant x: rows are y, columns are z."""
    z0, z1, y0, y1 = window
    z, y = np.meshgrid(np.linspace(z0, z1, size), np.linspace(y0, y1, size))
    points = torch.as_tensor(np.stack((np.full_like(z, x), y, z), axis=-1).reshape(-1, 3), dtype=torch.float32)
    with torch.no_grad():
        return np.asarray(field(points)).reshape(size, size)


def branches(space: ls.ShapeSpace) -> Figure:
    """Both branches and the exact distance on a plane through a training chair."""
    name, x, window = "chair_0000", 0.0, (-1, 1, -1, 1)
    mesh = normalize(furniture("chair", 0))[0]
    solid = Solid(mesh, 0.0, "auto")
    fields = {
        "general branch": space.field(name, "general", frame="model"),
        "overfit branch": space.field(name, "overfit", frame="model"),
        "exact distance": lambda p: torch.from_numpy(np.asarray(solid(p.double().numpy()))),
    }
    figure = Figure(figsize=(8, 2.9), dpi=110, layout="constrained")
    for axes, (label, field) in zip(figure.subplots(1, 3), fields.items(), strict=True):
        values = _slice(field, x, window, 300)
        axes.contourf(
            values, levels=np.arange(-0.3, 1.01, 0.05), cmap="RdBu_r", vmin=-0.6, vmax=0.6, extent=window, extend="both"
        )
        axes.contour(values, levels=[0], colors="k", linewidths=1, extent=window)
        axes.set_title(label)
        axes.set_aspect("equal")
        axes.set_axis_off()
    return figure


def band(space: ls.ShapeSpace) -> Figure:
    """The cells of the band and the zero sets of both branches, and a detail of them."""
    name, x = "chair_0000", 0.0
    found = space.band(name)
    general, overfit = (space.field(name, branch, frame="model") for branch in ("general", "overfit"))
    detail = (-0.12, 0.28, -0.72, -0.32)  # the column and the base, where the branches differ
    figure = Figure(figsize=(8, 3.8), dpi=110, layout="constrained")
    whole, zoom = figure.subplots(1, 2)
    for axes, window in ((whole, (-1, 1, -1, 1)), (zoom, detail)):
        size = 400
        inside = _slice(lambda p: found.contains(p).float(), x, window, size)
        axes.imshow(1 - 0.25 * inside, cmap="gray", vmin=0, vmax=1, extent=window, origin="lower")
        for field, color in ((general, "#e0873a"), (overfit, "#2f6f9f")):
            axes.contour(_slice(field, x, window, size), levels=[0], colors=color, linewidths=1.4, extent=window)
        axes.set_xticks([])
        axes.set_yticks([])
    z0, z1, y0, y1 = detail
    whole.plot([z0, z1, z1, z0, z0], [y0, y0, y1, y1, y0], "k", lw=0.8)
    whole.set_title("band around the surface")
    zoom.set_title("detail")
    return figure


def fusion(space: ls.ShapeSpace) -> Image.Image:
    """An original, the general branch and the fused surface of two training shapes."""
    rows, captions = [], []
    for family in ("chair", "lamp"):
        name = f"{family}_0001"
        original = ls.render(furniture(family, 1), size=200)
        rows.append([original, _view(space, name, mode="general"), _view(space, name)])
        captions.append(["original", "general branch", "fused"])
    return contact_sheet([rows[0] + rows[1]], captions=[captions[0] + captions[1]])


def _view(space: ls.ShapeSpace, shape: object, size: int = 200, mode: str = "fused", **camera: float) -> Image.Image:
    """Render the extracted mesh of a shape in model space."""
    return ls.render(space.extract(shape, 96, mode, frame="model"), size=size, **camera)


def refinement(space: ls.ShapeSpace) -> Image.Image:
    """An unseen chair and its fits."""
    chair = furniture("chair", 100_003)
    shared = space.invert(chair, by_layer=False)
    layered = space.invert(chair)
    refined = space.refine(layered, chair, steps=150, resolution=128, band_voxels=4.0, lattice=64)
    fits = {"one code": shared, "codes by layer": layered, "refined": refined}
    row = [ls.render(chair, size=240), *(_view(space, fit, 240) for fit in fits.values())]
    captions = ["unseen chair", *(f"{name}: {fit.residual:.4f}" for name, fit in fits.items())]
    return contact_sheet([row], captions=[captions])


def verdict(space: ls.ShapeSpace) -> Image.Image:
    """Targets and fits with their verdicts."""
    targets = {
        "chair": furniture("chair", 100_005),
        "table": furniture("table", 100_001),
        "lamp": furniture("lamp", 100_002),
        "torus": trimesh.creation.torus(1.0, 0.35),
    }
    above, below, captions = [], [], []
    for mesh in targets.values():
        fit = space.invert(mesh)
        above.append(ls.render(mesh, size=200))
        below.append(_view(space, fit))
        captions.append(f"{fit.residual:.4f}, {'ok' if fit.ok else 'not ok'}")
    return contact_sheet([above, below], captions=[[], captions])


def partial(space: ls.ShapeSpace) -> Image.Image:
    """Half scans, and the shapes that complete them, from the scanned and the hidden side."""
    rows = []
    for family, seed in (("chair", 100_001), ("cabinet", 100_000)):
        mesh = furniture(family, seed)
        points, faces = trimesh.sample.sample_surface(mesh, 8000, seed=0)
        seen = points[:, 2] > mesh.bounds[:, 2].mean()
        fit = space.invert(points[seen], mesh.face_normals[faces[seen]], partial=True, align=True)
        rows.append(
            [_points_view(fit.similarity.to_model(points[seen]), angle) for angle in (30, 210)]
            + [_view(space, fit, azimuth=angle) for angle in (30, 210)]
            + [ls.render(mesh, size=200)]
        )
    labels = ["scan", "scan from behind", "fit", "fit from behind", "original"]
    return contact_sheet(rows, captions=[[], labels])


def _points_view(points: np.ndarray, azimuth: float, size: int = 200) -> Image.Image:
    figure = Figure(figsize=(size / 100, size / 100), dpi=100)
    axes = figure.add_axes((0, 0, 1, 1))
    angle = np.radians(azimuth)
    right = points @ [np.cos(angle), 0, -np.sin(angle)]
    depth = points @ [np.sin(angle), 0, np.cos(angle)]
    up = points[:, 1] * np.cos(np.radians(20)) - depth * np.sin(np.radians(20))
    axes.scatter(right, up, s=0.6, c=depth, cmap="viridis")
    axes.set(xlim=(-1, 1), ylim=(-1, 1))
    axes.set_axis_off()
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return Image.fromarray(np.asarray(canvas.buffer_rgba())[..., :3].copy())


def interpolation(space: ls.ShapeSpace) -> Image.Image:
    """Paths between two shapes of each family."""
    rows = []
    for family in FAMILIES:
        path = space.interpolate(f"{family}_0002", f"{family}_0007", steps=6)
        rows.append([_view(space, one, 130) for one in path])
    return contact_sheet(rows)


def random_shapes(space: ls.ShapeSpace) -> Image.Image:
    """Random shapes of each family."""
    return contact_sheet(
        [[_view(space, one, 130) for one in space.sample(6, seed=3, category=name)] for name in FAMILIES]
    )


def styles(space: ls.ShapeSpace) -> Image.Image:
    """Shading, normals, depth, level sets."""
    name = "chair_0004"
    mesh = space.extract(name, 128, frame="model")
    row = [ls.render(mesh, size=220, style=style) for style in ("shaded", "normals", "depth")]
    field = space.fused(name, frame="model")
    row.append(render_slice(field, axis="x", size=220, spacing=0.1, band=space.band(name)))
    return contact_sheet([row], captions=[["shaded", "normals", "depth", "slice with the band"]])


def boolean(space: ls.ShapeSpace) -> Image.Image:
    """Union, difference and blend of a decoded shape and a function."""
    table = space.fused("table_0003", frame="model")

    def ball(points: torch.Tensor) -> torch.Tensor:
        return (points - points.new_tensor([0.0, 0.35, 0.0])).norm(dim=1) - 0.3

    shapes = {
        "union": ls.union(table, ball),
        "difference": ls.difference(table, ball),
        "blend": ls.blend(table, ball, 0.15),
        "offset": ls.offset(table, 0.04),
    }
    row = [ls.render(ls.extract(shape, resolution=64), size=220) for shape in shapes.values()]
    return contact_sheet([row], captions=[list(shapes)])


def planar(_: ls.ShapeSpace) -> Figure:
    """A planar field from points without normals: points, field, medial axis as ridges."""
    rng = np.random.default_rng(1)
    angle = rng.uniform(0, 2 * np.pi, 3000)
    radius = 1 + 0.3 * np.sin(5 * angle)
    star = np.column_stack((radius * np.cos(angle), radius * np.sin(angle)))
    hole = 0.35 * np.column_stack((np.cos(angle[:1000]), np.sin(angle[:1000])))
    points = np.concatenate((star, hole))
    field = ls.reconstruct(points, steps=300)
    axis = np.linspace(-1.5, 1.5, 300)
    grid = np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2)
    values = field.distance(grid).reshape(300, 300)
    figure = Figure(figsize=(7, 3.2), dpi=110, layout="constrained")
    left, right = figure.subplots(1, 2)
    left.plot(*points[::4].T, ".", ms=2, color="k")
    shown = right.contourf(axis, axis, values, levels=np.arange(-0.5, 0.71, 0.05), cmap="RdBu_r", vmin=-0.6, vmax=0.6)
    for line in field.contours(512):
        right.plot(*line.T, "k", lw=1)
    figure.colorbar(shown, ax=right, label="signed distance")
    for axes, title in ((left, "points"), (right, "field")):
        axes.set(xlim=(-1.5, 1.5), ylim=(-1.5, 1.5), title=title, aspect="equal")
        axes.set_axis_off()
    return figure


PICTURES: dict[str, Callable[[ls.ShapeSpace], Figure | Image.Image]] = {
    "codes": codes,
    "branches": branches,
    "band": band,
    "fusion": fusion,
    "refinement": refinement,
    "verdict": verdict,
    "partial": partial,
    "interpolation": interpolation,
    "random": random_shapes,
    "styles": styles,
    "boolean": boolean,
    "planar": planar,
}


def main() -> None:
    parser = argparse.ArgumentParser(description="Draw the pictures of the documentation.")
    parser.add_argument("space", type=Path, help="folder of the space; trained if there is none")
    parser.add_argument("--only", nargs="+", choices=PICTURES, default=list(PICTURES), help="pictures to draw")
    arguments = parser.parse_args()
    space = picture_space(arguments.space)
    OUT.mkdir(exist_ok=True)
    for name in arguments.only:
        picture = PICTURES[name](space)
        path = OUT / f"{name}.png"
        if isinstance(picture, Figure):
            picture.savefig(path)
        else:
            picture.quantize(128, dither=Image.Dither.NONE).save(path, optimize=True)
        print(f"{path}: {path.stat().st_size:,} bytes")
        if path.stat().st_size > MAX_BYTES:
            raise SystemExit(f"{path} is larger than {MAX_BYTES:,} bytes")


if __name__ == "__main__":
    main()
