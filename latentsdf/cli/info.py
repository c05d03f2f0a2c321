"""What a store or a checkpoint holds."""

import argparse
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.table import Table

from latentsdf.cli.parser import Verbs, verb
from latentsdf.utils.console import console, show_note, track
from latentsdf.utils.errors import ConfigError, StoreError


def add(verbs: Verbs) -> None:
    """Teach the parser this verb."""
    parser = verb(verbs, "info", run, "what is inside a sample store or a checkpoint")
    parser.add_argument("path", type=Path, help="a sample store, or the folder of a space")
    parser.add_argument("--verify", action="store_true", help="read every array of a store and check it")


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    path: Path = arguments.path
    if not path.is_dir():
        raise FileNotFoundError(f"{path}: no such folder; info reads a sample store or a checkpoint")
    if (path / "model.safetensors").is_file() or (path / "config.yaml").is_file():
        if arguments.verify:
            raise ConfigError(f"{path}: --verify reads every shape of a sample store, and this is no store")
        return describe_checkpoint(path)
    return describe_store(path, verify=arguments.verify)


def describe_store(path: Path, *, verify: bool) -> dict[str, Any]:
    """Print what a sample store holds; with `verify` read every shape against its checksums."""
    from latentsdf.data.store import SampleStore

    store = SampleStore.open(path)
    keys = store.keys()
    table = Table(title=f"{path}: {len(keys)} shapes, band {store.config.band_voxels} of {store.config.resolution}^3")
    for column in ("shape", "band samples", "bytes", "area", "closed", "sign", "confidence"):
        table.add_column(column, justify="left" if column in ("shape", "sign") else "right")
    shapes, damaged = {}, {}
    with track("reading", total=len(keys), unit="shape") as advance:
        for key in keys:
            try:
                info = store.info(key)
                shapes[key] = asdict(info)
                row = (f"{info.band_samples:,}", f"{info.stored_bytes:,}", f"{info.area:.3f}", str(info.watertight))
                table.add_row(key, *row, info.sign.method, f"{info.sign.confidence:.3f}")
                if verify:
                    store.verify(key)
            except StoreError as error:
                damaged[key] = str(error)
            advance()
    console.print(table)
    for reason in damaged.values():
        show_note("damaged", reason)
    if damaged:
        raise StoreError(f"{path}: {len(damaged)} of {len(keys)} shapes are damaged, named above")
    return {"store": str(path), "sampling": asdict(store.config), "shapes": shapes, "verified": verify}


def describe_checkpoint(path: Path) -> dict[str, Any]:
    """Print what a checkpoint holds."""
    from latentsdf.training import checkpoint

    loaded = checkpoint.load(path)
    lines = checkpoint.read_metrics(path)
    last = lines[-1] if lines else {}
    values = sum(p.numel() for p in loaded.model.parameters())
    console.print(
        f"{path}: preset {loaded.config.preset}, {len(loaded.keys)} shapes, codes of {loaded.codes.shape[1]}, "
        f"{values:,} values, {last.get('step', 0):,} steps in {last.get('seconds', 0):.0f} s"
    )
    return {"checkpoint": str(path), "config": asdict(loaded.config), "shapes": loaded.keys, "last": last}
