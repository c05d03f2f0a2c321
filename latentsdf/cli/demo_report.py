"""Report of the demo: `report.html` with tables, images, plots and meshes that can be turned."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import trimesh
from markupsafe import Markup
from PIL import Image

from latentsdf.evaluation import html_report
from latentsdf.evaluation.mesh_viewer import ShownMesh, html_meshes
from latentsdf.evaluation.result import Evaluation
from latentsdf.geometry.mesh import normalize
from latentsdf.rendering.sheets import comparison_sheet, contact_sheet

Meshes = dict[str, trimesh.Trimesh]
Rows = list[list[Image.Image]]


@dataclass(frozen=True)
class UnseenShapes:
    """Unseen shapes as one space represents them, and random shapes of this space."""

    evaluation: Evaluation
    """Metrics of the fits."""
    meshes: Meshes
    """Fitted meshes in model space, by name."""
    random: Rows
    """Images of random shapes, one row per family."""


@dataclass(frozen=True)
class DemoResults:
    """Everything that the report shows."""

    summary: dict[str, Any]
    """The content of report.json."""
    known: Meshes
    """Meshes of training shapes by id."""
    seen: Evaluation
    """Metrics of these training shapes."""
    seen_meshes: Meshes
    """Their reconstructions, in model space."""
    new: Meshes
    """Meshes that were not trained on, by name."""
    unseen: UnseenShapes
    """These shapes in the space of the demo."""
    pretrained: UnseenShapes | None
    """The same shapes in the pretrained space, if it was found."""
    strips: Rows
    """Images along interpolations, one row per family."""
    retrieved: Rows
    """Images of unseen shapes, each followed by the nearest training shapes."""
    retrieved_names: list[list[str]]
    """Their captions."""
    metrics: list[dict[str, float]]
    """Logged metrics of the training."""


def write_report(path: Path, results: DemoResults) -> None:
    """Write the HTML page.

    Args:
        path: Output file.
        results: What it shows.
    """
    html_report.write_html(path, "latentsdf demo", _sections(results))


def median_metrics(evaluation: Evaluation) -> str:
    """Summarize an evaluation in one line: medians of the main metrics."""
    summary = evaluation.summary()
    if not summary:
        return "none could be evaluated"
    median = {name: values["median"] for name, values in summary.items()}
    shapes = evaluation.shapes.values()
    right = sum(shape.pieces == shape.reference_pieces for shape in shapes)
    return (
        f"mean distance {median['triangle_mean']:.4f}, F(0.005) {median['f_score_0.005']:.3f}, F(0.01) "
        f"{median['f_score_0.01']:.3f}, missing {median['missing']:.1%}, debris {median['debris']:.1%}, normal "
        f"consistency {median['normal_consistency']:.3f} (medians); correct number of pieces for {right} of "
        f"{len(shapes)}"
    )


def _sections(results: DemoResults) -> list[tuple[str, str]]:
    unseen, pretrained = results.unseen, results.pretrained
    sections: list[tuple[str, str]] = [
        ("Summary", _summary_table(results)),
        ("Unseen shapes, to turn", _turnable(results)),
        ("Training shapes: original above, fused reconstruction below", _sheet(results.known, results.seen_meshes)),
        ("Unseen shapes: original above, fitted below", _sheet(results.new, unseen.meshes)),
    ]
    if pretrained is not None:
        heading = "The same unseen shapes with the pretrained space: original above, fitted below"
        sections.append((heading, _sheet(results.new, pretrained.meshes)))
    sections += [
        ("Mean distance by shape, in model space", _error_bars(results)),
        (
            "Interpolation from a training shape to the least similar shape of its family; parts that only one of "
            "them has may break in between",
            html_report.html_image(contact_sheet(results.strips)),
        ),
        ("Random shapes", html_report.html_image(contact_sheet(unseen.random))),
    ]
    if pretrained is not None:
        images = html_report.html_image(contact_sheet(pretrained.random))
        sections.append(("Random shapes of the pretrained space", images))
    sheet = contact_sheet(results.retrieved, captions=results.retrieved_names)
    sections += [
        ("Retrieval: unseen query, then the nearest training shapes", html_report.html_image(sheet)),
        ("Loss over training steps", html_report.html_curve(results.metrics, ("general", "overfit"))),
        ("Every shape", _shape_table(results.seen) + _shape_table(unseen.evaluation)),
    ]
    return sections


def _summary_table(results: DemoResults) -> Markup:
    summary, pretrained = results.summary, results.pretrained
    rows = [
        ("training shapes", str(summary["training_shapes"])),
        ("training steps", f"{summary['training_steps']:,}"),
        ("training shapes, extracted", median_metrics(results.seen)),
        ("unseen shapes, fitted without refinement", median_metrics(results.unseen.evaluation)),
        (
            "the same with the pretrained space",
            "not found" if pretrained is None else median_metrics(pretrained.evaluation),
        ),
        ("training shapes that retrieve themselves first", f"{summary['self_retrieval_share']:.1%}"),
        ("seconds", ", ".join(f"{name} {value}" for name, value in summary["seconds"].items())),
        ("machine", summary["machine"]),
    ]
    return html_report.html_table(("metric", "value"), rows)


def _turnable(results: DemoResults) -> Markup:
    """Show each unseen shape beside its fits, which are colored by their distance to it."""
    scenes = {}
    for name, mesh in results.new.items():
        original = normalize(mesh)[0]
        shown = [ShownMesh("original", original)]
        for label, fits in (("this demo", results.unseen), ("pretrained space", results.pretrained)):
            if fits is not None and name in fits.meshes:
                shown.append(ShownMesh(label, fits.meshes[name], original))
        scenes[name] = shown
    return html_meshes(scenes)


def _error_bars(results: DemoResults) -> Markup:
    labeled = {"this demo": results.unseen, "pretrained space": results.pretrained}
    unseen: dict[str, dict[str, float]] = {name: {} for name in results.new}
    for label, fits in labeled.items():
        for name, shape in fits.evaluation.shapes.items() if fits is not None else ():
            unseen[name][label] = shape.triangle_mean
    seen = {name: {"this demo": shape.triangle_mean} for name, shape in results.seen.shapes.items()}
    plots = Markup("<h3>{}</h3>{}<h3>{}</h3>{}")
    return plots.format("training shapes", _bars(seen), "unseen shapes", _bars(unseen))


def _bars(values: Mapping[str, Mapping[str, float]]) -> Markup:
    return html_report.html_bars({name: row for name, row in values.items() if row})


def _sheet(originals: Meshes, reconstructions: Meshes) -> Markup:
    columns = 4 if len(originals) % 6 else 6
    return html_report.html_image(comparison_sheet(originals, reconstructions, columns=columns))


def _shape_table(evaluation: Evaluation) -> Markup:
    names = list(next(iter(evaluation.shapes.values())).as_dict())
    rows = [[shape, *(f"{v:.3g}" for v in c.as_dict().values())] for shape, c in evaluation.shapes.items()]
    return html_report.html_table(("shape", *names), rows)
