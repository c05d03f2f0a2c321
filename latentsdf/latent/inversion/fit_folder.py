"""Result of an inversion, and the folder that stores it.

A fit folder holds

- `report.json`: residual, convergence history, similarity to the user's frame and the fingerprint of the space,
- `code.npy`: the code (L,),
- `layers.npy`: codes by layer (N, L), if the fit has them,
- `delta.npz`: refined detail (`CompactDelta` or `Delta`), if the fit has been refined,
- `rivals.npy`: codes (K, L) of the rivals, if the fit has them; their other values are in the report,
- `mesh.ply`: the extracted surface in the user's frame, if one was passed to `Inversion.save`,
- `manifest.json`: size and SHA-256 of these files (`utils.artifacts`).
"""

import dataclasses
import json
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import trimesh
from jaxtyping import Float
from numpy.typing import NDArray

from latentsdf.config.arguments import check_arguments
from latentsdf.geometry import mesh as meshes
from latentsdf.geometry.similarity import Similarity, parse_similarity
from latentsdf.latent.inversion.compact_delta import CompactDelta
from latentsdf.latent.inversion.delta import Delta
from latentsdf.latent.inversion.deltas import parse_delta
from latentsdf.latent.inversion.verdict import Verdict, parse_verdict
from latentsdf.latent.retrieval import Hits
from latentsdf.utils.artifacts import Artifact, is_interrupted, read_artifact, write_artifact
from latentsdf.utils.errors import CheckpointError, ConfigError, LatentSDFError
from latentsdf.utils.json_files import parse_object
from latentsdf.utils.notebook import html_table
from latentsdf.utils.numpy_files import parse_npy
from latentsdf.utils.output_folders import require_writable_output
from latentsdf.utils.shape_ids import key_part

_REPORT, _CODE, _LAYERS, _DELTA = "report.json", "code.npy", "layers.npy", "delta.npz"
_RIVALS, _MESH = "rivals.npy", "mesh.ply"
_FILES = (_REPORT, _CODE, _LAYERS, _DELTA, _RIVALS, _MESH)
_TRUSTED_RESIDUAL = 0.006  # of 9 real chairs and furniture, fits below it had F-score(0.02) > 0.9, fits above it < 0.8


@dataclass(frozen=True, repr=False)
class Inversion:
    """A latent code fitted to an observation."""

    code: Float[NDArray[np.float32], " L"]
    """The code (L,), used by retrieval and interpolation, and for decoding if `layers` is None."""
    history: Float[NDArray[np.float32], " S"]
    """Cost after each step: about the sum of the mean absolute errors of both branches. The first entries are costs on
    the smaller set of samples on which initial codes are compared."""
    residual: float
    """Final mean absolute error of the overfit branch on samples within 0.05 of the surface, in model space; of a
    refined fit, that of the fused field in the band on which it was refined."""
    similarity: Similarity
    """Similarity transform between the frame of the target and model space."""
    delta: Delta | CompactDelta | None = None
    """Detail added by `ShapeSpace.refine`; None for a fit that was not refined."""
    layers: Float[NDArray[np.float32], "N L"] | None = None
    """One code per layer of `LatentSDF.conditioned_layers`, (N, L), decoded instead of `code`; or None."""
    space: str = ""
    """Fingerprint of the space to which the code belongs; empty if unknown."""
    verdict: Verdict | None = None
    """How well the surface of the fit and the observation explain each other; None if `InvertConfig.assess` is off."""
    rivals: tuple["Inversion", ...] = ()
    """Other hypotheses for a partial observation or an unknown placement, from the best to the worst."""
    margin: float = 0.0
    """Of a rival: relative increase of its cost over that of the best hypothesis."""

    @property
    def ok(self) -> bool:
        """Whether the verdict is `fits`; without a verdict, whether the residual is at most 0.006."""
        return self.residual <= _TRUSTED_RESIDUAL if self.verdict is None else self.verdict.word == "fits"

    def __repr__(self) -> str:
        return f"<Inversion: {', '.join(f'{name} {value}' for name, value in self._summary().items())}>"

    def _repr_html_(self) -> str:
        """Return a short table for notebooks."""
        return html_table("Inversion", self._summary())

    def _summary(self) -> dict[str, object]:
        return {
            "residual": f"{self.residual:.4g}",
            "ok": self.ok,
            **({} if self.verdict is None else {"verdict": str(self.verdict)}),
            "code length": len(self.code),
            "codes by layer": "none" if self.layers is None else len(self.layers),
            "refined": self.delta is not None,
            "scale": f"{self.similarity.scale:.4g}",
        }

    @check_arguments
    def save(
        self,
        folder: Path | str,
        *,
        mesh: trimesh.Trimesh | None = None,
        target: Path | str | None = None,
        nearest: Hits | None = None,
    ) -> dict[str, Any]:
        """Write the fit to a folder from which `load_fit` reads it. An older fit in the folder is replaced.

        Args:
            folder: Output folder; created if missing.
            mesh: Surface to store as `mesh.ply`, in the user's frame, such as `space.extract(fit)`.
            target: Name of the fitted file, recorded in the report; `load_fits` uses it as the name of the fit.
            nearest: Nearest training shapes, recorded in the report.

        Returns:
            The content of `report.json`.

        Raises:
            CheckpointError: The folder holds outputs of another kind.

        Example:
            >>> import latentsdf as ls
            >>> space = ls.load("checkpoints/chairs")
            >>> fit = space.invert("chair.ply")
            >>> fit.save("fit", mesh=space.extract(fit), target="chair.ply")
            >>> space.extract(ls.load_fit("fit"))
        """
        folder = Path(folder)
        require_writable_output(folder, "fit", overwrite=True)
        report: dict[str, Any] = {
            "target": None if target is None else str(target),
            "residual": self.residual,
            "ok": self.ok,
            "verdict": None if self.verdict is None else dataclasses.asdict(self.verdict),
            "rivals": [rival.describe() for rival in self.rivals],
            "by_layer": self.layers is not None,
            "refined": self.delta is not None,
            "nearest": None if nearest is None else dataclasses.asdict(nearest),
            "history": [float(v) for v in self.history],
            "similarity": dataclasses.asdict(self.similarity),
            "space": self.space,
            "manifest": True,
        }
        with write_artifact(folder, "fit", _FILES) as staged:
            np.save(staged / _CODE, self.code)
            if self.layers is not None:
                np.save(staged / _LAYERS, self.layers)
            if self.delta is not None:
                self.delta.save(staged / _DELTA)
            if self.rivals:
                np.save(staged / _RIVALS, np.stack([rival.code for rival in self.rivals]))
            if mesh is not None:
                meshes.save(mesh, staged / _MESH)
            (staged / _REPORT).write_text(json.dumps(report, indent=1))
        return report

    def describe(self) -> dict[str, Any]:
        """Return margin, residual, verdict and similarity, as in the report of the fit whose rival this is."""
        return {
            "margin": self.margin,
            "residual": self.residual,
            "verdict": None if self.verdict is None else dataclasses.asdict(self.verdict),
            "similarity": dataclasses.asdict(self.similarity),
        }


