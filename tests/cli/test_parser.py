"""Parsing of command dataclasses."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, ClassVar

import pytest
import tyro

from latentsdf.cli.arg_types import OptionalPath, integer, string_list
from latentsdf.cli.parser import Command, command, flags_of, is_help_requested, parse, print_completion, suggestion
from latentsdf.utils.errors import ConfigError

_ONE = tyro.conf.create_mutex_group(required=False)


@command
class Copy(Command):
    """Copy files.

    A second paragraph.
    """

    examples: ClassVar[tuple[str, ...]] = ("copy a.txt --to b.txt",)
    renamed: ClassVar[dict[str, str]] = {"--target": "--to"}

    source: tyro.conf.Positional[Path]
    """File to copy, with a description that is longer than one line of the source
    text."""
    to: Path
    """New file."""
    names: Annotated[tuple[str, ...] | None, string_list("NAME"), _ONE] = None
    """Names."""
    log_file: Annotated[OptionalPath, _ONE] = None
    """File."""
    count: Annotated[int, integer(1), tyro.conf.arg(aliases=("-n",))] = 2
    """Copies."""
    quick: bool = False
    """Do not sync."""


def test_values_defaults_and_switches() -> None:
    """Values are converted; everything else has its default."""
    made = parse(Copy, ["a", "--to", "b", "-n", "3", "--quick"], "copy")
    assert made == Copy(source=Path("a"), to=Path("b"), count=3, quick=True)
    assert not made.json and made.names is None and made.log_file is None


def test_flags() -> None:
    """Every flag is listed, with whether it takes several values; positional arguments are not."""
    assert flags_of(Copy) == {
        "--json": False,
        "--to": False,
        "--names": True,
        "--log-file": False,
        "--count": False,
        "-n": False,
        "--quick": False,
    }


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["a"], "the following arguments are required: --to; see copy --help"),
        (["--to", "b"], "the following arguments are required: SOURCE"),
        (["a", "--to", "b", "-n", "0"], "expected an integer >= 1, got '0'"),
        (["a", "--to", "b", "--names", "x", "--log-file", "y"], "--log-file: not allowed with argument --names"),
        (["a", "--to"], "--to: expected a value"),
    ],
)
def test_wrong_values(args: list[str], message: str, messages: Callable[[], str]) -> None:
    """A wrong command line prints one line and exits with 2."""
    with pytest.raises(SystemExit, match="2"):
        parse(Copy, args, "copy")
    text = messages()
    assert message in text and text.startswith("error: ")


def test_unknown_arguments() -> None:
    """Unknown arguments are a ConfigError with the closest known flag."""
    with pytest.raises(ConfigError, match=r"unknown argument --quikc; did you mean --quick\?"):
        parse(Copy, ["a", "--to", "b", "--quikc"], "copy")
    with pytest.raises(ConfigError, match="unknown argument c; see copy --help"):
        parse(Copy, ["a", "c", "--to", "b"], "copy")


def test_help(capsys: pytest.CaptureFixture[str]) -> None:
    """The help has the summary, unwrapped attribute docstrings, and the examples at its end."""
    with pytest.raises(SystemExit, match="0"):
        parse(Copy, ["--help"], "copy")
    text = capsys.readouterr().out
    assert text.endswith("examples:\n  copy a.txt --to b.txt\n")
    shown = " ".join(text.replace("│", " ").split())
    assert "longer than one line of the source text. (required)" in shown and "Do not sync. -" not in shown
    assert "Copies. (default: 2)" in shown and "(default: False)" not in shown and "None" not in shown


def test_help_flag_after_separator() -> None:
    """Words after `--` are values."""
    assert (
        is_help_requested(["a", "-h"])
        and is_help_requested(["--help"])
        and not is_help_requested(["a", "--", "--help"])
    )


def test_renamed_flag(messages: Callable[[], str]) -> None:
    """A flag of an earlier version is accepted with a note."""
    assert parse(Copy, ["a", "--target", "b"], "copy").to == Path("b")
    assert messages() == "note --target is now --to"


def test_similarity_of_suggestions() -> None:
    """Only similar words are suggested."""
    assert suggestion("--resolutoin=3", ["--resolution"]) == "; did you mean --resolution?"
    assert suggestion("--x", ["--resolution"]) == ""


def test_completion_of_unknown_shell() -> None:
    """Only shells with a completion generator are accepted."""
    for shells in ([], ["tcsh"], ["bash", "zsh"]):
        with pytest.raises(ConfigError, match="expected one of bash, zsh, fish"):
            print_completion(Copy, shells, "copy")
