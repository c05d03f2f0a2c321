"""Report of a preprocessing run: counts, failures, speed, and shapes of the store that need inspection.

Saved in the store as report.json (`Report.as_dict`) and report.md.
"""

import json
import os
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np

from latentsdf.config.sampling import SamplingConfig
from latentsdf.data.records import ShapeInfo
from latentsdf.data.sampling_faults import find_known_faults, note_known_faults
from latentsdf.data.store import SampleStore, write_text
from latentsdf.data.zarr_layout import StorePath
from latentsdf.geometry.mesh_sdf.sign import DOUBTFUL_CONFIDENCE
from latentsdf.utils.console import console, show_note
from latentsdf.utils.errors import StoreError
from latentsdf.utils.json_files import is_number, parse_object

THIN = 0.1
"""Shapes with a larger fraction of thin surface are listed."""
SHEETS = 0.01
"""Shapes with a larger fraction of area in sheets are listed."""
_MAX_LISTED = 10


@dataclass(frozen=True)
class Outcome:
    """Statistics of one shape of the store.

    `seconds` and `thin` are None if the run that sampled the shape was killed before it saved its report.
    """

    seconds: float | None
    """Time to load, sample, draw and write the shape."""
    band_samples: int
    """Number of band samples."""
    band_bytes: int
    """Size of the band on disk."""
    stored_bytes: int
    """Size of the shape on disk."""
    sign: str
    """Sign method."""
    confidence: float
    """Confidence of the sign, in [0, 1]."""
    closed: bool
    """True if the mesh is watertight."""
    thin: float | None
    """Fraction of the surface where the lattice resolves no interior, see `shape.thin_share`."""
    warning: str = ""
    """Problem that did not fail the shape."""
    sheet: float = 0.0
    """Fraction of the area that encloses no volume and was thickened."""

    @staticmethod
    def of_report(values: dict[str, Any]) -> "Outcome":
        """Build the statistics from a report; raises TypeError for other names or types."""
        outcome = Outcome(**values)
        texts, numbers = (outcome.sign, outcome.warning), (outcome.confidence, outcome.sheet)
        counts = (outcome.band_samples, outcome.band_bytes, outcome.stored_bytes)
        optional = [value for value in (outcome.seconds, outcome.thin) if value is not None]
        if (
            not all(isinstance(value, str) for value in texts)
            or not all(is_number(value) for value in (*numbers, *counts, *optional))
            or not isinstance(outcome.closed, bool)
        ):
            raise TypeError("statistics of another type")
        return outcome

    @staticmethod
    def of_stored(
        info: ShapeInfo, *, seconds: float | None = None, thin: float | None = None, warning: str = ""
    ) -> "Outcome":
        """Combine the metadata in the store with the measurements of the worker."""
        return Outcome(
            seconds,
            info.band_samples,
            info.band_bytes,
            info.stored_bytes,
            info.sign.method,
            info.sign.confidence,
            info.watertight,
            thin,
            warning,
            info.sign.sheet,
        )


