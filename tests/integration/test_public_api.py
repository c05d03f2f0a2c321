"""Public functions with wrong values: the right result, or an error in the user's terms; never an inner error.

Calls are generated from the signatures of all public functions of `latentsdf`: a valid call, in which one or more
arguments are replaced by values of `WRONG`. A call must return, or raise `LatentSDFError`, or `OSError` for files; any
other exception, including a warning of an inner library, is a fault, as is a call that takes too long.

`LATENTSDF_TORTURE=1000` sets the number of random calls of the slow test (`make torture`).
"""

import collections
import inspect
import os
import random
import shutil
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import suppress
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jaxtyping
import numpy as np
import psutil
import pytest
import torch
import trimesh
from helpers.points import circle_points, oriented_sphere_points
from helpers.settings import SMALL_SAMPLING, small_config

import latentsdf as ls
from latentsdf.config.reconstruction import FieldTrainConfig

RANDOM_CALLS = int(os.environ.get("LATENTSDF_TORTURE", "100"))
_MAX_SECONDS = 30.0  # of processor time
_MAX_GROWTH = 200e6  # bytes

POINTS, NORMALS = oriented_sphere_points(0.8, 300)
BOX = trimesh.creation.box((1.0, 0.8, 0.6)).subdivide()

NOT_CALLED = {
    "ShapeSpace.show": "opens a window",
    "ShapeSpace.push_to_hub": "needs a network; its own tests have a stand-in",
    "Reconstruction.phase": "needs a medial axis, which takes long to fit; its points are those of `distance`",
    "SampleStore.copy_from": "takes a second store; tests/preprocessing/test_shards.py merges right and wrong ones",
    "SampleStore.verify": "reads whole shapes, with the key as only argument, which `read` checks in the same way",
}
"""Public functions without generated calls, and why."""

LONG = {"sample", "reconstruct", "ShapeSpace.refine"}
"""Functions whose default configuration, which `config=None` selects, takes minutes."""

WRONG: dict[str, Callable[[], Any]] = {
    "none": lambda: None,
    "text": lambda: "chair",
    "empty text": lambda: "",
    "null character": lambda: "a\0b",
    "long text": lambda: "a" * 5000,
    "bytes": lambda: b"chair",
    "true": lambda: True,
    "one": lambda: 1,
    "zero": lambda: 0,
    "minus one": lambda: -1,
    "huge": lambda: 10**30,
    "fraction": lambda: 0.5,
    "nan": lambda: float("nan"),
    "infinity": lambda: float("inf"),
    "complex": lambda: 1j,
    "decimal": lambda: Decimal("0.5"),
    "numpy number": lambda: np.int64(3),
    "empty list": lambda: [],
    "numbers": lambda: [1, 2, 3],
    "ragged": lambda: [[1.0, 2.0], [3.0]],
    "texts": lambda: ["a", "b"],
    "nested": lambda: [[[[None]]]],
    "dictionary": lambda: {"steps": 3},
    "empty dictionary": lambda: {},
    "set": lambda: {1, 2},
    "generator": lambda: (i for i in range(3)),
    "object": object,
    "namespace": lambda: SimpleNamespace(code=3, vertices=None, faces=3, points="x"),
    "function": lambda: _sphere,
    "folder": lambda: Path("space"),
    "missing file": lambda: Path("nowhere.ply"),
    "array of nothing": lambda: np.empty((0, 3)),
    "scalar array": lambda: np.array(3.0),
    "row": lambda: np.zeros(8),
    "rows of codes": lambda: np.zeros((3, 8)),
    "one code": lambda: np.zeros((1, 8)),
    "five columns": lambda: np.random.default_rng(0).normal(size=(200, 5)),
    "three axes": lambda: np.zeros((2, 3, 4)),
    "float32 points": lambda: POINTS.astype(np.float32),
    "float16 points": lambda: POINTS.astype(np.float16),
    "points on a line": lambda: np.arange(600.0).reshape(200, 3),
    "equal points": lambda: np.ones((200, 3)),
    "planar points": lambda: POINTS[:, :2],
    "nan points": lambda: np.full((200, 3), np.nan),
    "one nan": lambda: np.where(np.arange(900).reshape(300, 3) == 5, np.nan, POINTS),
    "infinite points": lambda: np.full((200, 3), np.inf),
    "huge points": lambda: POINTS * 1e300,
    "tiny points": lambda: POINTS * 1e-300,
    "far points": lambda: POINTS + 1e12,
    "whole numbers": lambda: np.arange(12).reshape(4, 3),
    "flags": lambda: np.ones((200, 3), dtype=bool),
    "words": lambda: np.full((200, 3), "a"),
    "objects": lambda: np.full((200, 3), None),
    "dates": lambda: np.zeros((200, 3), "datetime64[s]"),
    "complex points": lambda: POINTS.astype(complex),
    "masked points": lambda: np.ma.MaskedArray(POINTS, mask=POINTS > 0.5),
    "structured": lambda: np.zeros(200, dtype=[("x", float), ("y", float)]),
    "tensor": lambda: torch.tensor(POINTS),
    "tensor on a graph": lambda: torch.tensor(POINTS, requires_grad=True) * 2,
    "bfloat16": lambda: torch.tensor(POINTS).bfloat16(),
    "nan tensor": lambda: torch.full((200, 3), float("nan")),
    "sparse tensor": lambda: torch.zeros(200, 3).to_sparse(),
    "meta tensor": lambda: torch.zeros(200, 3, device="meta"),
    "mesh": lambda: BOX.copy(),
    "mesh without faces": lambda: trimesh.Trimesh(np.asarray(BOX.vertices)),
    "mesh with wrong faces": lambda: trimesh.Trimesh(BOX.vertices, np.asarray(BOX.faces) + 50, process=False),
    "flat mesh": lambda: trimesh.Trimesh(np.asarray(BOX.vertices) * 0, BOX.faces, process=False),
    "nan mesh": lambda: trimesh.Trimesh(np.asarray(BOX.vertices) * np.nan, BOX.faces, process=False),
    "huge mesh": lambda: trimesh.Trimesh(np.asarray(BOX.vertices) * 1e200, BOX.faces, process=False),
    "empty scene": trimesh.Scene,
    "empty cloud": lambda: trimesh.PointCloud(np.empty((0, 3))),
    "pair": lambda: (POINTS, POINTS[:5]),
    "config": ls.InvertConfig,
    "other config": lambda: SMALL_SAMPLING,
}


