"""Division of a preprocessing run into shards, such as the jobs of a SLURM array, and their merging.

Shard i of n samples the shapes i, i + n, i + 2 n, ... of the selection into a store of its own. Merging copies the
files of all shapes into one store, whose shapes are the same, byte for byte, as those of a run without shards.

A shard's store holds `shard.json`: `format`, `version`, `index` i (from 1), `count` n, `seed`, `selected` (number of
shapes of the whole run), `selection` (SHA-256 of their keys), and `shapes`, the keys of this shard. It is written
before the first shape, so that merging knows what is missing.
"""

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from latentsdf.config.sampling import SamplingConfig
from latentsdf.data.store import SampleStore, write_text
from latentsdf.data.zarr_layout import StorePath
from latentsdf.utils.console import track
from latentsdf.utils.errors import ConfigError, StoreError
from latentsdf.utils.json_files import parse_object
from latentsdf.utils.object_storage import locate
from preprocessing.report import Outcome, Report
from preprocessing.sources import Source

MARKER = "shard.json"
"""File in the store of a shard that says which shapes it is to hold."""

_FORMAT, _VERSION = "latentsdf-shard", 1
_NAMED = 3
"""Number of shapes or stores that an error message names."""


@dataclass(frozen=True)
class Shard:
    """One of `count` parts of a run."""

    index: int
    """Number of the shard, from 1 to `count`."""
    count: int
    """Number of shards."""

    def __post_init__(self) -> None:
        """Check the numbers; raises ConfigError if they are out of range."""
        if not 1 <= self.index <= self.count:
            raise ConfigError(
                f"shards are numbered from 1 to their count, got {self}; in a SLURM array: --array=1-N and "
                "--shard $SLURM_ARRAY_TASK_ID/N"
            )

    def __str__(self) -> str:
        return f"{self.index}/{self.count}"

    @classmethod
    def parse(cls, text: str) -> "Shard":
        """Parse `i/n`.

        Raises:
            ValueError: The text has another form, or the numbers are out of range.
        """
        if not re.fullmatch(r"\d{1,9}/\d{1,9}", text, re.ASCII):
            raise ValueError(f"expected i/n, such as 2/16, got '{text}'")
        index, _, count = text.partition("/")
        return cls(int(index), int(count))

    def select(self, sources: Sequence[Source]) -> list[Source]:
        """Return the shapes of this shard: every `count`-th of the selection, so that all shards take equally long.

        Raises:
            ConfigError: There are fewer shapes than shards.
        """
        if len(sources) < self.count:
            raise ConfigError(
                f"--shard {self}: only {len(sources)} shapes are selected, so that some shards would be empty; use at "
                f"most {len(sources)} shards"
            )
        return list(sources[self.index - 1 :: self.count])


@dataclass(frozen=True)
class ShardPlan:
    """Content of `shard.json`."""

    index: int
    """Number of the shard, from 1."""
    count: int
    """Number of shards."""
    seed: int
    """Seed of the run."""
    selected: int
    """Number of shapes of all shards."""
    selection: str
    """SHA-256 of their keys, hexadecimal."""
    shapes: list[str] = field(default_factory=list)
    """Keys of the shapes of this shard."""

    @property
    def name(self) -> str:
        """Name of the shard as in `--shard`."""
        return f"{self.index}/{self.count}"

    @classmethod
    def of(cls, shard: Shard, sources: Sequence[Source], seed: int) -> "ShardPlan":
        """Plan one shard of a selection.

        Args:
            shard: The shard.
            sources: The shapes of the whole run.
            seed: Seed of the run.
        """
        keys = [source.key for source in sources]
        digest = hashlib.sha256("\n".join(keys).encode()).hexdigest()
        mine = [source.key for source in shard.select(sources)]
        return cls(shard.index, shard.count, seed, len(keys), digest, mine)


