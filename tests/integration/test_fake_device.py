"""Training, reconstruction, refinement, inversion and field evaluations on a fake CUDA device.

A tensor that stays on the CPU, or a result that is not copied back, raises here as on a GPU; see `helpers.fake_gpu`.
The tests also count how often the host waits for the device. Not covered are values, bfloat16, and work that torch does
not do: reading samples, the search of extraction for the surface, marching cubes, and shading.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.fake_gpu import GPU, FakeGpu, fake_gpu
from helpers.settings import LEARNED, REFINEMENT, TINY_MODEL, short_preset
from torch import Tensor

from latentsdf.config import loader
from latentsdf.config.model import BranchConfig, Conditioning, LocalCodeConfig, ModelConfig
from latentsdf.config.reconstruction import LATTICE_METHODS, ReconstructMethod
from latentsdf.config.training import Config
from latentsdf.data.sample_pool import ShapeSamplePool
from latentsdf.data.store import SampleStore
from latentsdf.extraction.field import FieldSampler
from latentsdf.extraction.fusion_band import FusionBand
from latentsdf.extraction.normals import gradient_normals
from latentsdf.geometry.pointcloud.point_cloud import PointCloud
from latentsdf.geometry.similarity import IDENTITY
from latentsdf.latent.batched_sdf import signed_distance
from latentsdf.latent.decoded_shape import DecodedShape
from latentsdf.latent.inversion.gauss_newton import PLACEMENT_SIZE, Samples, Solver
from latentsdf.latent.inversion.refine import Detail, refine
from latentsdf.latent.prior import CodePrior
from latentsdf.models.latent_sdf import LatentSDF
from latentsdf.reconstruction.fit import FieldTrainer
from latentsdf.reconstruction.heat_sdf import HeatMedialTrainer, HeatSDFTrainer
from latentsdf.reconstruction.medial_axis import MedialAxisTrainer
from latentsdf.reconstruction.presets import METHOD_NAMES
from latentsdf.rendering import render
from latentsdf.rendering.camera import Camera
from latentsdf.training.trainer import Trainer


@pytest.fixture
def gpu() -> Iterator[FakeGpu]:
    """The fake device, as a context of the test."""
    with fake_gpu() as device:
        yield device


def tiny_preset(name: str) -> Config:
    """Return a preset with small networks and batches; all terms, optimizers and samples are kept."""
    config = loader.load(Config, loader.find_preset(name))
    model, train = config.model, config.train
    branches = {
        part: replace(branch, width=32 if branch.width else 0)
        for part, branch in (("warp", model.warp), ("general", model.general), ("overfit", model.overfit))
    }
    grid = replace(model.grid, resolution=4, channels=2)
    model = replace(model, **branches, grid=grid, code_dim=min(model.code_dim, 4))  # type: ignore[arg-type]
    loss = replace(config.loss, regularizer_points=min(config.loss.regularizer_points, 8))
    train = replace(train, shapes_per_batch=min(train.shapes_per_batch, 4), points_per_shape=16)
    return replace(config, model=model, loss=loss, train=train)


def counted_step(gpu: FakeGpu, trainer: Trainer | FieldTrainer) -> Counter[str]:
    """Take two steps and return how often the host waited for the device in the second one."""
    trainer.train_step()
    gpu.reset()
    trainer.train_step()
    return gpu.waits


def test_mixed_devices(gpu: FakeGpu) -> None:
    """Operations on tensors of two devices raise, and waits and copies are counted."""
    on_gpu = torch.zeros(3, device=GPU)
    with pytest.raises(RuntimeError, match="same device"):
        on_gpu + torch.zeros(3)
    with pytest.raises(RuntimeError, match="same device"):
        torch.zeros(3)[on_gpu.long()]
    with pytest.raises(TypeError, match="numpy"):
        on_gpu.numpy()
    gpu.reset()
    moved = torch.zeros(3).to(GPU)
    assert moved.device == GPU and moved.cpu().device.type == "cpu"
    assert float(moved.sum()) == 1.0 and moved.tolist() == [1.0] * 3 and len(moved[moved > 0].unique()) == 3
    assert gpu.waits == {"to the host": 1, "item": 1, "tolist": 1, "nonzero": 1, "unique": 1}
    assert gpu.uploads == 1


@pytest.mark.slow
@pytest.mark.parametrize(
    ("preset", "resident"), [*((name, False) for name in loader.preset_names()), ("latentsdf", True), ("igr", True)]
)
def test_training_step(store_path: Path, preset: str, resident: bool, gpu: FakeGpu) -> None:
    """The host waits for the device once per step, to read the losses, and once for the distinct grid rows.

    With samples on the device, the host draws the indices of each shape and copies them.
    """
    config, store = tiny_preset(preset), SampleStore.open(store_path)
    pool = ShapeSamplePool(store, store.keys(), config.train, config.loss, device=GPU if resident else None)
    with Trainer(pool, config, GPU) as trainer:
        waits = counted_step(gpu, trainer)
    assert waits == {"tolist": 1} | ({"unique": 1} if trainer.model.grid is not None else {})
    uploads, batch = gpu.uploads, pool.batch(0)
    copied = sum(tensor.device.type == "cpu" for tensor in vars(batch).values())
    drawn = len(batch.shape_index) * (1 if config.train.samples == "points" else 2) + 1
    assert uploads <= copied + (drawn if resident else 0)


@pytest.mark.slow
@pytest.mark.parametrize("changes", [{"agreement": 0.1}, {"lipschitz": 0.1, "directional_divergence": 0.1}])
def test_training_step_with_optional_terms(store_path: Path, changes: dict[str, float], gpu: FakeGpu) -> None:
    """Terms that no preset uses, with local codes and a batch in parts."""
    config, store = tiny_preset("eikonal_heat_cpu"), SampleStore.open(store_path)
    config = replace(
        config,
        loss=replace(config.loss, local=1e-3, code=1e-3, code_prior="squared", regularizer_points=4, **changes),  # type: ignore[arg-type]
        model=replace(config.model, local=LocalCodeConfig(2, 3)),
        train=replace(config.train, batch_split=2),
    )
    pool = ShapeSamplePool(store, store.keys(), config.train, config.loss)
    with Trainer(pool, config, GPU) as trainer:
        waits = counted_step(gpu, trainer)
    assert waits == {"tolist": 1, "unique": 3}  # of the grid rows of two parts, and of both


@pytest.mark.slow
@pytest.mark.parametrize(
    ("method", "progress"),
    [
        *((name, 0.0) for name in METHOD_NAMES if name not in LATTICE_METHODS),
        ("medial_axis", 0.5),
        ("medial_axis", 0.95),
        ("heat_sdf", 0.5),
        ("heat_medial", 0.6),
    ],
)
def test_reconstruction_step(method: ReconstructMethod, progress: float, gpu: FakeGpu) -> None:
    """The host waits for the device once per step, and once for the rows of a pyramid that have gradients."""
    normals = np.random.default_rng(0).normal(size=(100, 3))
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    config = short_preset(method, 3)
    config = replace(config, train=replace(config.train, surface_points=16, offsurface_points=32))
    trainers = {"medial_axis": MedialAxisTrainer, "heat_sdf": HeatSDFTrainer, "heat_medial": HeatMedialTrainer}
    trainer = trainers.get(method, FieldTrainer)(PointCloud(0.7 * normals, normals, IDENTITY), config, GPU)
    trainer.step = round(progress * config.train.steps)
    if isinstance(trainer, MedialAxisTrainer | HeatMedialTrainer):
        trainer.phase_training.next_refinement = progress  # only the first step reads the field to refine cells
    waits = counted_step(gpu, trainer)
    allowed = {"tolist": 1} | ({"nonzero": 1} if trainer.optimizer.grid is not None else {})
    if method == "sal":
        allowed |= {"to the host": 1}  # the search tree of the nearest points is there
    assert waits == allowed


def random_detail() -> Detail:
    """Return distances of random sign at random points and on a coarse lattice."""
    rng = np.random.default_rng(0)
    points = rng.uniform(-1, 1, (200, 3)).astype(np.float32)
    distance, lattice = (rng.normal(0, 0.05, shape).astype(np.float32) for shape in (200, (9, 9, 9)))
    return Detail(points, distance, lattice)


def model_and_code(config: ModelConfig = TINY_MODEL) -> tuple[LatentSDF, Tensor]:
    """Return a model on the fake device and a code for it."""
    return LatentSDF(config).requires_grad_(False).to(GPU), torch.zeros(config.code_size, device=GPU)


@pytest.mark.slow
@pytest.mark.parametrize("residual", [False, True])
@pytest.mark.parametrize("budget_kb", [0.0, 64.0])
def test_refinement(budget_kb: float, residual: bool, gpu: FakeGpu) -> None:
    """Detail is learned or compressed, and decoded on the device; a learning step waits twice, for rows and error."""
    model, code = model_and_code(replace(TINY_MODEL, residual=residual))
    config = LEARNED if budget_kb == 0 else REFINEMENT
    waits: list[int] = []
    for steps in (1, 2):
        gpu.reset()
        delta = refine(model, code, random_detail(), replace(config, steps=steps, points=16))
        waits.append(gpu.waits.total())
    assert waits[1] - waits[0] == (2 if budget_kb == 0 else 0)
    shape = DecodedShape(model, code, delta, band_voxels=3.0)
    gpu.reset()
    for branch in ("general", "overfit"):
        assert shape.field(branch)(torch.zeros(5, 3, device=GPU)).device == GPU  # type: ignore[arg-type]
    assert set(gpu.waits) == {"item"}  # points are checked to be finite


def decoded_shape(config: ModelConfig = TINY_MODEL) -> DecodedShape:
    """Return a shape whose fusion band is one block of cells, because extraction cannot search for it."""
    model, code = model_and_code(config)
    shape = DecodedShape(model, code, band_voxels=3.0)
    table = torch.zeros(5, 5, 5, dtype=torch.long, device=GPU)
    cells = torch.ones(1, 512, dtype=torch.bool, device=GPU)
    band = FusionBand(32, table, cells, torch.ones(10, 10, 10, device=GPU))
    shape._band = code.clone(), [weight._version for weight in model.parameters()], band
    return shape


@pytest.mark.slow
def test_fields(gpu: FakeGpu) -> None:
    """Branches, fused distances, gradients, and normals of a shape stay on the device."""
    shape, points = decoded_shape(), torch.zeros(7, 3, device=GPU)
    for field in (shape.field("general"), shape.field("overfit"), shape.fused(), shape.gradient_norm()):
        assert field(points).device == GPU
    assert gradient_normals(shape.fused(), points).device == GPU
    assert shape.band.tracing_field(shape.fused())(points).device == GPU
    assert gpu.waits["to the host"] == gpu.waits["numpy"] == 0


@pytest.mark.slow
@pytest.mark.parametrize("count", [1, 3])
def test_batched_fields(count: int, gpu: FakeGpu) -> None:
    """`ShapeSpace.sdf` never waits for the device and copies nothing to it."""
    model, code = model_and_code(replace(TINY_MODEL, local=LocalCodeConfig(2, 3)))
    points = torch.zeros(count, 7, 3, device=GPU)
    gpu.reset()
    for branch in ("general", "overfit", "fused"):
        found = signed_distance(model, code.expand(count, -1), points, branch, half_width=0.01)  # type: ignore[arg-type]
        assert found.device == GPU
    assert not gpu.waits and gpu.uploads == 0


@pytest.mark.slow
def test_extraction_of_lattice_values(gpu: FakeGpu) -> None:
    """Vertices are decoded on the device in chunks, and their values return to the host."""
    sampler = FieldSampler("general", decoded_shape().field("general"), 0.0, 16, GPU)
    values = sampler(np.zeros((40, 3), dtype=np.int32), 8)
    assert values.shape == (40,)
    # Three chunks: finite points and values, smallest and largest value, and the values themselves.
    assert gpu.waits == {"item": 3 * 4, "to the host": 3}


@pytest.mark.slow
@pytest.mark.usefixtures("gpu")
def test_rendering(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rays are traced on the device; an image is made on the host."""
    monkeypatch.setattr(render, "_MAX_STEPS", 2)
    shape = decoded_shape()
    image = render.render_field(shape.band.tracing_field(shape.fused()), size=4, device=GPU)
    assert image.size == (4, 4)
    cost = render.tracing_cost(shape.field("general"), size=4, device=GPU)
    assert cost.image.size == (4, 4)
    origins, directions = render._torch_rays(Camera.orbit(0.0, 0.0, np.zeros(3), 1.0), 4, GPU)
    assert all(values.device == GPU for values in render._sphere_trace(shape.fused(), origins, directions))


