"""`ShapeSpace` as a torch module, and gradients through the fields of a shape."""

import copy
from pathlib import Path

import numpy as np
import pytest
import torch
import trimesh
from torch import Tensor, nn

import latentsdf as ls
from latentsdf.space import ShapeSpace


def _points(count: int, scale: float = 1.0) -> Tensor:
    return scale * (2 * torch.rand(count, 3, generator=torch.Generator().manual_seed(0)) - 1)


def test_space_inside_a_model(space: ShapeSpace) -> None:
    """The space adds frozen parameters and a buffer of codes to a model, and its call is `sdf`."""
    own = nn.ModuleDict({"encoder": nn.Linear(3, 8), "space": copy.deepcopy(space)})
    assert sorted(name for name, p in own.named_parameters() if p.requires_grad) == ["encoder.bias", "encoder.weight"]
    assert {"space.codes", "space.model.grid.table"} <= own.state_dict().keys()
    assert not space.training
    points = _points(5)
    torch.testing.assert_close(own["space"](space.codes, points, "general"), space.sdf(space.codes, points, "general"))
    assert own.to(torch.float64)["space"].codes.dtype == torch.float64


def test_codes_replaced_by_a_state(space: ShapeSpace) -> None:
    """Other codes have another fingerprint and another mean."""
    state = copy.deepcopy(space.state_dict())
    state["codes"] += 1
    again = copy.deepcopy(space)
    before = again.mean()
    again.load_state_dict(state)
    assert again.fingerprint != space.fingerprint
    assert again.mean() == pytest.approx(before + 1, abs=1e-5)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_precisions(space: ShapeSpace, dtype: torch.dtype) -> None:
    """Weights are converted, but what is computed from the codes alone stays the same: arrays, index, fingerprint."""
    again = copy.deepcopy(space).to(dtype)
    assert next(again.model.parameters()).dtype == dtype
    assert torch.equal(again.codes.double(), space.codes.double())
    assert again.fingerprint == space.fingerprint
    assert (again._global_part(again.codes) == space._global_part(space.codes)).all()
    one, other = space.ids[:2]
    for found, expected in (
        (again[one], space[one]),
        (again.mean(), space.mean()),
        (again.sample(2), space.sample(2)),
        (again.combine((0.5, one)), space.combine((0.5, one))),
        (again.interpolate(one, other, steps=3), space.interpolate(one, other, steps=3)),
    ):
        array = np.asarray(found)
        assert array.dtype == np.float32
        np.testing.assert_allclose(array, np.asarray(expected), rtol=1e-6, atol=1e-7)


@pytest.mark.slow
def test_fits_in_half_precision(space: ShapeSpace) -> None:
    """Fits, their detail and shortest paths are those of a space with the same weights in single precision.

    Slow: fits, refines and shortens a path twice.
    """
    again = copy.deepcopy(space).half()
    single = copy.deepcopy(again).float()
    points = _points(100, 0.9).numpy()
    observed = space.observe(trimesh.creation.icosphere(2, 0.5))
    results = []
    for one in (again, single):
        fit = one.invert(observed, steps=1, starts=1, points=64)
        fit = one.refine(fit, trimesh.creation.icosphere(2, 0.5), steps=2, points=64, resolution=32, lattice=16)
        path = one.interpolate(*one.ids[:2], steps=3, method="shortest")
        results.append((fit.code, np.asarray(path), one.distance(fit, points)))
    for found, expected in zip(*results, strict=True):
        np.testing.assert_allclose(found, expected, atol=5e-3)


@pytest.mark.slow
def test_state_of_a_module(space: ShapeSpace, space_path: Path) -> None:
    """The state of a module restores the space exactly."""
    state, points = copy.deepcopy(space.state_dict()), _points(50)
    again = ls.load(space_path, "cpu")
    for parameter in again.parameters():
        parameter.data += 0.1
    assert not torch.equal(again.sdf(space.codes, points), space.sdf(space.codes, points))
    again.load_state_dict(state)
    assert torch.equal(again.sdf(space.codes, points), space.sdf(space.codes, points))


