"""Network files: distances agree with those of the space, and the frame of the shape is recorded."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import latentsdf as ls
from latentsdf.geometry.similarity import Similarity
from latentsdf.latent.inversion.delta import Delta, fingerprint
from latentsdf.space import ShapeSpace


def _run(path: Path, inputs: dict[str, torch.Tensor]) -> tuple[list[torch.Tensor], dict[str, object]]:
    """Outputs `sdf`, `general` and `overfit` of a network file, and the information that it records."""
    if path.suffix == ".onnx":
        import onnxruntime

        session = onnxruntime.InferenceSession(path)
        assert [output.name for output in session.get_outputs()] == ["sdf", "general", "overfit"]
        found = session.run(None, {name: value.numpy() for name, value in inputs.items()})
        return [torch.from_numpy(x) for x in found], json.loads(
            session.get_modelmeta().custom_metadata_map["latentsdf"]
        )
    extra = {"latentsdf.json": ""}
    program = torch.export.load(path, extra_files=extra)
    return list(program.module()(**inputs)), json.loads(extra["latentsdf.json"])


@pytest.mark.slow
@pytest.mark.usefixtures("without_shape_checks")
@pytest.mark.parametrize("suffix", [".onnx", ".pt2"])
def test_agreement_with_the_space(space: ShapeSpace, tmp_path: Path, suffix: str) -> None:
    """With the code as input and with a shape built in, all outputs equal `sdf`, for any number of points."""
    path = tmp_path / "files" / f"space{suffix}"
    space.export(path)
    for count, code in ((1, space.codes[0]), (500, space.codes[1])):
        points = 1.2 * (2 * torch.rand(count, 3, generator=torch.Generator().manual_seed(count)) - 1)
        found, information = _run(path, {"code": code, "points": points})
        for value, branch in zip(found, ("fused", "general", "overfit"), strict=True):
            torch.testing.assert_close(value, space.sdf(code, points, branch), atol=2e-6, rtol=1e-5)
        assert information == {"code_length": 8}
    space.export(path, "table_0001")
    again, information = _run(path, {"points": points})
    torch.testing.assert_close(again, found, atol=2e-6, rtol=1e-5)
    way = space.similarity("table_0001")
    assert information["similarity_to_model_space"] == {"center": list(way.center), "scale": way.scale, "yaw": 0.0}


@pytest.mark.slow
@pytest.mark.usefixtures("without_shape_checks")
def test_refined_fit(space: ShapeSpace, tmp_path: Path) -> None:
    """A fit keeps its codes by layer and its refined detail."""
    layers = space.codes[0] + 0.1 * torch.randn(len(space.model.conditioned_layers()), 8)
    rows = np.arange(0, 33**3, 7)
    delta = Delta(
        fingerprint(space.model, layers),
        rows,
        np.random.default_rng(0).normal(size=(len(rows), 8)).astype(np.float16),
        16,
        np.arange(0, 17**3, 3),
        np.full(len(range(0, 17**3, 3)), 0.05, dtype=np.float16),
    )
    code = space.codes[0].numpy()
    fit = ls.Inversion(
        code, np.zeros(1), 0.0, Similarity((0.0, 0.0, 1.0), 2.0, 0.3), layers=layers.numpy(), delta=delta
    )
    space.export(tmp_path / "fit.pt2", fit)
    points = 2 * torch.rand(300, 3, generator=torch.Generator().manual_seed(0)) - 1
    (_, general, overfit), information = _run(tmp_path / "fit.pt2", {"points": points})
    torch.testing.assert_close(general, space.field(fit, "general", frame="model")(points))
    torch.testing.assert_close(overfit, space.field(fit, "overfit", frame="model")(points))
    assert not torch.allclose(general, space.field(code, "general", frame="model")(points), atol=1e-3)
    assert information["similarity_to_model_space"] == {"center": [0.0, 0.0, 1.0], "scale": 2.0, "yaw": 0.3}


def test_files_of_one_shape(space: ShapeSpace, tmp_path: Path) -> None:
    """Volumes and meshes need a shape, and an unknown suffix names those that can be written."""
    for name in ("a.npz", "a.ply", "a.usda"):
        with pytest.raises(ls.ConfigError, match="holds one shape; pass its id, code or fit"):
            space.export(tmp_path / name)
    with pytest.raises(ls.ConfigError, match="cannot write '.txt'"):
        space.export(tmp_path / "a.txt", "table_0000")
    assert not list(tmp_path.iterdir())


def test_missing_extra(space: ShapeSpace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without onnxscript the error names the extra that installs it."""
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(ls.MissingExtraError, match=r"pip install 'latentsdf\[export\]'"):
        space.export(tmp_path / "a.onnx")


@pytest.mark.slow
def test_volume_of_a_shape(space: ShapeSpace, tmp_path: Path) -> None:
    """The volume holds the fused distance in the shape's frame and its unit."""
    space.export(tmp_path / "a.npz", "table_0001", resolution=16)
    with np.load(tmp_path / "a.npz") as file:
        index = np.array([[0, 0, 0], [3, 8, 9], [16, 16, 16], [8, 8, 8]])
        way = space.similarity("table_0001")
        model_points = way.to_model(file["origin"] + file["spacing"] * index)
        np.testing.assert_allclose(model_points, -1 + index / 8, atol=1e-6)
        expected = space.distance("table_0001", model_points, frame="model") / way.scale
        np.testing.assert_allclose(file["distance"][tuple(index.T)], expected, atol=1e-5)
