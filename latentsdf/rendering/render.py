"""Software rendering without OpenGL: meshes by ray casting, fields by sphere tracing in torch.

Sphere tracing (Hart 1996) moves each ray x(t) = o + t d by steps of 0.8 s(x(t)) until s < 1e-3 (a hit), until the ray
leaves [-1, 1]^3, or for at most 256 steps. The factor 0.8 keeps steps safe for fields with |grad s| up to 1.25.

The camera is orthographic; its conventions are in `rendering.camera`.
"""

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import torch
import trimesh
from jaxtyping import Bool, Float, Int
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from latentsdf.config.arguments import check_arguments
from latentsdf.config.validation import Pixels
from latentsdf.extraction.field import SignedDistance, as_field
from latentsdf.extraction.fusion_band import find_band
from latentsdf.extraction.normals import finite_difference_normals
from latentsdf.geometry.mesh_sdf.rays import RayScene, ray_scene
from latentsdf.geometry.targets import read_mesh
from latentsdf.rendering.camera import DEFAULT_AZIMUTH, DEFAULT_ELEVATION, Camera
from latentsdf.utils.errors import ConfigError, EmptyLevelSetError, MeshError

Style = Literal["shaded", "normals", "depth"]
"""Diffuse shading; unit normals as colors (n + 1) / 2; or depth, bright near and dark far over the visible range."""

_BASE_COLOR = np.array([0.56, 0.67, 0.80])
_BACKGROUND = 1.0
_SUPERSAMPLING = 2
_OCCLUSION_RAYS = 32
_MAX_STEPS = 256
_STEP_FACTOR = 0.8
_HIT_DISTANCE = 1e-3
_BLACK_STEPS = 64  # number of steps shown as black in the image of `tracing_cost`


@check_arguments
def render(
    shape: trimesh.Trimesh | SignedDistance,
    *,
    size: Pixels = 384,
    azimuth: float = DEFAULT_AZIMUTH,
    elevation: float = DEFAULT_ELEVATION,
    style: Style = "shaded",
) -> Image.Image:
    """Render a mesh or a signed distance field.

    Args:
        shape: Mesh in any frame and any form that `geometry.targets` lists, which fills the image; a `Field`, such as
            `ShapeSpace.fused` or `union` return, whose box fills the image; or a function from points (N, 3) to
            signed distances (N,) in [-1, 1]^3.
        size: Pixels per side.
        azimuth: Degrees about the y axis, 0 from +z and 90 from +x.
        elevation: Degrees above the xz plane.
        style: `shaded`, `normals` or `depth`; only meshes are shaded with ambient occlusion.

    Returns:
        The image, in RGB on white.

    Raises:
        ConfigError: `size` or `style` is invalid, or `shape` is neither a mesh nor callable.
        MeshError: The mesh has no faces, or no ray hits one.
        EmptyLevelSetError: No ray hits a surface of the field.
    """
    if not callable(shape):
        shape = read_mesh(shape, "an image")
        return render_mesh(shape, size=size, azimuth=azimuth, elevation=elevation, style=style)
    _validate(size, style)
    field = as_field(shape)
    distance, device = field.in_model_space(), field.device
    # Fields may overestimate the distance far from their surface, which rays that follow them would miss.
    traced = find_band(distance, device=device).tracing_field(distance)
    return render_field(traced, size=size, azimuth=azimuth, elevation=elevation, style=style, device=device)


def render_mesh(
    mesh: trimesh.Trimesh,
    *,
    size: int = 384,
    azimuth: float = DEFAULT_AZIMUTH,
    elevation: float = DEFAULT_ELEVATION,
    style: Style = "shaded",
    fit: bool = True,
    occlusion: bool = True,
) -> Image.Image:
    """Render a mesh by ray casting, shaded with ambient occlusion.

    Args:
        mesh: Mesh in any frame, or in model space if `fit` is False.
        size: Pixels per side.
        azimuth: Degrees about the y axis, 0 from +z and 90 from +x.
        elevation: Degrees above the xz plane.
        style: Coloring of the surface.
        fit: Whether to fit the mesh to the image; otherwise the image shows [-1, 1]^2 of model space.
        occlusion: Whether the shading includes ambient occlusion, which takes most of the time.

    Returns:
        The image, in RGB on white.

    Raises:
        ConfigError: `size` or `style` is invalid.
        MeshError: The mesh has no faces, or no ray hits one.
    """
    if len(mesh.faces) == 0:
        raise MeshError("a mesh without faces cannot be rendered")
    _validate(size, style)
    low, high = mesh.bounds if fit else (-np.ones(3) / 3**0.5, np.ones(3) / 3**0.5)
    camera = Camera.orbit(azimuth, elevation, (low + high) / 2, float(np.linalg.norm(high - low)) / 2)
    # Rays are computed in float32, so the scene is scaled to unit size around the origin.
    unit = trimesh.Trimesh((mesh.vertices - camera.center) / camera.extent, mesh.faces, process=False)
    camera = Camera(camera.right, camera.up, camera.forward, np.zeros(3), 1.0)
    scene = ray_scene(np.asarray(unit.triangles))
    points, normals, hit = cast_rays(scene, unit, camera, size * _SUPERSAMPLING)
    if not hit.any():
        raise MeshError("no part of the mesh is in view; it lies outside model space, or is too thin to be seen")
    if style != "shaded":
        return _downsample(_surface_colors(style, points, normals, camera), hit, size)
    light = _diffuse_light(normals, camera)
    if occlusion:
        light = light * _ambient_occlusion(scene, points, normals)
    return _downsample(_lit_colors(light), hit, size)