def is_fit_folder(folder: Path) -> bool:
    """Return True if a folder was written by `Inversion.save`."""
    return (folder / _REPORT).is_file() or is_interrupted(folder, _REPORT)


@check_arguments
def load_fit(folder: Path | str, space: str | None = None, *, verify: bool = True) -> Inversion:
    """Read a fit written by `latentsdf invert` or `Inversion.save`.

    Args:
        folder: Folder of the fit.
        space: Fingerprint (`ShapeSpace.fingerprint`) that the space of the fit must have; None accepts a fit of any
            space. The methods of `ShapeSpace` reject fits of other spaces in any case.
        verify: Compare the files with the checksums of `manifest.json`.

    Returns:
        The fit, with its code, codes by layer and detail as saved.

    Raises:
        CheckpointError: The folder holds no fit, a damaged one, or a fit of another space.
        ConfigError: A code file holds no array of real numbers.
    """
    fit, _ = _read_fit(Path(folder), space, verify=verify)
    return fit


def load_fits(
    folder: Path, names: Collection[str] = (), space: str | None = None, *, verify: bool = True
) -> tuple[dict[str, Inversion], dict[str, str]]:
    """Read all fits in the sub-folders of a folder, or the single fit of a fit folder.

    Args:
        folder: A fit folder, or the output folder of `latentsdf invert` for several targets.
        names: Known names of shapes. A fit is named after its folder if the name of the folder is known, otherwise
            after the file to which it was fitted.
        space: As for `load_fit`.
        verify: As for `load_fit`.

    Returns:
        The fits by name, and the reasons for folders that cannot be read, by name of the folder.

    Raises:
        ConfigError: There is no fit in the folder.
    """
    folders = [folder] if is_fit_folder(folder) else sorted(one for one in folder.glob("*") if is_fit_folder(one))
    if not folders:
        raise ConfigError(f"{folder}: holds no fit; write some with `latentsdf invert SPACE MESHES --out {folder}`")
    fits: dict[str, Inversion] = {}
    failed: dict[str, str] = {}
    for one in folders:
        name = one.resolve().name
        try:
            fit, target = _read_fit(one, space, verify=verify)
            stem = key_part(Path(target).stem) if target is not None else ""
            fits[name if name in names or not stem else stem] = fit
        except LatentSDFError as error:
            failed[name] = str(error)
    return fits, failed