def open_shard(out: StorePath, config: SamplingConfig, plan: ShardPlan | None) -> None:
    """Create or continue the store of a shard, or check that a store is not one.

    Args:
        out: Folder of the store.
        config: Sampling settings.
        plan: Plan of the shard; None for a run without shards.

    Raises:
        StoreError: The store belongs to another shard or another selection, or to a run without shards.
    """
    if plan is None:
        found = read_plan(out)
        if found is not None:
            raise StoreError(
                f"{out}: is shard {found.name} of a run; pass --shard {found.name} to continue it or name another --out"
            )
        return
    store = SampleStore.create(out, config)
    found = read_plan(out)
    if found == plan:
        return
    if found is None:
        if len(store):
            raise StoreError(
                f"{out}: holds shapes of a run without --shard; name another --out for shard {plan.name}, each shard "
                "needs its own"
            )
        text = json.dumps({"format": _FORMAT, "version": _VERSION, **asdict(plan)}, indent=1)
        write_text(store, MARKER, text)
        return
    if (found.index, found.count) != (plan.index, plan.count):
        raise StoreError(
            f"{out}: is shard {found.name}, expected shard {plan.name}; each shard needs a store of its own, such as "
            f"--out shapes.{plan.index}.zarr"
        )
    if found.seed != plan.seed:
        raise StoreError(f"{out}: shard {found.name} was started with --seed {found.seed}, not {plan.seed}")
    raise StoreError(
        f"{out}: shard {found.name} was started with another selection of shapes ({found.selected} then, "
        f"{plan.selected} now); repeat the command with the same --source, --split, --glob, --limit, --count and "
        "--augment, or name another --out"
    )


def read_plan(out: StorePath) -> ShardPlan | None:
    """Read the plan of a shard from its store; None if the store is not a shard.

    Raises:
        StoreError: The file is damaged.
    """
    path = out / MARKER
    try:
        content = parse_object(path.read_bytes())
        if (content.pop("format", None), content.pop("version", None)) != (_FORMAT, _VERSION):
            raise ValueError(f"expected format {_FORMAT}, version {_VERSION}")
        plan = ShardPlan(**content)
        numbers = (plan.index, plan.count, plan.seed, plan.selected)
        texts = (plan.selection, *plan.shapes) if isinstance(plan.shapes, list) else (None,)
        if not all(type(n) is int for n in numbers) or not all(isinstance(text, str) for text in texts):
            raise ValueError("values of another type")
        Shard(plan.index, plan.count)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (ValueError, TypeError) as error:
        raise StoreError(f"{path}: damaged ({error}); start this shard again in another --out") from error
    return plan


def merge(shards: Sequence[StorePath], out: StorePath, *, link: bool = False, partial: bool = False) -> Report:
    """Copy the shapes of all shards of a run into one store. A merge that was interrupted can be repeated.

    Args:
        shards: Stores of the shards, in any order.
        out: Store to create or extend.
        link: Make hard links instead of copies, which needs one file system.
        partial: Merge what there is even if shards or shapes are missing.

    Returns:
        Report of all shards together, which is also saved in the store. `failed` has the shapes that failed in their
        shard; as in a run without shards, the store lacks them.

    Raises:
        FileNotFoundError: There is no such store.
        StoreError: A store is not a shard, the shards do not belong to the same run, overlap or are incomplete, or
            `out` has other settings or a different shape of the same key.
    """
    out = locate(out)
    parts = [_Part.open(locate(path)) for path in shards]
    _require_one_run(parts, partial=partial)
    if any(_same_place(part.store.path, out) for part in parts):
        raise StoreError(f"{out}: is one of the shards; name another --out")
    if not partial:
        _require_complete(parts)
    open_shard(out, parts[0].store.config, None)
    merged = SampleStore.create(out, parts[0].store.config)
    existing, sampled = 0, {}
    with track("merging", total=sum(len(part.keys) for part in parts), unit="shape") as advance:
        for part in parts:
            for key in part.keys:
                if merged.copy_from(part.store, key, link=link):
                    sampled[key] = part.outcomes.get(key) or Outcome.of_stored(merged.info(key))
                else:
                    existing += 1
                advance()
    report = Report(out, merged.config, parts[0].plan.selected, existing, sampled=sampled)
    for part in parts:
        report.failed |= part.failed
    report.save()
    return report


