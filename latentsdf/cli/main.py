"""Reads the words of one command, runs its verb, and turns what happened into an exit code."""

import argparse
import json
import sys
from collections.abc import Sequence
from typing import Any

import yaml

from latentsdf.cli import (
    demo,
    evaluate,
    export,
    extract,
    import_,
    info,
    interpolate,
    invert,
    reconstruct,
    render,
    retrieve,
    sample,
    train,
)
from latentsdf.cli.parser import EXAMPLES
from latentsdf.utils.console import console, show_error
from latentsdf.utils.errors import ConfigError, LatentSDFError

_VERBS = (
    demo,
    train,
    extract,
    invert,
    interpolate,
    sample,
    retrieve,
    render,
    evaluate,
    reconstruct,
    export,
    import_,
    info,
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code.

    0 done, 1 nothing could be measured, fitted or decoded, 2 user error, 130 interrupted.
    """
    parser = build_parser()
    arguments, rest = parser.parse_known_args(argv)
    try:
        arguments.overrides = _overrides(rest) if arguments.accepts_overrides else _reject(rest)
        result = arguments.run(arguments)
    except (LatentSDFError, OSError) as error:
        show_error(error)
        return 2
    except KeyboardInterrupt:
        console.print(
            "interrupted; what was written so far is kept, run it again to continue (train, reconstruct: --resume)"
        )
        return 130
    if arguments.json and result is not None:
        sys.stdout.write(json.dumps(result, indent=1) + "\n")
    code: int = arguments.exit_code(result)
    return code


def build_parser() -> argparse.ArgumentParser:
    """All verbs and their flags."""
    parser = argparse.ArgumentParser(
        prog="latentsdf",
        description="Learn one latent code per 3D shape, and use the space of shapes.",
        epilog=f"a first day with real data:\n{EXAMPLES}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    verbs = parser.add_subparsers(required=True, metavar="COMMAND")
    for verb in _VERBS:
        verb.add(verbs)
    return parser


def _overrides(rest: list[str]) -> dict[str, Any]:
    """`--section.key value` and `--section.key=value` pairs; a key at the top has no section."""
    overrides: dict[str, Any] = {}
    words = [word for item in rest for word in (item.split("=", 1) if item.startswith("--") else [item])]
    while words:
        name = words.pop(0)
        if not name.startswith("--") or not words:
            raise ConfigError(f"unknown argument {name}; settings are given as --section.key VALUE")
        value = words.pop(0)
        try:
            overrides[name[2:]] = yaml.safe_load(value)
        except yaml.YAMLError as error:
            raise ConfigError(f"{name}: '{value}' is no value; lists are written as '[1.0, 0.5]'") from error
    return overrides


def _reject(rest: list[str]) -> dict[str, Any]:
    if rest:
        raise ConfigError(f"unknown argument {rest[0]}; see --help")
    return {}
