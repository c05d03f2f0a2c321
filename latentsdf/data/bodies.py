"""Human bodies of the parametric model Anny (Brégier et al. 2026), for training sets with continuous variation.

A seed determines a subject (age from child to old, gender, muscle, weight, height, proportions) and a pose. Each mesh
is one closed surface, in meters, with y up and the front toward +z; poses may make it intersect itself. Fingers and
toes keep their shape. Anny's code (Apache-2.0) and data (CC0) are in the package `anny`, the extra `bodies`; nothing is
downloaded. Its first use on a machine takes minutes, because Anny then builds the model from MakeHuman's files and
caches it in ~/.cache/anny (or $ANNY_CACHE_DIR).
"""

from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np
import trimesh
from numpy.typing import NDArray
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from scipy.spatial.transform import Rotation

from latentsdf.utils.errors import ConfigError, MissingExtraError

if TYPE_CHECKING:
    from anny import Anny

CATEGORY = "body"
"""Category of all bodies."""

SUBJECT: dict[str, tuple[float, float]] = {
    "gender": (0.0, 1.0),
    "age": (0.33, 1.0),
    "muscle": (0.1, 0.9),
    "weight": (0.1, 0.9),
    "height": (0.1, 0.9),
    "proportions": (0.1, 0.9),
}
"""Ranges of Anny's phenotype parameters, which are drawn uniformly. Age: 1/3 is a child, 2/3 a young adult, 1 old."""

_BOTH = ("L", "R")
_PAIRED = {
    "arm_raise": (-30.0, -10.0, 70.0),
    "arm_forward": (-35.0, 10.0, 80.0),
    "elbow": (0.0, 25.0, 120.0),
    "thigh_forward": (-20.0, 2.0, 65.0),
    "thigh_outward": (-2.0, 3.0, 28.0),
    "knee": (0.0, 8.0, 85.0),
    "ankle": (-15.0, 0.0, 20.0),
}
POSE: dict[str, tuple[float, float, float]] = {
    **{f"{name}.{side}": limits for name, limits in _PAIRED.items() for side in _BOTH},
    "spine_forward": (-10.0, 2.0, 32.0),
    "spine_left": (-20.0, 0.0, 20.0),
    "spine_turn": (-30.0, 0.0, 30.0),
    "head_forward": (-20.0, 0.0, 25.0),
    "head_left": (-12.0, 0.0, 12.0),
    "head_turn": (-45.0, 0.0, 45.0),
}
"""Smallest, most frequent and largest angle of each joint in degrees, relative to standing with arms held down at an
angle; drawn from triangular distributions."""

# In Anny's frame, z is up, and bodies face -y with their left side at +x.
_FORWARD, _LEFT, _UP = np.array([0.0, -1.0, 0.0]), np.array([1.0, 0.0, 0.0]), np.array([0.0, 0.0, 1.0])
_SPINE = ("spine05", "spine04", "spine03", "spine02", "spine01")
_HEAD = ("neck01", "neck02", "neck03", "head")

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class BodySeed:
    """A body that is generated when it is needed.

    Raises:
        ConfigError: The seed is negative.
    """

    seed: int

    def __post_init__(self) -> None:
        """Check the seed."""
        if self.seed < 0:
            raise ConfigError(f"the seed of a body must be an integer >= 0, got {self.seed}")

    def recipe(self) -> dict[str, Any]:
        """Return the seed, the phenotype parameters of the subject, and the angles of the pose in degrees."""
        rng = np.random.default_rng([self.seed, 0xB0D7])
        subject = {name: round(float(rng.uniform(*limits)), 4) for name, limits in SUBJECT.items()}
        pose = {name: round(float(rng.triangular(*limits)), 2) for name, limits in POSE.items()}
        return {"bodies": "anny", "seed": self.seed, "subject": subject, "pose": pose}

    def mesh(self) -> trimesh.Trimesh:
        """Generate the mesh.

        Raises:
            MissingExtraError: anny is not installed.
        """
        recipe = self.recipe()
        return body(recipe["subject"], recipe["pose"])


def require_anny() -> None:
    """Raise MissingExtraError if anny is not installed. Does not import it, because this takes seconds."""
    if find_spec("anny") is None:
        raise MissingExtraError("--source bodies needs the body model Anny; pip install 'latentsdf[bodies]'")


