"""What every verb is made of."""

import argparse
from collections.abc import Callable
from typing import Any, TypeAlias

Verbs: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"
Run: TypeAlias = Callable[[argparse.Namespace], dict[str, Any] | None]


def verb(verbs: Verbs, name: str, run: Run, help: str) -> argparse.ArgumentParser:
    """A parser whose verb is done by `run`, which returns what --json prints, or None."""
    parser = verbs.add_parser(name, help=help, description=help)
    parser.set_defaults(run=run, accepts_overrides=False, exit_code=lambda _: 0)
    parser.add_argument("--json", action="store_true", help="print the result as JSON on standard output")
    return parser