def cast_rays(
    scene: RayScene, mesh: trimesh.Trimesh, camera: Camera, size: int
) -> tuple[Float[NDArray[np.float64], "H 3"], Float[NDArray[np.float64], "H 3"], Bool[NDArray[np.bool_], " N"]]:
    """Intersect the camera's rays with a mesh.

    Args:
        scene: The mesh, prepared for rays.
        mesh: The mesh.
        camera: The camera.
        size: The number of rays is N = size^2.

    Returns:
        The first intersections (H, 3), unit normals there (H, 3), flipped toward the camera, and which of the N rays
        hit the mesh.
    """
    origins, directions = camera.rays(size)
    face = scene.first_face(origins, directions)
    hit = face >= 0
    normals = np.asarray(mesh.face_normals)[face[hit]]
    # Open surfaces are visible from their back side as well.
    normals *= -np.sign((normals * camera.forward).sum(1, keepdims=True))
    corner = mesh.triangles[face[hit], 0]
    depth = ((corner - origins[hit]) * normals).sum(1) / (normals @ camera.forward).clip(max=-1e-9)
    return origins[hit] + depth[:, None] * camera.forward, normals, hit


def render_field(
    field: SignedDistance,
    *,
    size: int = 384,
    azimuth: float = DEFAULT_AZIMUTH,
    elevation: float = DEFAULT_ELEVATION,
    style: Style = "shaded",
    device: torch.device | str = "cpu",
) -> Image.Image:
    """Render a signed distance field in model space by sphere tracing.

    Normals are central differences with offset 2e-3.

    Args:
        field: Signed distance with |grad s| of at most 1.25, (N, 3) to (N,).
        size: Pixels per side; the image shows [-1, 1]^2.
        azimuth: Degrees about the y axis, 0 from +z and 90 from +x.
        elevation: Degrees above the xz plane.
        style: Coloring of the surface; "shaded" has no ambient occlusion here.
        device: Device on which the field is evaluated.

    Returns:
        The image, in RGB on white.

    Raises:
        ConfigError: `size` or `style` is invalid.
        EmptyLevelSetError: No ray hits a surface.
    """
    _validate(size, style)
    camera = Camera.orbit(azimuth, elevation, np.zeros(3), 1.0)
    origins, directions = _torch_rays(camera, size * _SUPERSAMPLING, device)
    points, hit, _ = _sphere_trace(field, origins, directions)
    if not hit.any():
        raise EmptyLevelSetError("no ray meets a surface in [-1, 1]^3; train longer, or check the code")
    normals = finite_difference_normals(field, points[hit]).cpu().numpy().astype(np.float64)
    colors = _surface_colors(style, points[hit].cpu().numpy().astype(np.float64), normals, camera)
    return _downsample(colors, hit.cpu().numpy(), size)


@dataclass(frozen=True)
class TracingCost:
    """Sphere tracing steps of the rays that enter [-1, 1]^3."""

    mean: float
    """Mean number of steps per ray."""
    p95: float
    """95th percentile of the number of steps."""
    unfinished: float
    """Fraction of rays that neither hit a surface nor left the box within 256 steps."""
    image: Image.Image
    """Steps per pixel: white for none, black for 64 or more."""


def tracing_cost(
    field: SignedDistance,
    *,
    size: int = 384,
    azimuth: float = DEFAULT_AZIMUTH,
    elevation: float = DEFAULT_ELEVATION,
    device: torch.device | str = "cpu",
) -> TracingCost:
    """Count the sphere tracing steps that an image of a field takes.

    An exact signed distance takes few steps, most of them on rays that graze the surface. A field that underestimates
    the distance takes more.

    Args:
        field: Signed distance, (N, 3) to (N,).
        size: Rays per side of the image; there is no supersampling.
        azimuth: Degrees about the y axis.
        elevation: Degrees above the xz plane.
        device: Device on which the field is evaluated.

    Returns:
        The statistics of the step counts.

    Raises:
        ConfigError: `size` is less than 1.
    """
    _validate(size, "shaded")
    camera = Camera.orbit(azimuth, elevation, np.zeros(3), 1.0)
    origins, directions = _torch_rays(camera, size, device)
    _, _, steps = _sphere_trace(field, origins, directions)
    counted = steps[steps > 0].float()
    brightness = (255 * (1 - steps.float() / _BLACK_STEPS).clamp(min=0)).byte().view(size, size)
    return TracingCost(
        float(counted.mean()),
        float(counted.quantile(0.95)),
        float((counted > _MAX_STEPS).float().mean()),
        Image.fromarray(brightness.cpu().numpy()),
    )