def body(subject: dict[str, float], pose: dict[str, float]) -> trimesh.Trimesh:
    """Generate a body.

    Args:
        subject: Phenotype parameters in [0, 1], with the names of `SUBJECT`; 0.5 for those that are missing.
        pose: Angles in degrees, with the names of `POSE`; 0 for those that are missing.

    Returns:
        A closed mesh in meters with y up, the same on every call.

    Raises:
        MissingExtraError: anny is not installed.
        ConfigError: A name is unknown, or a phenotype parameter is outside [0, 1].
    """
    unknown = sorted(set(subject) - set(SUBJECT)) + sorted(set(pose) - set(POSE))
    if unknown:
        raise ConfigError(f"a body has no parameter '{unknown[0]}'; see bodies.SUBJECT and bodies.POSE")
    for name, value in subject.items():
        if not 0 <= value <= 1:
            raise ConfigError(f"the parameter {name} of a body must lie in [0, 1], got {value}")
    import torch

    model, faces = _model()
    transforms = torch.eye(4, dtype=torch.float64).repeat(1, model.bone_count, 1, 1)
    for bone, rotation in _rotations(model, {name: pose.get(name, 0.0) for name in POSE}).items():
        transforms[0, model.bone_labels.index(bone), :3, :3] = torch.from_numpy(rotation.as_matrix())
    with torch.no_grad():
        posed = model(
            pose_parameters=transforms,
            phenotype_kwargs={name: torch.tensor(subject.get(name, 0.5), dtype=torch.float64) for name in SUBJECT},
        )
    x, y, z = posed["vertices"][0].numpy().T
    mesh = trimesh.Trimesh(np.stack([x, z, -y], axis=1), faces, process=False)
    mesh.remove_unreferenced_vertices()
    return mesh


@cache
def _model() -> "tuple[Anny, NDArray[np.int64]]":
    """Load Anny, and the faces of the body without eyes and tongue, which are separate surfaces inside the head."""
    require_anny()
    from anny import Anny

    # The default skinning needs Warp, which compiles a kernel first; this one gives the same result.
    model = Anny(skinning_method="lbs")
    faces = np.asarray(model.faces, dtype=np.int64)
    ends = np.concatenate([faces[:, :2], faces[:, 1:]])
    graph = coo_matrix((np.ones(len(ends), np.int8), ends.T))
    part = connected_components(graph, directed=False)[1][faces[:, 0]]
    return model, faces[part == np.bincount(part).argmax()]


def _rotations(model: "Anny", pose: dict[str, float]) -> dict[str, Rotation]:
    """Rotation of each moving bone, relative to its parent, in the axes of Anny's frame."""
    head = dict(zip(model.bone_labels, model.template_bone_heads.numpy(), strict=True))
    rotations: dict[str, Rotation] = {}
    for side, left in (("L", 1.0), ("R", -1.0)):

        def angle(name: str, side: str = side) -> float:
            return pose[f"{name}.{side}"]

        upper_arm = head[f"lowerarm01.{side}"] - head[f"upperarm01.{side}"]
        forearm = head[f"wrist.{side}"] - head[f"lowerarm01.{side}"]
        raised = left * angle("arm_raise")
        # Beyond the shoulder's own range, the clavicle takes part of the movement.
        rotations[f"clavicle.{side}"] = _turn(-_FORWARD, -0.2 * raised)
        swing = _bend(upper_arm, _FORWARD, angle("arm_forward"))
        rotations[f"upperarm01.{side}"] = _turn(-_FORWARD, -0.8 * raised) * swing
        rotations[f"lowerarm01.{side}"] = _bend(forearm, _FORWARD, angle("elbow"))
        outward = _bend(-_UP, left * _LEFT, angle("thigh_outward"))
        rotations[f"upperleg01.{side}"] = outward * _bend(-_UP, _FORWARD, angle("thigh_forward"))
        rotations[f"lowerleg01.{side}"] = _bend(-_UP, -_FORWARD, angle("knee"))
        rotations[f"foot.{side}"] = _bend(_FORWARD, -_UP, angle("ankle"))
    for name, bones in (("spine", _SPINE), ("head", _HEAD)):
        share = 1 / len(bones)
        step = (
            _turn(_UP, share * pose[f"{name}_turn"])
            * _bend(_UP, _LEFT, share * pose[f"{name}_left"])
            * _bend(_UP, _FORWARD, share * pose[f"{name}_forward"])
        )
        rotations |= dict.fromkeys(bones, step)
    return rotations


def _turn(axis: Floats, degrees: float) -> Rotation:
    """Rotation about a unit axis."""
    return Rotation.from_rotvec(np.radians(degrees) * axis)


def _bend(limb: Floats, toward: Floats, degrees: float) -> Rotation:
    """Rotation that turns the direction of a limb toward another direction."""
    axis = np.cross(limb, toward)
    return _turn(axis / np.linalg.norm(axis), degrees)
