"""`latentsdf info`: describe a sample store or a trained space."""

from dataclasses import asdict
from pathlib import Path
from typing import Any, ClassVar

import tyro
from rich.table import Table
from rich.text import Text

from latentsdf.cli.common_args import training_line
from latentsdf.cli.parser import Command, command, command_line
from latentsdf.utils.console import console, show_note, track
from latentsdf.utils.errors import StoreError
from latentsdf.utils.object_storage import ObjectPath, locate


@command
class Info(Command):
    """Describe a sample store or a trained space."""

    examples: ClassVar[tuple[str, ...]] = (
        "latentsdf info chairs.zarr --verify",
        "latentsdf info checkpoints/chairs --json",
    )

    path: tyro.conf.Positional[Path]
    """Sample store, or folder or name of a trained space."""
    verify: bool = False
    """Store: read every array, check its checksums, and check that its values are possible. Space: compare every file
    with its checksum."""

    def run(self) -> dict[str, Any]:
        """Print a description; returns all of its data."""
        from latentsdf.sharing.locations import locate_space

        store = locate(self.path)
        if isinstance(store, ObjectPath):
            return describe_store(store, verify=self.verify)
        path = locate_space(self.path)
        if not path.is_dir():
            raise FileNotFoundError(f"{path}: no such folder; info reads a sample store or a checkpoint")
        if (path / "model.safetensors").is_file() or (path / "config.yaml").is_file():
            return describe_checkpoint(path, verify=self.verify)
        return describe_store(path, verify=self.verify)

    def next_step(self, result: dict[str, Any] | None) -> str:
        """Return how to train on a store, or how to extract the shapes of a space."""
        if result is not None and "store" in result:
            return training_line(self.path)
        return command_line("latentsdf", "extract", self.path, "--all", "--out", "meshes/")


def describe_store(path: Path | ObjectPath, *, verify: bool) -> dict[str, Any]:
    """Print a table of the shapes in a sample store.

    Args:
        path: The store.
        verify: Read every array, and check its checksums and values.

    Returns:
        Sampling settings and information about each shape.

    Raises:
        StoreError: A shape is damaged. All damaged shapes are listed on the console first.
    """
    from latentsdf.data.sampling_faults import known_fault, note_known_faults
    from latentsdf.data.store import SampleStore

    store = SampleStore.open(path)
    keys = store.keys()
    table = Table(title=f"{path}: {len(keys)} shapes, band {store.config.band_voxels} of {store.config.resolution}^3")
    for column in ("shape", "band samples", "bytes", "area", "closed", "sign", "confidence"):
        table.add_column(column, justify="left" if column in ("shape", "sign") else "right")
    shapes, damaged, faults = {}, {}, {}
    with track("reading", total=len(keys), unit="shape") as advance:
        for key in keys:
            try:
                info = store.info(key)
                shapes[key] = asdict(info)
                row = (f"{info.band_samples:,}", f"{info.stored_bytes:,}", f"{info.area:.3f}", str(info.watertight))
                table.add_row(key, *row, info.sign.method, f"{info.sign.confidence:.3f}")
                if fault := known_fault(info):
                    faults[key] = fault
                if verify:
                    store.verify(key)
            except StoreError as error:
                damaged[key] = str(error)
            advance()
    console.print(table)
    note_known_faults(path, faults)
    for reason in damaged.values():
        show_note("damaged", reason)
    if damaged:
        raise StoreError(f"{path}: {len(damaged)} of {len(keys)} shapes are damaged; they are listed above")
    return {
        "store": str(path),
        "sampling": asdict(store.config),
        "shapes": shapes,
        "known_faults": faults,
        "verified": verify,
    }


def describe_checkpoint(path: Path, *, verify: bool) -> dict[str, Any]:
    """Print a summary of a trained space.

    Args:
        path: Folder of the space.
        verify: Compare all of its files with their checksums, also those that loading does not read.

    Returns:
        Its configuration, the keys of its shapes, its last metrics and the files that were compared.

    Raises:
        CheckpointError: A file is damaged.
    """
    from latentsdf.sharing.pack import measure_size, rounding_of, training_of
    from latentsdf.training import checkpoint

    loaded = checkpoint.load(path)
    details = dict(loaded.details or {})
    verified = checkpoint.verify_files(path) if verify else []
    training = training_of(loaded, path)
    lines = checkpoint.read_metrics(path)
    parameters = sum(p.numel() for p in loaded.model.parameters())
    kept = f"{len(loaded.keys)} shapes" + (f" of {training['shapes']}" if training["shapes"] > len(loaded.keys) else "")
    size = measure_size(path)
    console.print(
        f"{path}: preset {loaded.config.preset}, {kept}, codes of length {loaded.codes.shape[1]}, "
        f"{parameters:,} parameters, {training['steps']:,} steps in {training['seconds']:.0f} s"
        + (f"; {len(verified)} files verified" if verified else "")
    )
    console.print(f"size {size}")
    for text in filter(None, (rounding_of(details), *(details.get(name) for name in ("license", "description")))):
        # The texts may come from an untrusted file.
        printable = "".join(letter if letter.isprintable() else " " for letter in f"{text!s:.1000}")
        console.print(Text(printable), soft_wrap=True)
    return {
        "checkpoint": str(path),
        "config": asdict(loaded.config),
        "shapes": loaded.keys,
        "last": lines[-1] if lines else {},
        "training": training,
        "bytes": asdict(size) | {"total": size.total},
        "details": details,
        "verified": verified,
    }
