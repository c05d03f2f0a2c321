"""Meshes that can be turned in an HTML page: drawn by WebGL, without external files.

Meshes are simplified and their vertices stored as 16-bit integers, with a step of 3e-5 of model space. A scene is a
JSON object with a `name` and `meshes`; a mesh has a `label`, `errors` (whether its colors show errors), and, as base64
of little-endian arrays, `positions` (int16, 32767 is 1), `colors` (uint8) and `indices` (uint32), each in threes.
"""

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files

import numpy as np
import trimesh
from jinja2 import Environment, StrictUndefined
from markupsafe import Markup
from numpy.typing import NDArray

from latentsdf.extraction.simplify import simplify
from latentsdf.geometry.metrics.vertex_errors import error_colors, vertex_errors

_FACES = 12_000
_TEMPLATE = """\
<div class='meshes'><script type='application/json'>{{ scenes }}</script><style>
.meshes canvas { width: 100%; height: 380px; touch-action: none; cursor: grab; border: 1px solid #ddd }
.meshes .labels { display: flex } .meshes .labels span { flex: 1; text-align: center }
</style><select aria-label='shape'></select> <label><input type='checkbox'{{ checked }}> errors as colors (blue gray
at 0, dark red from 0.02 on)</label> · <span class='note'>drag to turn, wheel to zoom</span>
<canvas></canvas><div class='labels'></div></div><script>
{{ script }}</script>"""
_template = Environment(autoescape=True, undefined=StrictUndefined).from_string(_TEMPLATE)


@dataclass(frozen=True)
class ShownMesh:
    """One mesh of a scene."""

    label: str
    """Text below the mesh."""
    mesh: trimesh.Trimesh
    """The mesh, in model space."""
    reference: trimesh.Trimesh | None = None
    """Mesh in model space to measure errors against, which colors then show; None for none."""


def html_meshes(scenes: Mapping[str, Sequence[ShownMesh]]) -> Markup:
    """Return an element that shows the meshes of one scene at a time, side by side and turned together.

    Args:
        scenes: Meshes by the name of the scene.
    """
    entries = [{"name": name, "meshes": [_entry(shown) for shown in meshes]} for name, meshes in scenes.items()]
    checked = any(shown.reference is not None for meshes in scenes.values() for shown in meshes)
    # Within a script element, "<" could end it.
    text = json.dumps(entries).replace("<", "\\u003c")
    script = files("latentsdf.evaluation").joinpath("mesh_viewer.js").read_text(encoding="utf-8")
    return Markup(_template.render(scenes=Markup(text), script=Markup(script), checked=" checked" if checked else ""))


def _entry(shown: ShownMesh) -> dict[str, object]:
    mesh = simplify(shown.mesh, _FACES)
    errors = np.zeros(len(mesh.vertices)) if shown.reference is None else vertex_errors(mesh, shown.reference)
    positions = np.rint(np.clip(mesh.vertices, -1, 1) * 32767)
    return {
        "label": shown.label,
        "errors": shown.reference is not None,
        "positions": _encode(positions, "<i2"),
        "colors": _encode(error_colors(errors)[:, :3], "u1"),
        "indices": _encode(mesh.faces, "<u4"),
    }


def _encode(values: NDArray[np.generic], kind: str) -> str:
    return base64.b64encode(np.ascontiguousarray(values).astype(kind).tobytes()).decode()
