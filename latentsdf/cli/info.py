"""What a store or a checkpoint holds."""

import argparse
from pathlib import Path
from typing import Any

from latentsdf.cli.parser import Verbs, verb
from latentsdf.utils.errors import ConfigError


def add(verbs: Verbs) -> None:
    """Teach the parser this verb."""
    parser = verb(verbs, "info", run, "what is inside a sample store or a checkpoint")
    parser.add_argument("path", type=Path, help="a sample store, or the folder of a space")
    parser.add_argument("--verify", action="store_true", help="read every array of a store and check it")


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    from latentsdf.evaluation.html_report import describe_checkpoint, describe_store

    path: Path = arguments.path
    if not path.is_dir():
        raise FileNotFoundError(f"{path}: no such folder; info reads a sample store or a checkpoint")
    if (path / "model.safetensors").is_file() or (path / "config.yaml").is_file():
        if arguments.verify:
            raise ConfigError(f"{path}: --verify reads every shape of a sample store, and this is no store")
        return describe_checkpoint(path)
    return describe_store(path, verify=arguments.verify)
