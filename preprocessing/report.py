"""What a preprocessing run made, and what failed and why."""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from latentsdf.progress import console


@dataclass
class Report:
    """Counts and reasons, by shape key. `asked` shapes were selected, `present` were in the store before."""

    store: Path
    asked: int
    present: int
    made: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    interrupted: bool = False

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {**asdict(self), "store": str(self.store)}

    def save(self) -> None:
        """Write report.json and report.md into the store."""
        (self.store / "report.json").write_text(json.dumps(self.as_dict(), indent=1))
        lines = [f"# {self.store.name}", "", self.headline(), ""]
        lines += [f"- {reason}" for reason in self.failed.values()]
        (self.store / "report.md").write_text("\n".join(lines) + "\n")

    def headline(self) -> str:
        """One sentence."""
        parts = [f"{len(self.made)} made", f"{self.present} already there", f"{len(self.failed)} failed"]
        missing = self.asked - self.present - len(self.made) - len(self.failed)
        if missing:
            parts.append(f"{missing} not reached")
        return f"{self.asked} shapes: {', '.join(parts)}"

    def show(self) -> None:
        """Print the outcome and every failure."""
        console.print(f"{self.store}: {self.headline()}")
        for reason in self.failed.values():
            console.print(f"  [yellow]skipped[/] {reason}", soft_wrap=True)
        if self.interrupted:
            console.print("interrupted; run the same command again to continue")
