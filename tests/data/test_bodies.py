"""Tests of bodies.

Those that generate meshes need the extra `bodies`, and Anny's cache of the model, which takes minutes to build.
"""

import os
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest

from latentsdf.data import bodies
from latentsdf.data.bodies import POSE, SUBJECT, BodySeed, body
from latentsdf.utils.errors import ConfigError, MissingExtraError


def _missing() -> str:
    """Reason why bodies cannot be generated here; empty if they can."""
    try:
        bodies.require_anny()
    except MissingExtraError as error:
        return str(error)
    cache = Path(os.environ.get("ANNY_CACHE_DIR", Path.home() / ".cache" / "anny"))
    if not any(cache.glob("v*/build_compact_model_data_*.safetensors")):
        return f"Anny's model is not cached in {cache}; latentsdf-preprocess --source bodies builds it, in minutes"
    return ""


needs_anny = pytest.mark.skipif(bool(_missing()), reason=_missing() or "none")


def test_recipes() -> None:
    """A seed determines subject and pose, which cover their ranges; other seeds give others."""
    recipes = [BodySeed(seed).recipe() for seed in range(300)]
    assert recipes[:20] == [BodySeed(seed).recipe() for seed in range(20)]
    for name, (low, high) in SUBJECT.items():
        values = [recipe["subject"][name] for recipe in recipes]
        assert low <= min(values) < low + 0.1 and high - 0.1 < max(values) <= high
    for name, (low, mode, high) in POSE.items():
        values = [recipe["pose"][name] for recipe in recipes]
        assert low <= min(values) < max(values) <= high and abs(np.mean(values) - (low + mode + high) / 3) < 4
    assert asdict(BodySeed(3)) == {"seed": 3}


def test_invalid_parameters() -> None:
    """A negative seed, an unknown name and a phenotype outside [0, 1] are rejected."""
    with pytest.raises(ConfigError, match="the seed of a body must be an integer >= 0, got -1"):
        BodySeed(-1)
    with pytest.raises(ConfigError, match="a body has no parameter 'tail'"):
        body({}, {"tail": 1.0})
    with pytest.raises(ConfigError, match=r"the parameter age of a body must lie in \[0, 1\], got 2"):
        body({"age": 2.0}, {})


def test_missing_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without anny, the error names the extra to install."""
    monkeypatch.setattr(bodies, "find_spec", lambda _: None)
    with pytest.raises(MissingExtraError, match=r"pip install 'latentsdf\[bodies\]'"):
        bodies.require_anny()


@needs_anny
@pytest.mark.slow
def test_closed_upright_bodies() -> None:
    """Bodies are single closed surfaces of human size, upright and distinct, and the same on every call."""
    meshes = [BodySeed(seed).mesh() for seed in range(6)]
    for mesh in meshes:
        assert mesh.is_watertight and mesh.is_winding_consistent and mesh.body_count == 1
        assert 0.01 < mesh.volume < 0.25 and 0.9 < mesh.extents[1] < 2.3
    assert len({mesh.vertices.tobytes() for mesh in meshes}) == len(meshes)
    np.testing.assert_array_equal(BodySeed(2).mesh().vertices, meshes[2].vertices)
    standing = body({}, {})
    assert standing.extents[1] > 1.3 > standing.extents[0] > standing.extents[2]
    np.testing.assert_allclose(standing.bounds[0, 0], -standing.bounds[1, 0], atol=1e-6)


@needs_anny
@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "axis", "sign"),
    [
        ("arm_forward.L", 2, 1),
        ("arm_raise.R", 1, 1),
        ("thigh_forward.L", 2, 1),
        ("thigh_outward.R", 0, -1),
        ("thigh_outward.L", 0, 1),
        ("knee.R", 2, -1),
        ("elbow.L", 2, 1),
        ("spine_forward", 2, 1),
        ("spine_left", 0, 1),
    ],
)
def test_direction_of_joints(name: str, axis: int, sign: int) -> None:
    """Each joint moves its limb in the direction of its name: front is +z, up is y, and the left side is at +x."""
    moved = body({}, {name: 30.0}).vertices - body({}, {}).vertices
    moved = moved[np.linalg.norm(moved, axis=1) > 0.05]
    assert len(moved) > 200 and sign * moved[:, axis].mean() > 0.03