@pytest.mark.slow
def test_training_of_weights(space: ShapeSpace) -> None:
    """Weights that require gradients receive them, and the band and the arrays of a shape follow them."""
    trained = copy.deepcopy(space).requires_grad_()
    points, name = _points(4000), "table_0000"
    before, band = trained.distance(name, points.numpy()), trained.band(name)
    trained.sdf(trained.codes[:1], points).square().mean().backward()
    assert trained.model.general.last.weight.grad is not None
    with torch.no_grad():
        trained.model.general.last.bias += 0.01
    moved = trained.band(name).contains(points)
    assert not torch.equal(moved, band.contains(points))
    assert abs(trained.distance(name, points.numpy()) - before).max() > 0.008
    assert len(trained.gradient_norm(name, points.numpy())) == 4000
    assert trained.extract(name, 32).is_watertight


@pytest.mark.slow
@pytest.mark.parametrize("points_need_gradients", [False, True])
def test_gradient_by_the_code(trained_space: ShapeSpace, points_need_gradients: bool) -> None:
    """Fields have the gradient of `sdf` by the code, whether or not the points require gradients as well."""
    points = _points(300, scale=1.3).requires_grad_(points_need_gradients)
    for branch in ("general", "overfit", "fused"):
        code = trained_space.code("table_0001").clone().requires_grad_()
        field = trained_space.fused(code) if branch == "fused" else trained_space.field(code, branch)  # type: ignore[arg-type]
        expected = trained_space.sdf(code, points, branch)  # type: ignore[arg-type]
        same = (field(points) - expected).abs() < 1e-5
        assert same.float().mean() > 0.98
        (found,) = torch.autograd.grad(field(points)[same].sum(), code)
        torch.testing.assert_close(found, torch.autograd.grad(expected[same].sum(), code)[0], atol=1e-3, rtol=1e-3)
        assert found.abs().max() > 0.1


@pytest.mark.slow
def test_second_derivatives_of_fields(trained_space: ShapeSpace) -> None:
    """An eikonal loss has finite gradients by the code, which are not all zero, inside and outside the box."""
    for scale in (1.0, 1.5):
        code = trained_space.code("table_0001").clone().requires_grad_()
        points = _points(200, scale).requires_grad_()
        for field in (trained_space.field(code), trained_space.fused(code)):
            (slope,) = torch.autograd.grad(field(points).sum(), points, create_graph=True)
            (found,) = torch.autograd.grad((slope.norm(dim=1) - 1).square().sum(), code)
            assert found.isfinite().all() and found.abs().max() > 0


@pytest.mark.slow
def test_code_changed_by_an_optimizer(trained_space: ShapeSpace) -> None:
    """A field of a code on a graph follows the code, in any type, and is not mistaken for the cached one."""
    points = _points(300)
    for dtype in (torch.float32, torch.float64):
        code = trained_space.code("table_0000").to(dtype).requires_grad_()
        field = trained_space.fused(code)
        field(points)
        with torch.no_grad():
            code.copy_(trained_space.code("table_0001"))
        expected = torch.from_numpy(trained_space.distance("table_0001", points.numpy(), frame="model"))
        torch.testing.assert_close(field(points).detach(), expected)
        field(points).sum().backward()
        field(points).sum().backward()
        assert code.grad is not None and code.grad.dtype == dtype


def test_arrays_of_codes_on_a_graph(space: ShapeSpace) -> None:
    """Functions that return arrays accept codes that require gradients."""
    code = space.code("table_0000").clone().requires_grad_()
    assert space.code(code).requires_grad
    space.code("table_0000")[:] = 0  # a copy
    assert torch.equal(space.code("table_0000"), code)
    assert space.nearest(code, k=1).ids == ["table_0000"]
    assert space.interpolate(code, "table_0001", steps=2)[0] == pytest.approx(space.code("table_0000").numpy())
    assert space.combine((1.0, code)) == pytest.approx(space.code("table_0000").numpy(), abs=1e-6)
