"""Records of a sample store: all data of one shape (`ShapeRecord`), or its metadata only (`ShapeInfo`)."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from latentsdf.geometry.mesh_sdf.sampling import SAMPLING_VERSION, SdfSamples
from latentsdf.geometry.mesh_sdf.sign import SignReport
from latentsdf.geometry.similarity import Similarity, parse_similarity
from latentsdf.utils.json_files import parse_object


@dataclass(frozen=True, kw_only=True)
class Provenance:
    """Source of a shape and its transform to model space."""

    similarity: Similarity
    """Similarity between the frame of the source and model space."""
    source: str
    """Name of the source, for messages."""
    source_sha256: str
    """SHA-256 of the source, hexadecimal."""
    watertight: bool
    """True if every edge of the mesh is shared by two faces."""
    area: float
    """Surface area in model space; 0 if unknown."""
    seed: int
    """Seed of the sampling, and of the order in which samples are stored."""
    augmented: bool = False
    """True for a deformed copy of another shape. Retrieval and evaluation leave it out by default."""
    recipe: Mapping[str, Any] = field(default_factory=dict)
    """JSON values from which the shape can be generated again: the parameters of a generated shape, and the original
    and the deformation of a deformed copy. Empty for other shapes."""
    sampling_version: int = SAMPLING_VERSION
    """Version of the sampling algorithm, `mesh_sdf.sampling.SAMPLING_VERSION`."""

    def attributes(self) -> dict[str, Any]:
        """Convert these fields to numbers, strings and lists, the attributes of Zarr and HDF5 groups."""
        return {
            "center": list(self.similarity.center),
            "scale": self.similarity.scale,
            "source": self.source,
            "source_sha256": self.source_sha256,
            "watertight": self.watertight,
            "area": self.area,
            "seed": self.seed,
            "augmented": self.augmented,
            "recipe": json.dumps(self.recipe),
            "sampling_version": self.sampling_version,
        }


@dataclass(frozen=True, kw_only=True)
class ShapeRecord(Provenance):
    """All data of one shape in a sample store.

    Attributes:
        category: Category name, the first half of the key.
        id: Identifier within the category, the second half of the key.
        samples: Signed distance samples in model space, negative inside.
        similarity: Similarity between the frame of the source and model space.
        source: Name of the source, for messages.
        source_sha256: SHA-256 of the source, hexadecimal.
        watertight: True if every edge of the mesh is shared by two faces.
        area: Surface area in model space; 0 if unknown.
        seed: Seed of the sampling, and of the order in which samples are stored.
        augmented: True for a deformed copy of another shape.
        recipe: JSON values from which the shape can be generated again.
        sampling_version: Version of the sampling algorithm.
    """

    category: str
    id: str
    samples: SdfSamples

    @property
    def key(self) -> str:
        """Key of the shape in the store, category/id."""
        return f"{self.category}/{self.id}"


@dataclass(frozen=True, kw_only=True)
class ShapeSummary:
    """Metadata of a stored shape from which a training run plans its memory; read from one small file."""

    band_samples: int
    """Number of band samples."""
    offsurface_samples: int
    """Number of near and uniform samples."""
    surface_shape: tuple[int, int]
    """Number of surface points, and of their columns: 6 with normals, 3 without."""
    similarity: Similarity
    """Similarity between the frame of the source and model space."""
    sign: SignReport
    """Method that determined inside and outside."""
    watertight: bool
    """True if every edge of the mesh is shared by two faces."""
    augmented: bool
    """True for a deformed copy of another shape."""
    sampling_version: int
    """Version of the sampling algorithm."""


@dataclass(frozen=True, kw_only=True)
class ShapeInfo(Provenance):
    """Metadata of a stored shape, available without reading its arrays."""

    sign: SignReport
    """Method that determined inside and outside, and its reliability."""
    band_samples: int
    """Number of band samples."""
    band_bytes: int
    """Size on disk of the two arrays of the band, in bytes."""
    stored_bytes: int
    """Size on disk of the whole shape, in bytes."""


def provenance_fields(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """Convert attributes that were read from a file back to the fields of `Provenance`.

    Raises:
        KeyError: An attribute is missing.
        TypeError: An attribute has another type.
        ValueError: An attribute has another form.
    """
    # Zarr has numbers, HDF5 scalars and arrays of NumPy.
    center, scale = ([float(value) for value in attributes["center"]], float(attributes["scale"]))
    recipe = parse_object(str(attributes.get("recipe", "{}")))
    return {
        "similarity": parse_similarity(center, scale),
        "source": str(attributes["source"]),
        "source_sha256": str(attributes["source_sha256"]),
        "watertight": bool(attributes["watertight"]),
        "area": float(attributes["area"]),
        "seed": int(attributes["seed"]),
        # Files of version 0.1 lack these three.
        "augmented": bool(attributes.get("augmented", False)),
        "recipe": recipe,
        "sampling_version": int(attributes.get("sampling_version", 1)),
    }