@dataclass
class Report:
    """Report of one run, and statistics of the whole store. Dictionaries have the shape keys as keys."""

    store: StorePath
    """Folder of the store."""
    config: SamplingConfig
    """Sampling settings."""
    selected: int
    """Number of selected shapes."""
    existing: int
    """Number of selected shapes that were already in the store."""
    workers: int = 1
    """Number of workers."""
    previews: Path | None = None
    """Folder of the previews."""
    sampled: dict[str, Outcome] = field(default_factory=dict)
    """Shapes that this run sampled."""
    failed: dict[str, str] = field(default_factory=dict)
    """Reasons for failed shapes."""
    outdated: dict[str, str] = field(default_factory=dict)
    """Reasons why shapes in the store had to be sampled again."""
    known_faults: dict[str, str] = field(default_factory=dict)
    """Known faults of shapes of the store that an earlier version sampled; filled in by `save`."""
    interrupted: bool = False
    """True after Ctrl-C."""
    seconds: float = 0.0
    """Wall time of the run in seconds."""
    shapes: dict[str, Outcome] = field(default_factory=dict)
    """All shapes of the store, from this run and earlier ones; filled in by `save`."""

    def save(self) -> None:
        """Collect statistics of the whole store and write report.json and report.md.

        Raises:
            StoreError: The disk is full.
        """
        self.shapes = self.load_previous() | self.sampled
        store = SampleStore(self.store, self.config)
        keys = store.keys()
        self.known_faults = find_known_faults(store, keys)
        for key in keys:
            if key not in self.shapes:
                with suppress(StoreError):
                    self.shapes[key] = Outcome.of_stored(store.info(key))
        self.shapes = {key: self.shapes[key] for key in keys if key in self.shapes}
        pages = {"report.json": json.dumps(self.as_dict(), indent=1), "report.md": self.markdown()}
        for name, text in pages.items():
            write_text(store, name, text)

    def as_dict(self) -> dict[str, Any]:
        """Convert to a dictionary for JSON: times in seconds, sizes in bytes, fractions in [0, 1]."""
        return {
            "store": str(self.store),
            "settings": asdict(self.config),
            # Keys as in version 0.1.
            "asked": self.selected,
            "present": self.existing,
            "made": list(self.sampled),
            "failed": self.failed,
            "outdated": self.outdated,
            "known_faults": self.known_faults,
            "interrupted": self.interrupted,
            "warnings": self.warnings(),
            "workers": self.workers,
            "seconds": round(self.seconds, 1),
            "shapes_per_hour": self.shapes_per_hour(),
            "seconds_per_shape": self.seconds_per_shape(),
            "bytes_per_band_sample": self.bytes_per_band_sample(),
            "sign_methods": dict(Counter(shape.sign for shape in self.shapes.values())),
            "low_confidence": self.low_confidence(),
            "thin": self.thin(),
            "sheets": self.sheets(),
            "open": [key for key, shape in self.shapes.items() if not shape.closed],
            "shapes": {key: asdict(shape) for key, shape in self.shapes.items()},
        }

    def shapes_per_hour(self) -> float | None:
        """Throughput of the run; None if no shape was sampled."""
        return round(len(self.sampled) / self.seconds * 3600, 1) if self.sampled and self.seconds else None

    def seconds_per_shape(self) -> dict[str, Any]:
        """Mean, 95th percentile and five largest times per shape; empty if no times are known."""
        known = {key: shape.seconds for key, shape in self.shapes.items() if shape.seconds is not None}
        if not known:
            return {}
        seconds = list(known.values())
        slowest = sorted(known, key=lambda key: -known[key])[:5]
        return {
            "mean": round(float(np.mean(seconds)), 2),
            "p95": round(float(np.percentile(seconds, 95)), 2),
            "slowest": {key: round(known[key], 2) for key in slowest},
        }

    def bytes_per_band_sample(self) -> float | None:
        """Mean size on disk of one band sample, index and distance; None without band samples."""
        samples = sum(shape.band_samples for shape in self.shapes.values())
        return round(sum(shape.band_bytes for shape in self.shapes.values()) / samples, 3) if samples else None

    def low_confidence(self) -> dict[str, float]:
        """Confidence of the sign for shapes below `DOUBTFUL_CONFIDENCE`, by key, lowest first."""
        low = {key: shape.confidence for key, shape in self.shapes.items() if shape.confidence < DOUBTFUL_CONFIDENCE}
        return dict(sorted(low.items(), key=lambda item: item[1]))

    def thin(self) -> dict[str, float]:
        """Fraction of thin surface for shapes above `THIN`, by key, largest first."""
        thin = {key: shape.thin for key, shape in self.shapes.items() if shape.thin is not None and shape.thin > THIN}
        return dict(sorted(thin.items(), key=lambda item: -item[1]))

    def sheets(self) -> dict[str, float]:
        """Fraction of area in sheets for shapes above `SHEETS`, by key, largest first."""
        sheets = {key: shape.sheet for key, shape in self.shapes.items() if shape.sheet > SHEETS}
        return dict(sorted(sheets.items(), key=lambda item: -item[1]))

    def warnings(self) -> list[str]:
        """Problems of this run that did not fail a shape."""
        return [shape.warning for shape in self.sampled.values() if shape.warning]

    def summary_line(self) -> str:
        """Summary of the run in one line."""
        parts = [f"{len(self.sampled)} made", f"{self.existing} already there", f"{len(self.failed)} failed"]
        missing = self.selected - self.existing - len(self.sampled) - len(self.failed)
        if missing:
            parts.append(f"{missing} not reached")
        return f"{self.selected} shapes: {', '.join(parts)}"

    def throughput(self) -> str:
        """Throughput, number of workers and wall time; "" if no shape was sampled."""
        rate, took = self.shapes_per_hour(), timedelta(seconds=round(self.seconds))
        workers = f"{self.workers} worker{'s' if self.workers > 1 else ''}"
        return "" if rate is None else f"{rate:,.0f} shapes/h with {workers}, {took}"

    def markdown(self) -> str:
        """Format as Markdown: run, store, failures, and shapes that need inspection."""
        settings, seconds = self.config, self.seconds_per_shape()
        rows = {
            "lattice": f"{settings.resolution}³, band ±{settings.band_voxels:g} cells, "
            f"sparse {settings.sparse_resolution}³, {settings.normalization} normalization",
            "samples": f"{settings.near:,} near (σ {settings.near_std:g}), {settings.uniform:,} uniform, "
            f"{settings.surface:,} on the surface",
            "speed": self.throughput() or "no shapes made in this run",
        }
        if seconds:
            slowest = ", ".join(f"{key} {value:.1f}" for key, value in seconds["slowest"].items())
            rows["seconds per shape"] = f"mean {seconds['mean']:.1f}, p95 {seconds['p95']:.1f}; slowest {slowest}"
        if self.shapes:
            per_sample, stored = self.bytes_per_band_sample(), [s.stored_bytes for s in self.shapes.values()]
            rows["storage"] = f"{per_sample} bytes per band sample, {np.mean(stored) / 1e6:.1f} MB per shape"
            methods = Counter(shape.sign for shape in self.shapes.values())
            rows["sign"] = ", ".join(f"{name} {count}" for name, count in methods.most_common())
            open_shapes = sum(not shape.closed for shape in self.shapes.values())
            counts = f"{open_shapes} open, {len(self.thin())} thin, {len(self.sheets())} with sheets"
            rows["open, thin, sheets"] = f"{counts}, of {len(self.shapes)} in the store"
        lines = [f"# {self.store.name}", "", self.summary_line() + ("; interrupted" if self.interrupted else ""), ""]
        lines += ["| | |", "|---|---|", *(f"| {name} | {value} |" for name, value in rows.items()), ""]
        lines += _section("Failed", self.failed.values()) + _section("Warnings", self.warnings())
        lines += _section("Outdated", self.outdated.values())
        faults = [f"{key}: {fault}" for key, fault in self.known_faults.items()]
        lines += _section("Sampled by an earlier version (--renew samples them again)", faults)
        uncertain = f"Sign confidence below {DOUBTFUL_CONFIDENCE}"
        thin = f"Thin: no interior lattice vertex beneath more than {THIN:.0%} of the surface"
        sheets = f"Sheets: more than {SHEETS:.0%} of the area thickened"
        lines += self._list_worst(uncertain, self.low_confidence(), "{:.3f}")
        lines += self._list_worst(thin, self.thin(), "{:.0%}")
        lines += self._list_worst(sheets, self.sheets(), "{:.0%}")
        return "\n".join(lines)

    def show(self) -> None:
        """Print the summary, all failures and warnings, and the number of shapes with an uncertain sign."""
        console.print(f"{self.store}: {self.summary_line()}{f'; {self.throughput()}' if self.sampled else ''}")
        for reason in self.failed.values():
            show_note("skipped", reason)
        for reason in self.warnings():
            show_note("warning", reason)
        for key, reason in self.outdated.items():
            show_note("sampled again" if key in self.sampled else "outdated", reason)
        note_known_faults(self.store, self.known_faults, "repeat the command with --renew to sample them again")
        low = sum(key in self.sampled for key in self.low_confidence())
        if low:
            show_note("uncertain sign", f"{low} shapes, listed in {self.store / 'report.md'}")
        if self.interrupted:
            console.print("interrupted; run the same command again to continue")

    def load_previous(self) -> dict[str, Outcome]:
        """Load the shape statistics from the report of an earlier run; empty if it is missing or unreadable."""
        try:
            return {key: Outcome.of_report(shape) for key, shape in self._load("shapes").items()}
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return {}

    def load_failures(self) -> dict[str, str]:
        """Load the reasons of failed shapes from the report of an earlier run; empty if it is missing or unreadable."""
        try:
            return {str(key): str(reason) for key, reason in self._load("failed").items()}
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return {}

    def _load(self, entry: str) -> Any:
        return parse_object((self.store / "report.json").read_bytes())[entry]

    def _list_worst(self, heading: str, values: Mapping[str, float], form: str) -> list[str]:
        """List the first few shapes with links to their previews; report.json has all of them."""
        lines = []
        for key in list(values)[:_MAX_LISTED]:
            name = key
            if self.previews is not None and isinstance(self.store, Path) and (self.previews / f"{key}.png").is_file():
                name = f"[{key}](<{os.path.relpath(self.previews, self.store)}/{key}.png>)"
            lines.append(f"{name} {form.format(values[key])}")
        if len(values) > _MAX_LISTED:
            lines.append(f"{len(values) - _MAX_LISTED} more in report.json")
        return _section(f"{heading} ({len(values)})", lines)


def _section(heading: str, items: Any) -> list[str]:
    lines = [f"- {item}" for item in items]
    return [f"## {heading}", "", *lines, ""] if lines else []