@pytest.mark.slow
@pytest.mark.parametrize(("conditioning", "by_layer"), [("concat", False), ("film", True), ("hyper", False)])
def test_inversion(conditioning: Conditioning, by_layer: bool, gpu: FakeGpu) -> None:
    """Gauss-Newton steps of two fits stay on the device; with codes by layer, or with local parts of the codes."""
    branch = BranchConfig(width=16, depth=2, conditioning=conditioning, frequencies=1)
    local = LocalCodeConfig() if by_layer else LocalCodeConfig(2, 3)
    config = replace(TINY_MODEL, general=branch, overfit=branch, local=local)
    model, code = model_and_code(config)
    channels = 0 if by_layer else 3
    prior = CodePrior.fit(torch.zeros(6, config.code_size, device=GPU), config.code_dim, channels)
    layers = len(model.conditioned_layers()) if by_layer else 1
    solver = Solver(model, prior, 0.01, torch.ones(PLACEMENT_SIZE, device=GPU), layers=layers)
    points, bound = torch.zeros(2, 9, 3, device=GPU), torch.zeros(2, 9, device=GPU)
    samples = Samples.truncated(points, bound, bound, bound < 0.1)
    start = solver.initialize(code.expand(2, -1), torch.zeros(2, PLACEMENT_SIZE, device=GPU), samples)
    fits, history = solver.minimize(start, samples, steps=2, tolerance=0.0, on_step=lambda: None)
    assert fits.coordinates.device == fits.placements.device == history[-1].device == GPU
    assert gpu.waits["to the host"] == gpu.waits["numpy"] == 0