def _torch_rays(camera: Camera, size: int, device: torch.device | str) -> tuple[Tensor, Tensor]:
    """Ray origins and directions (N, 3) as float32 tensors."""
    origins, directions = (torch.from_numpy(np.float32(a)).to(device) for a in camera.rays(size))
    return origins, directions


@torch.no_grad()
def _sphere_trace(
    field: SignedDistance, origins: Float[Tensor, "N 3"], directions: Float[Tensor, "N 3"]
) -> tuple[Float[Tensor, "N 3"], Bool[Tensor, " N"], Int[Tensor, " N"]]:
    """Trace all rays from their entry into the box.

    Returns:
        The last points (N, 3), which rays hit the surface (N,), and the number of field evaluations per ray (N,): 0
        for rays that miss the box, 257 for rays that are not finished after 256 steps.
    """
    entry, exit_ = _intersect_box(origins, directions)
    traveled = entry.clone()
    active = torch.nonzero(entry < exit_).squeeze(1)
    hit = torch.zeros(len(origins), dtype=torch.bool, device=origins.device)
    steps = torch.zeros(len(origins), dtype=torch.long, device=origins.device)
    for _ in range(_MAX_STEPS):
        if len(active) == 0:
            break
        steps[active] += 1
        distance = field(origins[active] + traveled[active, None] * directions[active])
        arrived = distance < _HIT_DISTANCE
        hit[active[arrived]] = True
        traveled[active] += torch.where(arrived, 0.0, _STEP_FACTOR * distance)
        active = active[~arrived & (traveled[active] < exit_[active])]
    steps[active] += 1
    return origins + traveled[:, None] * directions, hit, steps


def _intersect_box(
    origins: Float[Tensor, "N 3"], directions: Float[Tensor, "N 3"]
) -> tuple[Float[Tensor, " N"], Float[Tensor, " N"]]:
    """Ray parameters of the entry into and the exit from [-1, 1]^3, by the slab method; entry > exit for a miss."""
    safe = torch.where(directions.abs() < 1e-9, torch.full_like(directions, 1e-9), directions)
    first, second = (-1 - origins) / safe, (1 - origins) / safe
    return torch.minimum(first, second).amax(1).clamp(min=0), torch.maximum(first, second).amin(1)


def _diffuse_light(normals: NDArray[np.float64], camera: Camera) -> NDArray[np.float64]:
    """Light (N,) in [0, 1]: ambient, a key light from the viewer's upper left, and a sky light from +y."""
    key = -camera.forward + 0.6 * camera.up - 0.5 * camera.right
    key /= np.linalg.norm(key)
    diffuse = (normals @ key).clip(0, 1)
    sky = 0.5 + 0.5 * normals[:, 1]
    return np.asarray(0.25 + 0.5 * diffuse + 0.25 * sky)


def _ambient_occlusion(
    scene: RayScene, points: NDArray[np.float64], normals: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Light (N,) in [0.4, 1] that is not blocked by nearby surface, estimated with 32 random rays per point."""
    rng = np.random.default_rng(0)
    origins = points + 1e-3 * normals
    blocked = np.zeros(len(points))
    for _ in range(_OCCLUSION_RAYS):
        direction = normals + rng.normal(size=3) / 1.5
        blocked += scene.is_hit(origins, direction)
    return np.asarray(1 - 0.6 * blocked / _OCCLUSION_RAYS)


def _validate(size: int, style: str) -> None:
    if size < 1:
        raise ConfigError(f"an image needs at least 1 pixel, got size {size}")
    if style not in get_args(Style):
        raise ConfigError(f"style must be one of {', '.join(get_args(Style))}, got '{style}'")


def _surface_colors(
    style: Style, points: NDArray[np.float64], normals: NDArray[np.float64], camera: Camera
) -> NDArray[np.float64]:
    """Colors (N, 3) in [0, 1] of surface points."""
    if style == "shaded":
        return _lit_colors(_diffuse_light(normals, camera))
    if style == "normals":
        return np.asarray((normals + 1) / 2)
    depth = points @ camera.forward
    near, far = depth.min(), depth.max()
    return np.repeat(0.95 - 0.8 * (depth - near)[:, None] / max(far - near, 1e-9), 3, axis=1)


def _lit_colors(light: NDArray[np.float64]) -> NDArray[np.float64]:
    """Multiply the base color by light (N,); returns (N, 3)."""
    return (light[:, None] * _BASE_COLOR * 1.15).clip(0, 1)


def _downsample(colors: NDArray[np.float64], hit: NDArray[np.bool_], size: int) -> Image.Image:
    """Write the colors of the hit rays into a supersampled image and average it down to size x size pixels."""
    fine = size * _SUPERSAMPLING
    pixels = np.full((fine * fine, 3), _BACKGROUND)
    pixels[hit] = colors
    image = pixels.reshape(size, _SUPERSAMPLING, size, _SUPERSAMPLING, 3).mean((1, 3))
    return Image.fromarray((image * 255).round().astype(np.uint8))
