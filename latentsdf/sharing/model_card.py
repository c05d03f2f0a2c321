"""Model card of a space: README.md with the metadata of Hugging Face, and a picture.

A card that latentsdf wrote ends with its own hash in a comment. Without it, or if it does not match, the card was
written or changed by hand, and is kept unless it may be overwritten.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from latentsdf.config import loader
from latentsdf.sharing.pack import PICTURE, measure_size, rounding_of
from latentsdf.training.checkpoint import CARD, Checkpoint
from latentsdf.utils.atomic_files import atomic_write
from latentsdf.utils.json_files import is_number, parse_object

_TAGS = ["latentsdf", "signed-distance-function", "shape-space", "3d"]
_MARK = re.compile(r"\n<!-- latentsdf card, sha256 ([0-9a-f]{64}) -->\n$")
# The card that training writes.
_SHORT = re.compile(
    r"---\nlibrary_name: latentsdf\ntags: \[[^]]*\]\n---\n# latentsdf shape space[^\n]*\n\n[^\n]*\n\n```[^`]*```\n"
)
_METRICS = {
    "triangle_mean": "mean distance to the other surface",
    "f_score": "F-score",
    "missing": "share of the reference that is missing",
    "debris": "share of area in pieces that the reference does not have",
    "pieces": "separate pieces",
    "reference_pieces": "separate pieces of the reference",
    "normal_consistency": "normal consistency",
}


def is_handwritten(folder: Path) -> bool:
    """Return whether a folder has a model card that was written or changed by hand."""
    path = folder / CARD
    if not path.is_file():
        return False
    return is_handwritten_text(path.read_text(encoding="utf-8", errors="replace"))


def is_handwritten_text(text: str) -> bool:
    """Return whether the text of a model card was written or changed by hand."""
    return not _is_generated(text) and _SHORT.fullmatch(text) is None


def card_files(folder: Path) -> list[Path]:
    """Return the files of a model card that describe the packed space in a folder, and are outdated without it.

    A card that was written or changed by hand is not among them, and neither is that of training, which is listed in
    the manifest.
    """
    path = folder / CARD
    generated = path.is_file() and _is_generated(path.read_text(encoding="utf-8", errors="replace"))
    return ([path] if generated else []) + [folder / PICTURE]


def write_card(folder: Path, name: str, space: Checkpoint, metrics: Mapping[str, Any] | None) -> None:
    """Write the model card of a packed space.

    Args:
        folder: Folder of the packed space.
        name: Name of the space: a title, and what the examples load.
        space: Its content, with details.
        metrics: Content of `metrics.json`, as `latentsdf evaluate` writes it; None if it was not evaluated.
    """
    text = _card(folder, name, space, metrics)
    with atomic_write(folder / CARD) as temporary:
        temporary.write_text(f"{text}\n<!-- latentsdf card, sha256 {_hash(text)} -->\n", encoding="utf-8")


def read_metrics(path: Path) -> dict[str, Any]:
    """Read `metrics.json` of an evaluation.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It is not what `latentsdf evaluate` writes.
    """
    metrics = parse_object(path.read_bytes())
    if not isinstance(metrics.get("summary"), dict) or not isinstance(metrics.get("shapes"), dict):
        raise ValueError(f"{path}: expected the metrics.json that `latentsdf evaluate --out FOLDER` writes")
    return metrics


def _card(folder: Path, name: str, space: Checkpoint, metrics: Mapping[str, Any] | None) -> str:
    details = space.details or {}
    license = details.get("license")
    head: dict[str, Any] = {"library_name": "latentsdf", "tags": _TAGS}
    if license:
        head["license"] = license
    sections = [
        f"---\n{yaml.safe_dump(head, sort_keys=False)}---\n# {name}",
        details.get("description") or f"A shape space of {_categories(space)}.",
    ]
    if (folder / PICTURE).is_file():
        sections.append(f"![Shapes of the space, decoded from their codes]({PICTURE})")
    sections += [_usage(name, space), _content(folder, space), _training(space)]
    if metrics is not None:
        sections.append(_measured(metrics))
    return "\n\n".join(sections) + "\n"


def _usage(name: str, space: Checkpoint) -> str:
    source = f"hf://{name}" if "/" in name else name
    shape = space.keys[0]
    return (
        "## Use\n\n```\npip install 'latentsdf[cpu,hub]'\n```\n\n"
        f"```python\nimport latentsdf as ls\n\nspace = ls.load({json.dumps(source)})\n"
        f"mesh = space.extract({json.dumps(shape)}, resolution=256)\nnew = space.sample(4)  # new shapes\n"
        'fit = space.invert("chair.obj")  # the code of a mesh, a point cloud or a partial scan\n```'
    )


def _content(folder: Path, space: Checkpoint) -> str:
    size = measure_size(folder, card=False)  # that of an older card would change the new one
    rows = [f"{len(space.keys):,} codes of {space.config.model.code_size} values: {_categories(space)}"]
    details = space.details or {}
    trained = _section(details, "training").get("shapes")
    if isinstance(trained, int) and trained > len(space.keys):
        rows.append(f"trained on {trained:,} shapes; the distribution of all their codes is included")
    rows.append(f"{size}")
    if (rounding := rounding_of(details)) is not None:
        rows.append(rounding)
    return "## Content\n\n" + "\n".join(f"- {row}" for row in rows)


def _training(space: Checkpoint) -> str:
    training = _section(space.details or {}, "training")
    steps, seconds = training.get("steps"), training.get("seconds")
    said = f"{steps:,} steps in {seconds / 60:,.0f} minutes" if steps and seconds else ""
    return (
        f"## Training\n\nPreset `{space.config.preset}`{f', {said}' if said else ''}. With the `config.yaml` below:\n\n"
        "```\nlatentsdf train --config config.yaml --data STORE.zarr --out FOLDER\n```\n\n"
        f"<details><summary>config.yaml</summary>\n\n```yaml\n{loader.to_yaml(space.config)}```\n</details>"
    )


def _measured(metrics: Mapping[str, Any]) -> str:
    lines = [
        f"| {_METRICS.get(name, name.replace('_', ' '))} | {values['mean']:.4g} | {values['median']:.4g} |"
        for name, values in metrics["summary"].items()
        if isinstance(values, dict)
        and is_number(values.get("mean"))
        and is_number(values.get("median"))
        and any(name.startswith(known) for known in _METRICS)
    ]
    title = f"{len(metrics['shapes'])} shapes, mode {metrics.get('mode')}, {metrics.get('frame')}"
    return f"## Metrics\n\n{title}\n\n| | mean | median |\n|---|---|---|\n" + "\n".join(lines)


def _categories(space: Checkpoint) -> str:
    counts: dict[str, int] = {}
    for key in space.keys:
        category = key.split("/", 1)[0]
        counts[category] = counts.get(category, 0) + 1
    return ", ".join(f"{count:,} {name}" for name, count in counts.items())


def _section(details: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    section = details.get(name)
    return section if isinstance(section, dict) else {}


def _is_generated(text: str) -> bool:
    """Return whether `write_card` wrote a text, and nobody changed it."""
    found = _MARK.search(text)
    return found is not None and _hash(text[: found.start()]) == found.group(1)


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