@dataclass(frozen=True)
class _Part:
    """Store of a shard, with what its report says."""

    store: SampleStore
    plan: ShardPlan
    keys: list[str]
    """Complete shapes."""
    failed: dict[str, str]
    """Reasons of the failed ones."""
    outcomes: dict[str, Outcome]

    @classmethod
    def open(cls, path: StorePath) -> "_Part":
        store = SampleStore.open(path)
        plan = read_plan(path)
        if plan is None:
            raise StoreError(f"{path}: is not a shard: it was made without --shard, and has no {MARKER}")
        keys = store.keys()
        foreign = sorted(set(keys) - set(plan.shapes))
        if foreign:
            raise StoreError(
                f"{path}: has {_names(foreign)}, which shard {plan.name} does not contain; remove what was added"
            )
        previous = Report(path, store.config, 0, 0)
        outcomes = previous.load_previous()
        failed = {key: text for key, text in previous.load_failures().items() if key not in set(keys)}
        return cls(store, plan, keys, failed, outcomes)

    def missing(self) -> list[str]:
        """Shapes that the shard has not reached."""
        done = {*self.keys, *self.failed}
        return [key for key in self.plan.shapes if key not in done]


def _require_one_run(parts: Sequence[_Part], *, partial: bool) -> None:
    """Check that stores are the shards of one run, each of them once and, unless `partial`, all of them."""
    if not parts:
        raise ConfigError("expected the stores of the shards, got none")
    first = parts[0]
    places: dict[int, StorePath] = {}
    for part in parts:
        path, plan = part.store.path, part.plan
        if plan.count != first.plan.count:
            raise StoreError(f"{first.store.path}: is shard {first.plan.name}, but {path} is shard {plan.name}")
        if plan.index in places:
            raise StoreError(f"{places[plan.index]} and {path} are both shard {plan.name}; name each shard once")
        if part.store.config != first.store.config:
            old, new = asdict(first.store.config), asdict(part.store.config)
            changed = ", ".join(f"{name} ({old[name]} and {new[name]})" for name in old if old[name] != new[name])
            raise StoreError(f"{first.store.path} and {path} were made with different settings: {changed}")
        if plan.seed != first.plan.seed:
            seeds = f"{first.plan.seed} and {plan.seed}"
            raise StoreError(f"{first.store.path} and {path} were made with different seeds: {seeds}")
        if plan.selection != first.plan.selection:
            raise StoreError(
                f"{first.store.path} and {path} are shards of different selections of shapes "
                f"({first.plan.selected} and {plan.selected}); make them from the same --source with the same flags"
            )
        places[plan.index] = path
    missing = [f"{index}/{first.plan.count}" for index in range(1, first.plan.count + 1) if index not in places]
    if missing and not partial:
        subject = f"shard {missing[0]} is" if len(missing) == 1 else f"shards {_names(missing, 8)} are"
        raise StoreError(f"{subject} missing; name all shards, or pass --partial to merge the others")


def _require_complete(parts: Sequence[_Part]) -> None:
    unfinished = [
        f"{part.store.path}: shard {part.plan.name} lacks {len(missing)} of its {len(part.plan.shapes)} shapes "
        f"({_names(missing)})"
        for part in parts
        if (missing := part.missing())
    ]
    if unfinished:
        more = f"\nand {len(unfinished) - _NAMED} more shards" if len(unfinished) > _NAMED else ""
        raise StoreError(
            "\n".join(unfinished[:_NAMED])
            + f"{more}\nrepeat the commands of these shards, which continues them, or pass --partial"
        )


def _same_place(one: StorePath, other: StorePath) -> bool:
    return one.resolve() == other.resolve()


def _names(names: Sequence[str], limit: int = _NAMED) -> str:
    return ", ".join(names[:limit]) + (", ..." if len(names) > limit else "")


def summary(report: Report, shards: int) -> dict[str, Any]:
    """Return the numbers of a merge for messages and JSON."""
    return {
        "store": str(report.store),
        "shards": shards,
        "merged": len(report.sampled),
        "present": report.existing,
        "failed": report.failed,
    }
