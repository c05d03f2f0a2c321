"""`ShapeSpace.sdf`: broadcasting, conversions, derivatives, function transforms, compilation, and fits by gradients."""

import copy
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.models import small_latent_model
from torch import Tensor

import latentsdf as ls
from latentsdf.latent.batched_sdf import SDFBranch, signed_distance
from latentsdf.models.latent_sdf import LatentSDF
from latentsdf.space import ShapeSpace

BRANCHES: tuple[SDFBranch, ...] = ("fused", "general", "overfit")
HALF_WIDTH = 0.1


def _points(*shape: int, scale: float = 1.0, dtype: torch.dtype = torch.float32) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return scale * (2 * torch.rand(*shape, 3, generator=generator, dtype=dtype) - 1)


def _codes(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(*shape, 8, generator=torch.Generator().manual_seed(1), dtype=dtype)


@pytest.fixture(scope="module")
def model() -> LatentSDF:
    """A smooth model in float64 with a random grid, and points inside and outside its band."""
    return small_latent_model("hyper").double()


def _sdf(model: LatentSDF, branch: SDFBranch = "fused") -> Callable[[Tensor, Tensor], Tensor]:
    return lambda codes, points: signed_distance(model, codes, points, branch, half_width=HALF_WIDTH)


@pytest.mark.parametrize("branch", BRANCHES)
def test_definition(model: LatentSDF, branch: SDFBranch) -> None:
    """Inside the box the branches are those of the model, and the fused distance is s_o where |s_g| < w."""
    codes, points = _codes(3, dtype=torch.float64), _points(3, 200, dtype=torch.float64)
    both = model(points, codes)
    held = both.general.abs() < HALF_WIDTH
    assert 0.02 < held.double().mean() < 0.98
    expected = {"general": both.general, "overfit": both.overfit}.get(
        branch, torch.where(held, both.overfit, both.general)
    )
    torch.testing.assert_close(_sdf(model, branch)(codes, points), expected)


def test_broadcasting(model: LatentSDF) -> None:
    """Leading dimensions broadcast like those of any torch function; every distance is that of its code and point."""
    sdf = _sdf(model)
    for codes_shape, points_shape in (((), (7,)), ((4,), (7,)), ((), (4, 7)), ((4, 1), (5, 7)), ((1,), (2, 3, 7))):
        codes = _codes(*codes_shape, dtype=torch.float64)
        points = _points(*points_shape, dtype=torch.float64)
        batch = torch.broadcast_shapes(codes_shape, points_shape[:-1])
        each_code = codes.expand(*batch, 8).reshape(-1, 8)
        each_points = points.expand(*batch, 7, 3).reshape(-1, 7, 3)
        loop = torch.stack([sdf(z, x) for z, x in zip(each_code, each_points, strict=True)]).reshape(*batch, 7)
        torch.testing.assert_close(sdf(codes, points), loop)
    assert sdf(codes, points[..., :0, :]).shape == (2, 3, 0)
    assert sdf(_codes(0, dtype=torch.float64), points[0, 0]).shape == (0, 7)


def test_codes_by_layer(model: LatentSDF) -> None:
    """Equal codes for all layers give the distance of that code."""
    codes, points = _codes(2, dtype=torch.float64), _points(5, dtype=torch.float64)
    by_layer = codes[:, None].expand(-1, len(model.conditioned_layers()), -1)
    found = signed_distance(model, by_layer, points, half_width=HALF_WIDTH, by_layer=True)
    torch.testing.assert_close(found, _sdf(model)(codes, points))


def test_types(space: ShapeSpace) -> None:
    """Codes and points of any floating-point type are accepted; the result has the type of the points."""
    expected = space.sdf(_codes(2), _points(9))
    for dtype, tolerance in ((torch.float64, 1e-5), (torch.float16, 0.02), (torch.bfloat16, 0.1)):
        found = space.sdf(_codes(2).to(dtype), _points(9).to(dtype), "general")
        assert found.dtype == dtype
        torch.testing.assert_close(found.float(), space.sdf(_codes(2), _points(9), "general"), atol=tolerance, rtol=0)
    double = copy.deepcopy(space).double()
    assert double.codes.dtype == torch.float64
    torch.testing.assert_close(double.sdf(_codes(2), _points(9)), expected, atol=1e-5, rtol=0)


@pytest.mark.slow
@pytest.mark.parametrize("scale", [1.0, 3.0])
@pytest.mark.parametrize("branch", BRANCHES)
def test_first_and_second_derivatives(model: LatentSDF, branch: SDFBranch, scale: float) -> None:
    """Gradients and second derivatives by codes and points match finite differences, inside and outside the box."""
    codes = _codes(1, dtype=torch.float64).requires_grad_()
    points = _points(3, scale=scale, dtype=torch.float64).requires_grad_()
    assert (points.abs() > 1).any() == (scale > 1)
    assert torch.autograd.gradcheck(_sdf(model, branch), (codes, points))
    assert torch.autograd.gradgradcheck(_sdf(model, branch), (codes, points), fast_mode=True)


@pytest.mark.slow
@pytest.mark.parametrize("branch", BRANCHES)
def test_derivatives_on_faces_of_the_box(model: LatentSDF, branch: SDFBranch) -> None:
    """On a face, derivatives by the code and along the face match differences; those across it are from inside."""
    sdf = _sdf(model, branch)
    code = _codes(dtype=torch.float64).requires_grad_()
    along = _points(2, dtype=torch.float64)[:, :2].clone().requires_grad_()

    def on_face(z: Tensor, yz: Tensor) -> Tensor:
        return sdf(z, torch.cat((torch.ones_like(yz[:, :1]), yz), dim=1))

    assert torch.autograd.gradcheck(on_face, (code, along))
    assert torch.autograd.gradgradcheck(on_face, (code, along), fast_mode=True)
    corner = torch.ones(1, 3, dtype=torch.float64)
    for points in (torch.cat((torch.ones_like(along[:, :1]), along), dim=1).detach(), corner):
        (slope,) = torch.autograd.grad(sdf(code, tracked := points.clone().requires_grad_()).sum(), tracked)
        step = 1e-6 * torch.tensor([1.0, 0, 0], dtype=torch.float64)
        torch.testing.assert_close(
            slope[:, 0], (sdf(code, points) - sdf(code, points - step)) / 1e-6, atol=1e-4, rtol=0
        )


@pytest.mark.slow
def test_vmap_and_jacrev(model: LatentSDF) -> None:
    """Vmap equals a loop, in values and in derivatives, and jacrev equals one backward pass per distance."""
    sdf = _sdf(model)
    codes, points = _codes(4, dtype=torch.float64), _points(4, 6, dtype=torch.float64)
    pairs = list(zip(codes, points, strict=True))
    torch.testing.assert_close(torch.func.vmap(sdf)(codes, points), torch.stack([sdf(z, x) for z, x in pairs]))
    shared = torch.func.vmap(sdf, in_dims=(0, None))(codes, points[0])
    torch.testing.assert_close(shared, torch.stack([sdf(z, points[0]) for z in codes]))

    def rows(z: Tensor, x: Tensor) -> Tensor:
        z = z.clone().requires_grad_()
        return torch.stack([torch.autograd.grad(value, z, retain_graph=True)[0] for value in sdf(z, x)])

    jacobian = torch.func.jacrev(sdf)
    torch.testing.assert_close(jacobian(*pairs[0]), rows(*pairs[0]))
    torch.testing.assert_close(torch.func.vmap(jacobian)(codes, points), torch.stack([rows(z, x) for z, x in pairs]))
    torch.testing.assert_close(torch.func.jacfwd(sdf)(*pairs[0]), rows(*pairs[0]))
    hessian = torch.func.hessian(lambda z: sdf(z, points[0]).square().sum())(codes[0])
    torch.testing.assert_close(hessian, hessian.mT)
    assert hessian.abs().max() > 0


def test_batched_gradients(model: LatentSDF) -> None:
    """`jacobian(vectorize=True)`, which batches upstream gradients, equals one backward pass per distance."""
    codes, points = _codes(dtype=torch.float64), _points(3, dtype=torch.float64)
    for function, at in ((lambda z: _sdf(model)(z, points), codes), (lambda x: _sdf(model)(codes, x), points)):
        found, expected = (torch.autograd.functional.jacobian(function, at, vectorize=fast) for fast in (True, False))
        torch.testing.assert_close(found, expected)
    trained = copy.deepcopy(model).requires_grad_()
    table, distances = trained.require_grid().table, _sdf(trained)(codes, points)
    (found,) = torch.autograd.grad(distances, table, torch.eye(3).double(), is_grads_batched=True, retain_graph=True)
    rows = [torch.autograd.grad(one, table, retain_graph=True)[0] for one in distances]
    torch.testing.assert_close(found, torch.stack(rows))


@pytest.mark.slow
def test_exported_program_for_other_sizes() -> None:
    """An exported program evaluates any number of codes and of points. Slow: torch traces the model."""
    model = small_latent_model("hyper").requires_grad_(False)

    class Exported(torch.nn.Module):
        def forward(self, codes: Tensor, points: Tensor) -> Tensor:
            return _sdf(model)(codes, points)

    sizes = {"codes": {0: torch.export.Dim("B")}, "points": {0: torch.export.Dim("P")}}
    program = torch.export.export(Exported(), (_codes(2), _points(5)), dynamic_shapes=sizes)
    codes, points = _codes(3), _points(7)
    torch.testing.assert_close(program.module()(codes, points), _sdf(model)(codes, points))


_COMPILE = """
import sys, torch
from helpers.models import small_latent_model
from latentsdf.latent.batched_sdf import signed_distance
model = small_latent_model("hyper").double()
codes = torch.randn(2, 8, dtype=torch.float64).requires_grad_()
points = (3 * torch.rand(9, 3, dtype=torch.float64) - 1.5).requires_grad_()
sdf = lambda z, x: signed_distance(model, z, x, half_width=0.1)
found = []
for function in (sdf, torch.compile(sdf, backend=sys.argv[1], fullgraph=True)):
    distance = function(codes, points)
    found.append((distance, *torch.autograd.grad(distance.square().sum(), (codes, points))))
torch.testing.assert_close(*found)
"""


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["aot_eager", "inductor"])
def test_compilation(backend: str, tmp_path: Path) -> None:
    """A compiled function without graph breaks equals eager execution in value and gradients."""
    if backend == "inductor" and (shutil.which("g++") is None or "LATENTSDF_INDUCTOR" not in os.environ):
        pytest.skip("inductor compiles for a minute, with a C++ compiler; set LATENTSDF_INDUCTOR=1 to run it")
    # In a process of its own, without the shape checks of the tests, which break graphs.
    path = os.pathsep.join([str(Path(__file__).parents[1]), *sys.path])
    environment = os.environ | {"PYTHONPATH": path, "TORCHINDUCTOR_CACHE_DIR": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", _COMPILE, backend], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_points_that_are_not_numbers(space: ShapeSpace) -> None:
    """NaN stays in the distance of its point."""
    points = _points(4)
    points[1, 2] = torch.nan
    for branch in BRANCHES:
        assert space.sdf(_codes(2), points, branch).isnan().tolist() == [[False, True, False, False]] * 2


@pytest.mark.usefixtures("without_shape_checks")
def test_invalid_arguments(space: ShapeSpace) -> None:
    """Errors state the shape or type that was expected and the one found."""
    z, x = _codes(2), _points(5)
    for call, message in (
        (lambda: space.sdf(z[:, :7], x), r"codes must have shape \(..., 8\), got \(2, 7\)"),
        (lambda: space.sdf(z, x[..., :2]), r"points must have shape \(..., P, 3\), got \(5, 2\)"),
        (lambda: space.sdf(z, x[0]), r"points must have shape \(..., P, 3\), got \(3,\)"),
        (lambda: space.sdf(_codes(3), _points(2, 5)), r"codes \(3,\) and points \(2,\) do not broadcast"),
        (lambda: space.sdf(z, x.long()), r"points must be .* got a tensor of torch.int64"),
        (lambda: space.sdf(z, x, "smooth"), "branch must be fused, general or overfit, got str 'smooth'"),  # type: ignore[arg-type]
        (lambda: space.sdf(z, x, by_layer=True), r"codes must have shape \(..., \d+, 8\), got \(2, 8\)"),
    ):
        with pytest.raises(ls.ConfigError, match=message):
            call()


@pytest.mark.usefixtures("without_shape_checks")
def test_arrays_instead_of_tensors(space: ShapeSpace) -> None:
    """An id or an array is refused with the name of the function that accepts it."""
    with pytest.raises(ls.ConfigError, match="codes must be a torch tensor .* got str; .*ShapeSpace.distance"):
        space.sdf("table_0000", _points(5))  # type: ignore[arg-type]
    with pytest.raises(ls.ConfigError, match="points must be a dense tensor.*to_dense"):
        space.sdf(space.codes[0], torch.zeros(4, 3).to_sparse())
    with pytest.raises(ls.ConfigError, match="points must have values, got a tensor on the device 'meta'"):
        space.sdf(space.codes[0], torch.zeros(4, 3, device="meta"))
    with pytest.raises(ls.ConfigError, match="points must be a torch tensor .* got ndarray"):
        space.sdf(_codes(2), _points(5).numpy())  # type: ignore[arg-type]


@pytest.mark.slow
def test_agreement_with_distance(trained_space: ShapeSpace) -> None:
    """`sdf` and `distance` of a training shape differ only near the edge of the band, for few points."""
    points = _points(5000, scale=1.2)
    rows = torch.from_numpy(
        np.stack([trained_space.distance(name, points.numpy(), frame="model") for name in trained_space.ids])
    )
    found = trained_space.sdf(trained_space.codes, points)
    assert (found - rows).abs().gt(1e-5).float().mean() < 0.02


@pytest.mark.slow
def test_eikonal_fit_of_a_code(trained_space: ShapeSpace) -> None:
    """Surface and eikonal terms through `sdf` and through `fused` both lead a code to the shape."""
    surface = torch.as_tensor(trained_space.extract(trained_space.code("table_0001"), 64).sample(200)).float()
    anywhere = _points(200)

    def loss(field: Callable[[Tensor], Tensor]) -> Tensor:
        points = torch.cat((surface, anywhere, 1.5 * anywhere[:50])).requires_grad_()
        distance = field(points)
        (slope,) = torch.autograd.grad(distance.sum(), points, create_graph=True)
        return distance[: len(surface)].abs().mean() + 0.01 * (slope.norm(dim=1) - 1).square().mean()

    start = trained_space.codes.mean(0)
    for steps, of_code in (
        (40, lambda z: lambda points: trained_space.sdf(z, points)),
        (5, trained_space.fused),
    ):
        code = start.clone().requires_grad_()
        optimizer = torch.optim.Adam([code], lr=0.04)
        history = []
        for _ in range(steps):
            value = loss(of_code(code))
            optimizer.zero_grad()
            value.backward()
            assert code.grad is not None and code.grad.isfinite().all()
            optimizer.step()
            history.append(value.item())
        assert history[-1] < (0.5 if steps == 40 else 0.95) * history[0]