def load_code(path: Path, space: str | None = None, *, verify: bool = True) -> Inversion | NDArray[Any]:
    """Read a fit folder (`load_fit`), or a code from a `.npy` file.

    Args:
        path: The folder or file.
        space: As for `load_fit`; not checked for a file.
        verify: As for `load_fit`; also for a file in a fit folder.

    Returns:
        The fit, or the code as an array.

    Raises:
        FileNotFoundError: There is no such folder or file.
        CheckpointError, ConfigError: As for `load_fit`; ConfigError if the file holds no array of real numbers.
    """
    if path.is_dir():
        return load_fit(path, space, verify=verify)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such code file or folder of latentsdf invert")
    if path.name in _FILES and is_fit_folder(path.parent):
        return read_artifact(
            path.parent, "fit", _FILES, lambda artifact: _array(path, artifact.read_bytes(path.name)), verify=verify
        )
    return _array(path, path.read_bytes())


def _read_fit(folder: Path, space: str | None, *, verify: bool) -> tuple[Inversion, str | None]:
    """Read a fit and the name of the file to which it was fitted."""
    return read_artifact(folder, "fit", _FILES, lambda artifact: _parse_fit(artifact, space), verify=verify)


def _parse_fit(artifact: Artifact, space: str | None) -> tuple[Inversion, str | None]:
    folder = artifact.folder
    missing = [name for name in (_REPORT, _CODE) if name not in artifact]
    if missing:
        raise CheckpointError(f"{folder}: not a folder written by latentsdf invert; missing {' and '.join(missing)}")
    text = artifact.read_bytes(_REPORT)
    try:
        report = parse_object(text)
        residual, history = report["residual"], report["history"]
        similarity, verdict = _parse_placed(report)
        fitted_in, target = report.get("space", ""), report.get("target")
        if not isinstance(fitted_in, str):
            raise ValueError("expected the fingerprint of a space")
        if not isinstance(history, list) or not all(isinstance(value, int | float) for value in history):
            raise ValueError("expected numbers as history")
        if target is not None and not isinstance(target, str):
            raise ValueError("expected a name as target")
        described = report.get("rivals", [])
        if not isinstance(described, list):
            raise ValueError("expected a list of rivals")
        rivals = [(*_parse_placed(one), float(one["residual"]), float(one["margin"])) for one in described]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(
            f"{folder}: not a folder written by latentsdf invert, or damaged; invert the shape again"
        ) from error
    artifact.require_manifest(report.get("manifest"))
    if space is not None:
        require_same_space(fitted_in, space, str(folder))
    delta = layers = None
    if report.get("refined"):
        delta = parse_delta(artifact.read_bytes(_DELTA), str(folder / _DELTA))
    if report.get("by_layer"):
        layers = _array(folder / _LAYERS, artifact.read_bytes(_LAYERS))
    code = _array(folder / _CODE, artifact.read_bytes(_CODE))
    steps = np.array(history, dtype=np.float32)
    fit = Inversion(code, steps, float(residual), similarity, delta, layers, fitted_in, verdict)
    if not rivals:
        return fit, target
    codes = _array(folder / _RIVALS, artifact.read_bytes(_RIVALS))
    if codes.shape != (len(rivals), len(code)):
        raise CheckpointError(f"{folder / _RIVALS}: expected codes {(len(rivals), len(code))}, got {codes.shape}")
    none = steps[:0]
    others = tuple(
        Inversion(row, none, residual, placed, space=fitted_in, verdict=judged, margin=margin)
        for row, (placed, judged, residual, margin) in zip(codes, rivals, strict=True)
    )
    return dataclasses.replace(fit, rivals=others), target


def _parse_placed(report: dict[str, Any]) -> tuple[Similarity, Verdict | None]:
    """Read the similarity and the verdict of a fit, and check that it has a residual."""
    placement, residual = report["similarity"], report["residual"]
    if not isinstance(residual, int | float):
        raise ValueError("expected a number as residual")
    similarity = parse_similarity(placement["center"], placement["scale"], placement.get("yaw", 0.0))
    return similarity, parse_verdict(report.get("verdict"))


def require_same_space(fitted_in: str, space: str, source: str) -> None:
    """Raise CheckpointError if a fit is known to belong to another space.

    Args:
        fitted_in: Fingerprint of the space of the fit; empty if unknown.
        space: Fingerprint of the space that uses the fit.
        source: Name of the fit in the error message.
    """
    if fitted_in and fitted_in != space:
        raise CheckpointError(
            f"{source}: expected a fit of this space (fingerprint {space}), got a fit of {fitted_in}, a different "
            "space or this one before further training; invert the shape again"
        )


def _array(path: Path, data: bytes) -> NDArray[Any]:
    try:
        array = parse_npy(data)
    except ValueError as error:
        raise ConfigError(f"{path}: {error}") from error
    if array.dtype.kind not in "fiu":
        raise ConfigError(f"{path}: not an array of real numbers written by numpy.save")
    return array
