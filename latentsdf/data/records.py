"""What a sample store knows of one shape: the whole record, and its attributes alone."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from latentsdf.geometry.mesh_sdf.sampling import SdfSamples
from latentsdf.geometry.mesh_sdf.sign import SignReport
from latentsdf.geometry.similarity import Similarity


@dataclass(frozen=True, kw_only=True)
class Provenance:
    """What a shape was made from, and the way back to it; `area` in model space."""

    similarity: Similarity
    source: str
    source_sha256: str
    watertight: bool
    area: float
    seed: int

    def attributes(self) -> dict[str, Any]:
        """These fields as plain values that every file format can hold."""
        return {
            "center": list(self.similarity.center),
            "scale": self.similarity.scale,
            "source": self.source,
            "source_sha256": self.source_sha256,
            "watertight": self.watertight,
            "area": self.area,
            "seed": self.seed,
        }


@dataclass(frozen=True, kw_only=True)
class ShapeRecord(Provenance):
    """All that is stored for one shape; distances in model space."""

    category: str
    id: str
    samples: SdfSamples

    @property
    def key(self) -> str:
        """category/id"""
        return f"{self.category}/{self.id}"


@dataclass(frozen=True, kw_only=True)
class ShapeInfo(Provenance):
    """What is known of a stored shape without reading its arrays."""

    sign: SignReport
    band_samples: int
    band_bytes: int
    stored_bytes: int


def provenance_of(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of `Provenance` from attributes that were read; KeyError, TypeError or ValueError for other ones."""
    x, y, z = (float(value) for value in attributes["center"])
    return {
        "similarity": Similarity((x, y, z), float(attributes["scale"])),
        "source": str(attributes["source"]),
        "source_sha256": str(attributes["source_sha256"]),
        "watertight": bool(attributes["watertight"]),
        "area": float(attributes["area"]),
        "seed": int(attributes["seed"]),
    }
