"""Command lines of earlier versions."""

from collections.abc import Callable

import pytest

from latentsdf.cli.legacy_flags import option, replace_legacy_flags

FLAGS = {"--id": True, "--out": False, "--train.lr-grid": False, "--model.width": False, "-k": False}
RENAMED = {"--ids": "--id", "--network": "--model"}


@pytest.mark.parametrize(
    ("args", "expected", "note"),
    [
        ("sp --id a b --out x", "sp --id a b --out x", ""),
        ("sp --ids a b", "sp --id a b", "note --ids is now --id"),
        ("--train.lr_grid 3", "--train.lr-grid 3", "note --train.lr_grid is now --train.lr-grid"),
        ("--train.lr_grid=3", "--train.lr-grid=3", "note --train.lr_grid is now --train.lr-grid"),
        ("--network.width 3", "--model.width 3", "note --network.width is now --model.width"),
        ("--id a --id b --out x", "--id a b --out x", ""),
        ("--id a store out --id b --id c", "--id a b c store out", ""),
        ("--id --id b", "--id b", ""),
        ("--id=a --id=b", "--id=a b", ""),
        ("-k 3 --out x --out y", "-k 3 --out x --out y", ""),
        ("--out x -- --ids --a_b", "--out x -- --ids --a_b", ""),
        ("--unknown_flag 3", "--unknown-flag 3", "note --unknown_flag is now --unknown-flag"),
    ],
)
def test_replacement_of_legacy_flags(args: str, expected: str, note: str, messages: Callable[[], str]) -> None:
    """Renamed flags, underscores and repeated flags are rewritten."""
    assert " ".join(replace_legacy_flags(args.split(), RENAMED, FLAGS)) == expected
    assert messages() == note


def test_option() -> None:
    """The value of a flag can be read before parsing, in both notations."""
    assert option(["a", "--config", "x", "--out", "y"], "--config") == "x"
    assert option(["--config=x=1"], "--config") == "x=1"
    assert option(["--config"], "--config") is None and option(["--", "--config", "x"], "--config") is None