@pytest.fixture(scope="module")
def calls(
    space_path: Path, record: ls.ShapeRecord, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, tuple[Callable[..., Any], dict[str, Any]]]]:
    """A valid call of every public function: the function and its arguments by name."""
    folder = tmp_path_factory.mktemp("api")
    shutil.copytree(space_path, folder / "space")
    space = ls.load(folder / "space", "cpu")
    quick = {"config": ls.InvertConfig(steps=1, starts=1, points=64, by_layer=False)}
    observation = space.observe(BOX)
    fit = space.invert(observation, **quick)
    fit.save(folder / "fit")
    # The small presets of the plane take seconds, most of them to compile, so a network of other kind is used.
    network: Any = {"kind": "softplus", "width": 8, "depth": 2}
    field_config = ls.ReconstructConfig(train=FieldTrainConfig(steps=1), model=network)
    plane = ls.reconstruct(circle_points(200), config=field_config, device="cpu")
    solid = ls.reconstruct(POINTS, config=field_config, device="cpu")
    solid.save(folder / "field")
    store = ls.SampleStore.create(folder / "store.zarr", SMALL_SAMPLING)
    store.write(record)
    owners = {
        "ShapeSpace": space, "Inversion": fit, "Reconstruction": solid, "SampleStore": store,
        "Evaluation": ls.Evaluation("sphere", "fused", 16, 10, "samples", 0, 0, {}, {}, {}),
        "ProtocolEvaluation": ls.ProtocolEvaluation("srb", ("frame: own",), 10, 16, 0, {}, {}, {}),
    }  # fmt: skip
    common = {
        "shape": "table_0000", "shapes": ("table_0000", "table_0001"), "terms": ((1.0, "table_0001"),),
        "points": POINTS[:8], "target": observation, "targets": [observation], "mesh": BOX, "fit": fit,
        "resolution": 16, "steps": 3, "count": 2, "number": 0, "k": 2, "device": "cpu", "key": record.key,
        "rng": np.random.default_rng(0), "share": 0.5, "record": record, "frame": "shape", "size": 8,
    }  # fmt: skip
    special: dict[str, dict[str, Any]] = {
        "load": {"folder": folder / "space"},
        "load_fit": {"folder": folder / "fit"},
        "load_field": {"folder": folder / "field"},
        "sample": {"config": SMALL_SAMPLING},
        "union": {"shapes": (_sphere, BOX)},
        "intersection": {"shapes": (_sphere, BOX)},
        "difference": {"shape": _sphere, "others": (BOX,)},
        "offset": {"shape": _sphere, "distance": 0.1},
        "blend": {"first": _sphere, "second": BOX, "width": 0.1},
        "extract": {"general": _sphere},
        "render": {"shape": _sphere},
        "metrics": {"result": BOX, "reference": BOX, "points": 50},
        "evaluate": {"space": space, "references": {"table_0000": BOX}, "points": 50, "field_points": 10},
        "evaluate_protocol": {
            "result": space,
            "references": {"table_0000": BOX},
            "protocol": "deepsdf",
            "samples": 50,
            "rays": 2,
        },
        "reconstruct": {"points": circle_points(200), "config": field_config},
        "ShapeSpace.invert": quick,
        "ShapeSpace.invert_many": quick,
        "ShapeSpace.observe": quick,
        "ShapeSpace.require_refinable": {"target": BOX, **quick, "refinement": ls.RefineConfig()},
        "ShapeSpace.refine": {"config": ls.RefineConfig(resolution=32)},
        "preprocess": {"shapes": {"a": BOX}, "out": folder / "made.zarr", "config": SMALL_SAMPLING, "overwrite": True},
        "train": {"data": store, "config": small_config(steps=1), "out": folder / "trained", "overwrite": True},
        "SampleStore.add": {"name": "lamp/new", "shape": BOX, "overwrite": True},
        "ShapeSpace.sdf": {"codes": space.codes[:2], "points": torch.zeros(1, 4, 3)},
        "ShapeSpace.forward": {"codes": space.codes[:2], "points": torch.zeros(1, 4, 3)},
        "ShapeSpace.evaluate": {"references": {"table_0000": BOX}},
        "ShapeSpace.export": {"file": folder / "box.npz"},
        "ShapeSpace.save": {"folder": folder / "copy"},
        "ShapeSpace.save_packed": {"folder": folder / "packed", "overwrite": True, "keep": 2, "picture": False},
        "ShapeSpace.update_index": {},
        "Inversion.save": {"folder": folder / "saved fit", "target": "box.ply"},
        "Reconstruction.save": {"folder": folder / "saved field"},
        "Reconstruction.contours": {"resolution": 16},
        "Reconstruction.model_space_distance": {"points": torch.zeros(2, 3)},
        "SampleStore.create": {"path": folder / "store.zarr", "config": SMALL_SAMPLING},
        "SampleStore.open": {"path": folder / "store.zarr"},
        "Evaluation.save": {"folder": folder / "metrics"},
        "ProtocolEvaluation.save": {"folder": folder / "metrics"},
    }
    found: dict[str, tuple[Callable[..., Any], dict[str, Any]]] = {}
    for name, function in _public_functions(owners):
        if name.startswith("Reconstruction.contours"):
            function = plane.contours
        known = common | special.get(name, {})
        parameters = inspect.signature(function).parameters.values()
        given = {p.name: known[p.name] for p in parameters if p.name in known}
        required = [p.name for p in parameters if p.default is p.empty and p.kind is not p.VAR_KEYWORD]
        missing = [parameter for parameter in required if parameter not in known]
        if name not in NOT_CALLED:
            assert not missing, f"{name} is public: add valid values of {missing} to this test, or to NOT_CALLED"
            found[name] = function, given
    jaxtyping.config.update("jaxtyping_disable", True)
    start = os.getcwd()
    os.chdir(folder)  # relative outputs stay in the temporary folder
    yield found
    os.chdir(start)
    jaxtyping.config.update("jaxtyping_disable", False)


