"""Pictures without OpenGL: meshes by ray casting (Embree), fields by sphere tracing in torch, sheets of both.

Conventions: y is up; azimuth 0 looks at the +z side, turning towards +x; angles in degrees. Orthographic camera.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import torch
import trimesh
from jaxtyping import Bool, Float
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from latentsdf.extraction.field import SignedDistance
from latentsdf.extraction.normals import finite_difference_normals
from latentsdf.geometry.mesh import normalize
from latentsdf.utils.atomic_files import atomic_write
from latentsdf.utils.errors import ConfigError, EmptyLevelSetError, MeshError

Style = Literal["shaded", "normals", "depth"]
"""Lit; unit normals (n + 1) / 2 as red, green, blue; or bright near and dark far, over the depth that is hit."""

_BASE = np.array([0.56, 0.67, 0.80])
_BACKGROUND = 1.0
_SUPERSAMPLING = 2
_OCCLUSION_RAYS = 32
_STEPS = 256
_HIT = 1e-3
_MOST_SHOWN = 64


@dataclass(frozen=True)
class Camera:
    """Orthographic view: unit `right`, `up`, `forward`, image half height `extent`, looking at `center`."""

    right: NDArray[np.float64]
    up: NDArray[np.float64]
    forward: NDArray[np.float64]
    center: NDArray[np.float64]
    extent: float

    @staticmethod
    def orbit(azimuth: float, elevation: float, center: NDArray[np.float64], extent: float) -> "Camera":
        """A camera on a sphere around the centre."""
        a, e = np.radians(azimuth), np.radians(elevation)
        back = np.array([np.cos(e) * np.sin(a), np.sin(e), np.cos(e) * np.cos(a)])
        right = np.array([np.cos(a), 0.0, -np.sin(a)])
        return Camera(right, np.cross(back, right), -back, center, extent)

    def rays(self, size: int) -> tuple[Float[NDArray[np.float64], "N 3"], Float[NDArray[np.float64], "N 3"]]:
        """Origins and directions of size x size rays, row by row from the top left."""
        axis = (np.arange(size) + 0.5) / size * 2 - 1
        x, y = np.meshgrid(axis, -axis)
        offsets = x.reshape(-1, 1) * self.right + y.reshape(-1, 1) * self.up
        origins = self.center + self.extent * (offsets - 3 * self.forward)
        return origins, np.broadcast_to(self.forward, origins.shape)


def render_mesh(
    mesh: trimesh.Trimesh,
    *,
    size: int = 384,
    azimuth: float = 35.0,
    elevation: float = 20.0,
    style: Style = "shaded",
    fit: bool = True,
) -> Image.Image:
    """A picture of a mesh, fitted to the image, or else with the image showing [-1, 1]^2 of model space.

    Raises MeshError when it has no faces, or when none is in view.
    """
    from trimesh.ray.ray_pyembree import RayMeshIntersector

    if len(mesh.faces) == 0:
        raise MeshError("a mesh without faces cannot be rendered")
    _check(size, style)
    low, high = mesh.bounds if fit else (-np.ones(3) / 3**0.5, np.ones(3) / 3**0.5)
    camera = Camera.orbit(azimuth, elevation, (low + high) / 2, float(np.linalg.norm(high - low)) / 2)
    # Embree works in float32, so the scene is brought to unit size around the origin.
    unit = trimesh.Trimesh((mesh.vertices - camera.center) / camera.extent, mesh.faces, process=False)
    camera = Camera(camera.right, camera.up, camera.forward, np.zeros(3), 1.0)
    caster = RayMeshIntersector(unit, scale_to_box=False)
    points, normals, hit = first_hits(caster, unit, camera, size * _SUPERSAMPLING)
    if not hit.any():
        raise MeshError("no part of the mesh is in view; it lies outside model space, or is too thin to be seen")
    if style != "shaded":
        return _compose(_style(style, points, normals, camera), hit, size)
    light = _shade(normals, camera) * _occlusion(caster, points, normals)
    return _compose(_lit(light), hit, size)


def first_hits(
    caster: Any, mesh: trimesh.Trimesh, camera: Camera, size: int
) -> tuple[Float[NDArray[np.float64], "H 3"], Float[NDArray[np.float64], "H 3"], Bool[NDArray[np.bool_], " N"]]:
    """What a camera sees of a mesh, by the mesh's RayMeshIntersector.

    Points, unit normals towards the camera, and which of the size x size rays hit.
    """
    origins, directions = camera.rays(size)
    face = caster.intersects_first(origins, directions)
    hit = face >= 0
    normals = np.asarray(mesh.face_normals)[face[hit]]
    # Open surfaces are seen from behind too.
    normals *= -np.sign((normals * camera.forward).sum(1, keepdims=True))
    corner = mesh.triangles[face[hit], 0]
    depth = ((corner - origins[hit]) * normals).sum(1) / (normals @ camera.forward).clip(max=-1e-9)
    return origins[hit] + depth[:, None] * camera.forward, normals, hit


def render_field(
    field: SignedDistance,
    *,
    size: int = 384,
    azimuth: float = 35.0,
    elevation: float = 20.0,
    style: Style = "shaded",
    device: torch.device | str = "cpu",
) -> Image.Image:
    """A picture of a signed distance in model space by sphere tracing.

    Steps are 0.8 of the distance, so a field whose gradient norm reaches 1.25 is still safe; normals come from central
    differences of 2e-3. Raises EmptyLevelSetError when no ray meets a surface.
    """
    _check(size, style)
    camera = Camera.orbit(azimuth, elevation, np.zeros(3), 1.0)
    origins, directions = (torch.from_numpy(np.float32(a)).to(device) for a in camera.rays(size * _SUPERSAMPLING))
    points, hit, _ = _trace(field, origins, directions)
    if not hit.any():
        raise EmptyLevelSetError("no ray meets a surface in [-1, 1]^3; train longer, or check the code")
    normals = finite_difference_normals(field, points[hit]).cpu().numpy().astype(np.float64)
    colour = _style(style, points[hit].cpu().numpy().astype(np.float64), normals, camera)
    return _compose(colour, hit.cpu().numpy(), size)


@dataclass(frozen=True)
class TracingCost:
    """Steps of sphere tracing over the rays that enter [-1, 1]^3: `mean`, 95th percentile `p95`, and the share
    `unfinished` of rays that neither met a surface nor left in 256. `picture` is white for none, black for 64 or more.
    """

    mean: float
    p95: float
    unfinished: float
    picture: Image.Image


def tracing_cost(
    field: SignedDistance,
    *,
    size: int = 384,
    azimuth: float = 35.0,
    elevation: float = 20.0,
    device: torch.device | str = "cpu",
) -> TracingCost:
    """What a picture of a field costs: of an exact distance few steps, most where rays pass close by (METHODS 7.4)."""
    _check(size, "shaded")
    camera = Camera.orbit(azimuth, elevation, np.zeros(3), 1.0)
    origins, directions = (torch.from_numpy(np.float32(a)).to(device) for a in camera.rays(size))
    _, _, steps = _trace(field, origins, directions)
    counted = steps[steps > 0].float()
    shade = (255 * (1 - steps.float() / _MOST_SHOWN).clamp(min=0)).byte().view(size, size)
    return TracingCost(
        float(counted.mean()),
        float(counted.quantile(0.95)),
        float((counted > _STEPS).float().mean()),
        Image.fromarray(shade.cpu().numpy()),
    )


def turntable(picture: Callable[[float], Image.Image], frames: int) -> list[Image.Image]:
    """Pictures at `frames` azimuths once around, by a function of the azimuth."""
    if frames < 2:
        raise ConfigError(f"a turntable needs at least 2 frames, got {frames}")
    return [picture(360 * i / frames) for i in range(frames)]


def animation(path: Path, pictures: Sequence[Image.Image], milliseconds: int) -> None:
    """An endless GIF, so many milliseconds a picture."""
    with atomic_write(path) as aside:
        first, *rest = (picture.quantize(64) for picture in pictures)
        first.save(aside, format="GIF", save_all=True, append_images=rest, duration=milliseconds, loop=0)


def contact_sheet(
    rows: Sequence[Sequence[Image.Image]],
    *,
    captions: Sequence[Sequence[str]] = (),
) -> Image.Image:
    """Pictures in a grid, with an optional caption under each."""
    width, height = rows[0][0].size
    font = ImageFont.load_default(size=max(12, height // 16))
    line = int(1.6 * max(12, height // 16))
    below = line if captions else 0
    columns = max(len(row) for row in rows)
    sheet = Image.new("RGB", (columns * width, len(rows) * (height + below)), "white")
    draw = ImageDraw.Draw(sheet)
    for r, row in enumerate(rows):
        y = r * (height + below)
        for c, image in enumerate(row):
            sheet.paste(image, (c * width, y))
            if captions and captions[r]:
                text = _fitting(captions[r][c], font, width)
                draw.text((c * width + width // 2, y + height), text, fill="black", font=font, anchor="ma")
    return sheet


def _fitting(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: int) -> str:
    """The end of a text, where long ids differ, as far as it fits."""
    while len(text) > 1 and font.getlength(text) > 0.95 * width:
        text = "…" + text.lstrip("…")[1:]
    return text


def comparison_sheet(
    originals: Mapping[str, trimesh.Trimesh],
    reconstructions: Mapping[str, trimesh.Trimesh],
    *,
    size: int = 180,
    columns: int = 6,
) -> Image.Image:
    """Originals (in any frame), with their reconstructions in model space below; names under the originals."""
    names = [name for name in originals if name in reconstructions]
    rows, captions = [], []
    for start in range(0, len(names), columns):
        some = names[start : start + columns]
        rows.append([render_mesh(normalize(originals[name])[0], size=size) for name in some])
        rows.append([render_mesh(reconstructions[name], size=size) for name in some])
        captions += [some, [""] * len(some)]
    return contact_sheet(rows, captions=captions)


def _trace(field: SignedDistance, origins: Tensor, directions: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """March all rays from where they enter the box; returns points, which rays hit, and how often each asked the field:
    not at all past the box, and one more than the most for those that did not end.
    """
    entry, leave = _box(origins, directions)
    travelled = entry.clone()
    alive = torch.nonzero(entry < leave).squeeze(1)
    hit = torch.zeros(len(origins), dtype=torch.bool, device=origins.device)
    steps = torch.zeros(len(origins), dtype=torch.long, device=origins.device)
    for _ in range(_STEPS):
        if len(alive) == 0:
            break
        steps[alive] += 1
        distance = field(origins[alive] + travelled[alive, None] * directions[alive])
        arrived = distance < _HIT
        hit[alive[arrived]] = True
        travelled[alive] += torch.where(arrived, 0.0, 0.8 * distance)
        alive = alive[~arrived & (travelled[alive] < leave[alive])]
    steps[alive] += 1
    return origins + travelled[:, None] * directions, hit, steps


def _box(origins: Tensor, directions: Tensor) -> tuple[Tensor, Tensor]:
    """Ray parameters of entry to and exit from [-1, 1]^3; entry > exit for rays that miss it."""
    safe = torch.where(directions.abs() < 1e-9, torch.full_like(directions, 1e-9), directions)
    first, second = (-1 - origins) / safe, (1 - origins) / safe
    return torch.minimum(first, second).amax(1).clamp(min=0), torch.maximum(first, second).amin(1)


def _shade(normals: NDArray[np.float64], camera: Camera) -> NDArray[np.float64]:
    """Diffuse light from the upper left of the viewer and from above, (N,) in [0, 1]."""
    key = -camera.forward + 0.6 * camera.up - 0.5 * camera.right
    key /= np.linalg.norm(key)
    diffuse = (normals @ key).clip(0, 1)
    sky = 0.5 + 0.5 * normals[:, 1]
    return np.asarray(0.25 + 0.5 * diffuse + 0.25 * sky)


def _occlusion(caster: object, points: NDArray[np.float64], normals: NDArray[np.float64]) -> NDArray[np.float64]:
    """Share of light that reaches the points past nearby surface, in [0.4, 1]."""
    rng = np.random.default_rng(0)
    origins = points + 1e-3 * normals
    hits = np.zeros(len(points))
    for _ in range(_OCCLUSION_RAYS):
        direction = normals + rng.normal(size=3) / 1.5
        hits += caster.intersects_any(origins, direction)  # type: ignore[attr-defined]
    return np.asarray(1 - 0.6 * hits / _OCCLUSION_RAYS)


def _check(size: int, style: str) -> None:
    if size < 1:
        raise ConfigError(f"a picture needs at least 1 pixel, got size {size}")
    if style not in get_args(Style):
        raise ConfigError(f"style must be one of {', '.join(get_args(Style))}, got '{style}'")


def _style(
    style: Style, points: NDArray[np.float64], normals: NDArray[np.float64], camera: Camera
) -> NDArray[np.float64]:
    """Colours (N, 3) in [0, 1] of hit points."""
    if style == "shaded":
        return _lit(_shade(normals, camera))
    if style == "normals":
        return np.asarray((normals + 1) / 2)
    depth = points @ camera.forward
    near, far = depth.min(), depth.max()
    return np.repeat(0.95 - 0.8 * (depth - near)[:, None] / max(far - near, 1e-9), 3, axis=1)


def _lit(light: NDArray[np.float64]) -> NDArray[np.float64]:
    return (light[:, None] * _BASE * 1.15).clip(0, 1)


def _compose(colour: NDArray[np.float64], hit: NDArray[np.bool_], size: int) -> Image.Image:
    """Colour the hits, average the supersamples."""
    fine = size * _SUPERSAMPLING
    pixels = np.full((fine * fine, 3), _BACKGROUND)
    pixels[hit] = colour
    image = pixels.reshape(size, _SUPERSAMPLING, size, _SUPERSAMPLING, 3).mean((1, 3))
    return Image.fromarray((image * 255).round().astype(np.uint8))
