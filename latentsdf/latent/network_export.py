"""Export of a space, or of one shape of it, as a network file for other programs: ONNX (.onnx) or torch.export (.pt2).

| input | shape | |
|---|---|---|
| `code` | (L,) | only if no shape is built in |
| `points` | (N, 3), any N | in model space, the box [-1, 1]^3 |

The outputs `sdf`, `general` and `overfit`, each (N,), are s, s_g and s_o of `latent.batched_sdf`, continued outside the
box. All values are float32. The file records the number L of values of a code and, for a shape, the similarity from its
frame to model space, as JSON: in an ONNX file under the key `latentsdf` of the metadata, in a .pt2 file in the extra
file `latentsdf.json`.
"""

import copy
import io
import json
import logging
import warnings
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from latentsdf.geometry.similarity import Similarity
from latentsdf.latent.batched_sdf import fuse
from latentsdf.latent.decoded_shape import DecodedShape
from latentsdf.models.derivatives import norm
from latentsdf.models.latent_sdf import BranchDistances, LatentSDF
from latentsdf.utils.atomic_files import atomic_write, full_disk_named
from latentsdf.utils.errors import MissingExtraError

SUFFIXES = (".onnx", ".pt2")
"""Suffixes of network files."""

_OUTPUTS = ("sdf", "general", "overfit")
_INFORMATION = "latentsdf"
_EXAMPLE_POINTS = 7  # traced with a number that no dimension of a model has by chance
_MAX_PROTOBUF = 2_000_000_000  # bytes; the size of an ONNX file without separate weights is limited to 2 GB


def save_network(
    model: LatentSDF,
    path: Path,
    shape: DecodedShape | None,
    similarity: Similarity | None,
    *,
    half_width: float,
) -> None:
    """Write a model as a network file; see the module docstring.

    Args:
        model: Networks and feature grid. They are copied to the CPU, as float32.
        path: File with one of `SUFFIXES`. An ONNX model of more than 2 GB gets a second file, `<name>.data`.
        shape: The shape to build in, including its codes by layer and its refined detail; None for the code as input.
        similarity: Similarity of the shape from its frame to model space.
        half_width: Half width of the fusion band, in model space.

    Raises:
        MissingExtraError: The file is an ONNX file and the extra `export` is not installed.
    """
    if path.suffix.lower() == ".onnx":
        _require_onnx()
    network = _Network(model, shape, half_width).eval()
    information: dict[str, Any] = {"code_length": model.config.code_size}
    if similarity is not None:
        frame = {"center": list(similarity.center), "scale": similarity.scale, "yaw": similarity.yaw}
        information["similarity_to_model_space"] = frame
    points = torch.linspace(-0.9, 0.9, 3 * _EXAMPLE_POINTS).reshape(-1, 3)
    inputs = (
        {"points": points} if shape is not None else {"code": torch.zeros(model.config.code_size), "points": points}
    )
    rows = {"points": {0: torch.export.Dim("points_count")}, "code": None}
    program = torch.export.export(
        network, (), inputs, dynamic_shapes={name: rows[name] for name in inputs}, strict=False
    )
    if path.suffix.lower() == ".pt2":
        buffer = io.BytesIO()  # torch's writer ends the process if it fails
        torch.export.save(program, buffer, extra_files={f"{_INFORMATION}.json": json.dumps(information)})
        with atomic_write(path) as temporary:
            temporary.write_bytes(buffer.getbuffer())
        return
    _save_onnx(program, list(inputs), information, path)


class _Network(nn.Module):
    """All three distances of one code and any number of points."""

    def __init__(self, model: LatentSDF, shape: DecodedShape | None, half_width: float) -> None:
        super().__init__()
        self.model = copy.deepcopy(model).cpu().float().requires_grad_(False)
        self.half_width = half_width
        self.shape = None if shape is None else shape.on(self.model)

    def forward(self, points: Tensor, code: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
        inside = points.clamp(-1, 1)
        if self.shape is not None:
            both = self.shape.branches(inside)
        else:
            assert code is not None
            general, overfit = self.model(inside[None], code[None])
            both = BranchDistances(general[0], overfit[0])
        apart = norm(points - inside)
        return fuse(both, self.half_width) + apart, both.general + apart, both.overfit + apart


def _require_onnx() -> None:
    try:
        import onnx  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise MissingExtraError("ONNX files need the extra `export`: pip install 'latentsdf[export]'") from error


def _save_onnx(program: Any, inputs: list[str], information: dict[str, Any], path: Path) -> None:
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # it reports that torchvision is not installed
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the converter about its own parts
        onnx_program = torch.onnx.export(
            program, input_names=inputs, output_names=list(_OUTPUTS), dynamo=True, verbose=False
        )
    assert onnx_program is not None
    onnx_program.model.metadata_props[_INFORMATION] = json.dumps(information)
    size = sum(value.nbytes for value in program.state_dict.values())
    if size > _MAX_PROTOBUF:
        with full_disk_named(path):
            onnx_program.save(path, external_data=True)
        return
    with atomic_write(path) as temporary:
        temporary.write_bytes(onnx_program.model_proto.SerializeToString())