def _sphere(points: torch.Tensor) -> torch.Tensor:
    return points.norm(dim=1) - 0.5


def _public_functions(owners: dict[str, object]) -> Iterator[tuple[str, Callable[..., Any]]]:
    for name in sorted(ls.__all__):
        member = getattr(ls, name)
        if inspect.isfunction(member):
            yield name, member
        elif name in owners:
            for method, value in sorted(vars(member).items()):
                if not method.startswith("_") and (inspect.isfunction(value) or isinstance(value, classmethod)):
                    yield f"{name}.{method}", getattr(owners[name], method)


def _call(function: Callable[..., Any], arguments: dict[str, Any]) -> Any:
    """Call a function with arguments by name; those of a `*parameter` are a tuple."""
    positional: list[Any] = []
    arguments = dict(arguments)
    names = [p.name for p in inspect.signature(function).parameters.values() if p.kind is not p.VAR_KEYWORD]
    kinds = [p.kind for p in inspect.signature(function).parameters.values()]
    if inspect.Parameter.VAR_POSITIONAL in kinds:
        before = kinds.index(inspect.Parameter.VAR_POSITIONAL)
        values = arguments.pop(names[before], ())
        positional = [arguments.pop(name) for name in names[:before]]
        positional += list(values) if isinstance(values, tuple) else [values]
    return function(*positional, **arguments)


