"""What a preprocessing run made, what failed and why, and which shapes of the store deserve a look."""

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
from latentsdf.data.store import SampleStore
from latentsdf.utils.atomic_files import atomic_write, disk_full_as_store_error
from latentsdf.utils.console import console, show_note
from latentsdf.utils.errors import StoreError

LOW_CONFIDENCE = 0.975
THIN = 0.1
SHEETS = 0.01
_NAMED = 10


@dataclass(frozen=True)
class Outcome:
    """One shape of the store; `seconds` and `thin` are None where a killed run left no report."""

    seconds: float | None
    """Worker time to load, sample, write and draw it."""
    band_samples: int
    band_bytes: int
    stored_bytes: int
    sign: str
    confidence: float
    closed: bool
    thin: float | None
    """Share of the surface with no inside one cell beneath it."""
    warning: str = ""
    sheet: float = 0.0
    """Share of the area that encloses nothing and was given a thickness."""

    @staticmethod
    def of_stored(
        info: ShapeInfo, *, seconds: float | None = None, thin: float | None = None, warning: str = ""
    ) -> "Outcome":
        """From what the store tells, and what only the worker knows."""
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
    """Counts and reasons, by shape key. `asked` shapes were selected, `present` were in the store before."""

    store: Path
    config: SamplingConfig
    asked: int
    present: int
    workers: int = 1
    previews: Path | None = None
    made: dict[str, Outcome] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    outdated: dict[str, str] = field(default_factory=dict)
    """Why shapes that the store held before were to be made again."""
    interrupted: bool = False
    seconds: float = 0.0
    """Wall time of the run."""
    shapes: dict[str, Outcome] = field(default_factory=dict)
    """Everything in the store, from this run and earlier ones; filled by `save`."""

    def save(self) -> None:
        """Write report.json and report.md into the store; StoreError when the disk is full."""
        self.shapes = self._earlier() | self.made
        store = SampleStore(self.store, self.config)
        keys = store.keys()
        for key in keys:
            if key not in self.shapes:
                with suppress(StoreError):
                    self.shapes[key] = Outcome.of_stored(store.info(key))
        self.shapes = {key: self.shapes[key] for key in keys if key in self.shapes}
        pages = {"report.json": json.dumps(self.as_dict(), indent=1), "report.md": self.markdown()}
        with disk_full_as_store_error(self.store):
            for name, text in pages.items():
                with atomic_write(self.store / name) as aside:
                    aside.write_text(text, encoding="utf-8")

    def as_dict(self) -> dict[str, Any]:
        """For JSON: this run, then the store. Seconds and bytes; confidences and shares in [0, 1]."""
        return {
            "store": str(self.store),
            "settings": asdict(self.config),
            "asked": self.asked,
            "present": self.present,
            "made": list(self.made),
            "failed": self.failed,
            "outdated": self.outdated,
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
        """Made in this run over its wall time; None when none was made."""
        return round(len(self.made) / self.seconds * 3600, 1) if self.made and self.seconds else None

    def seconds_per_shape(self) -> dict[str, Any]:
        """Mean, 95th percentile and the five slowest by key, of one worker; empty when nothing is known."""
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
        """What index and distance of one band vertex take on disk."""
        samples = sum(shape.band_samples for shape in self.shapes.values())
        return round(sum(shape.band_bytes for shape in self.shapes.values()) / samples, 3) if samples else None

    def low_confidence(self) -> dict[str, float]:
        """Confidence by key where inside and outside are in doubt, the worst first."""
        low = {key: shape.confidence for key, shape in self.shapes.items() if shape.confidence < LOW_CONFIDENCE}
        return dict(sorted(low.items(), key=lambda item: item[1]))

    def thin(self) -> dict[str, float]:
        """Share of thin surface by key where it is large, the worst first."""
        thin = {key: shape.thin for key, shape in self.shapes.items() if shape.thin is not None and shape.thin > THIN}
        return dict(sorted(thin.items(), key=lambda item: -item[1]))

    def sheets(self) -> dict[str, float]:
        """Share of the area that became slabs by key where it is more than specks, the largest first."""
        sheets = {key: shape.sheet for key, shape in self.shapes.items() if shape.sheet > SHEETS}
        return dict(sorted(sheets.items(), key=lambda item: -item[1]))

    def warnings(self) -> list[str]:
        """What went wrong in this run without costing a shape."""
        return [shape.warning for shape in self.made.values() if shape.warning]

    def headline(self) -> str:
        """One sentence."""
        parts = [f"{len(self.made)} made", f"{self.present} already there", f"{len(self.failed)} failed"]
        missing = self.asked - self.present - len(self.made) - len(self.failed)
        if missing:
            parts.append(f"{missing} not reached")
        return f"{self.asked} shapes: {', '.join(parts)}"

    def pace(self) -> str:
        """How fast this run was; "" when it made nothing."""
        rate, took = self.shapes_per_hour(), timedelta(seconds=round(self.seconds))
        workers = f"{self.workers} worker{'s' if self.workers > 1 else ''}"
        return "" if rate is None else f"{rate:,.0f} shapes/h with {workers}, {took}"

    def markdown(self) -> str:
        """A page to read in 20 seconds: the run, the store, failures, and shapes to look at."""
        settings, seconds = self.config, self.seconds_per_shape()
        rows = {
            "lattice": f"{settings.resolution}³, band ±{settings.band_voxels:g} cells, "
            f"sparse {settings.sparse_resolution}³, {settings.normalization} normalization",
            "samples": f"{settings.near:,} near (σ {settings.near_std:g}), {settings.uniform:,} uniform, "
            f"{settings.surface:,} on the surface",
            "speed": self.pace() or "nothing made in this run",
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
        lines = [f"# {self.store.name}", "", self.headline() + ("; interrupted" if self.interrupted else ""), ""]
        lines += ["| | |", "|---|---|", *(f"| {name} | {value} |" for name, value in rows.items()), ""]
        lines += _section("Failed", self.failed.values()) + _section("Warnings", self.warnings())
        lines += _section("Held before, to be made again", self.outdated.values())
        lines += self._worst(f"Sign confidence below {LOW_CONFIDENCE}", self.low_confidence(), "{:.3f}")
        lines += self._worst(f"Thin: more than {THIN:.0%} of the surface without inside beneath", self.thin(), "{:.0%}")
        lines += self._worst(f"Sheets: more than {SHEETS:.0%} of the area given a thickness", self.sheets(), "{:.0%}")
        return "\n".join(lines)

    def show(self) -> None:
        """Print the outcome, every failure, and where the report is."""
        console.print(f"{self.store}: {self.headline()}{f'; {self.pace()}' if self.made else ''}")
        for reason in self.failed.values():
            show_note("skipped", reason)
        for reason in self.warnings():
            show_note("warning", reason)
        for key, reason in self.outdated.items():
            show_note("made again" if key in self.made else "still as before", reason)
        low = sum(key in self.made for key in self.low_confidence())
        if low:
            show_note("doubtful sign", f"{low} shapes, named in {self.store / 'report.md'}")
        if self.interrupted:
            console.print("interrupted; run the same command again to continue")

    def _earlier(self) -> dict[str, Outcome]:
        """What the report of an earlier run tells about its shapes; nothing if there is none that can be read."""
        try:
            shapes = json.loads((self.store / "report.json").read_text())["shapes"]
            return {key: Outcome(**shape) for key, shape in shapes.items()}
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return {}

    def _worst(self, heading: str, values: Mapping[str, float], form: str) -> list[str]:
        """The first few by name, linked to their previews; report.json has them all."""
        lines = []
        for key in list(values)[:_NAMED]:
            name = key
            if self.previews is not None and (self.previews / f"{key}.png").is_file():
                name = f"[{key}](<{os.path.relpath(self.previews, self.store)}/{key}.png>)"
            lines.append(f"{name} {form.format(values[key])}")
        if len(values) > _NAMED:
            lines.append(f"{len(values) - _NAMED} more in report.json")
        return _section(f"{heading} ({len(values)})", lines)


def _section(heading: str, items: Any) -> list[str]:
    lines = [f"- {item}" for item in items]
    return [f"## {heading}", "", *lines, ""] if lines else []