def _fault(name: str, function: Callable[..., Any], valid: dict[str, Any], wrong: dict[str, str]) -> str | None:
    """Return a description of what went wrong in a call with some arguments replaced by values of `WRONG`."""
    if name in LONG and wrong.get("config") == "none":
        return None
    arguments = valid | {parameter: WRONG[kind]() for parameter, kind in wrong.items()}
    started = time.process_time()
    call = f"{name}({', '.join(f'{parameter}=<{kind}>' for parameter, kind in wrong.items())})"
    try:
        _call(function, arguments)
    except ls.LatentSDFError as error:
        if len(str(error)) < 15 or "object at 0x" in str(error):
            return f"{call}: message '{error}'"
    except OSError as error:
        if not str(error):
            return f"{call}: {error!r}"
    except Exception as error:
        place = traceback.extract_tb(error.__traceback__)[-1]
        return f"{call}: {type(error).__name__}: {error!s:.150} ({Path(place.filename).name}:{place.lineno})"
    seconds = time.process_time() - started
    return f"{call}: took {seconds:.0f} s" if seconds > _MAX_SECONDS else None


def _parameters(function: Callable[..., Any]) -> list[str]:
    return [p.name for p in inspect.signature(function).parameters.values() if p.kind is not p.VAR_KEYWORD]


def _report(faults: list[str | None]) -> None:
    found = sorted({fault for fault in faults if fault})
    assert not found, f"{len(found)} of {len(faults)} calls ended in an inner error:\n" + "\n".join(found)


Calls = dict[str, tuple[Callable[..., Any], dict[str, Any]]]


def test_values_that_are_never_valid(calls: Calls) -> None:
    """An object without any meaning is refused in place of every argument of every public function."""
    accepted = []
    for name, (function, valid) in calls.items():
        for parameter in _parameters(function):
            with suppress(ls.LatentSDFError, OSError):
                _call(function, valid | {parameter: object()})
                accepted.append(f"{name}({parameter}=object())")
    assert not accepted


@pytest.mark.slow
def test_one_wrong_value_for_every_parameter(calls: Calls) -> None:
    """Three wrong values of every parameter of every public function end in a result or in an error of the library."""
    draw = random.Random(0)
    _report(
        [
            _fault(name, function, valid, {parameter: kind})
            for name, (function, valid) in calls.items()
            for parameter in _parameters(function)
            for kind in draw.sample(sorted(WRONG), 3)
        ]
    )


@pytest.mark.slow
def test_random_calls(calls: Calls) -> None:
    """Random calls with one to three wrong values end in a result or in an error of the library; memory is freed."""
    draw = random.Random(int(os.environ.get("LATENTSDF_SEED", "1")))
    names = [name for name in calls if _parameters(calls[name][0])]
    faults, memory = [], collections.deque[int](maxlen=RANDOM_CALLS)
    for _ in range(RANDOM_CALLS):
        name = draw.choice(names)
        function, valid = calls[name]
        parameters = _parameters(function)
        chosen = draw.sample(parameters, min(len(parameters), draw.choice((1, 1, 1, 2, 3))))
        faults.append(_fault(name, function, valid, {p: draw.choice(sorted(WRONG)) for p in chosen}))
        memory.append(psutil.Process().memory_info().rss)
    _report(faults)
    growth = memory[-1] - memory[len(memory) // 3]
    assert growth < _MAX_GROWTH, f"memory grew by {growth / 1e6:.0f} MB over {RANDOM_CALLS} calls"


@pytest.mark.slow
def test_valid_calls(calls: Calls) -> None:
    """The calls into which wrong values are put are valid themselves."""
    for function, valid in calls.values():
        _call(function, valid)
