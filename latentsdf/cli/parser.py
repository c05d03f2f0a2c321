"""Command lines as frozen dataclasses, parsed by tyro.

A command subclasses `Command`: its fields are the arguments, their attribute docstrings the help texts, the class
docstring the summary, and `run` does the work. Command modules import torch inside `run` only, so that `--help` and
shell completion stay fast.
"""

import contextlib
import dataclasses
import difflib
import os
import shlex
import subprocess
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, NoReturn, TypeVar, dataclass_transform

import tyro
from tyro import _errors  # Error events; private, hence tyro's upper bound in pyproject.toml.
from tyro.constructors import PrimitiveConstructorSpec

from latentsdf.cli import legacy_flags
from latentsdf.cli.help_style import CONFIG, print_examples
from latentsdf.utils.attribute_docs import attribute_docs
from latentsdf.utils.console import show_error, show_note
from latentsdf.utils.errors import ConfigError

SHELLS = ("bash", "zsh", "fish")
"""Shells for which a completion script can be printed."""

C = TypeVar("C", bound="Command")
T = TypeVar("T")


@dataclass_transform(frozen_default=True, kw_only_default=True)
def command(cls: type[T]) -> type[T]:
    """Make a class a frozen keyword-only dataclass whose attribute docstrings are the help texts of its fields."""
    docs = attribute_docs(cls)
    for name, kind in list(cls.__annotations__.items()):
        if name not in docs or getattr(kind, "__origin__", None) is ClassVar:
            continue
        # Switches are off by default; their help does not show it.
        hint = "" if kind is bool or getattr(kind, "__origin__", None) is bool else None
        cls.__annotations__[name] = Annotated[kind, tyro.conf.arg(help=docs[name], help_behavior_hint=hint)]
    return dataclass(frozen=True, kw_only=True)(cls)


@command
class Command:
    """Base class of the commands."""

    examples: ClassVar[tuple[str, ...]] = ()
    """Command lines printed at the end of `--help`."""
    renamed: ClassVar[Mapping[str, str]] = {}
    """Flags of earlier versions, mapped to their current names."""

    json: bool = False
    """Print the result as JSON on standard output."""

    def run(self) -> dict[str, Any] | None:
        """Run the command.

        Returns:
            Result that `--json` prints; None to print nothing.
        """
        raise NotImplementedError

    def exit_code(self, result: dict[str, Any] | None) -> int:  # noqa: ARG002
        """Return the exit code for a result of `run`."""
        return 0

    def next_step(self, result: dict[str, Any] | None) -> str:  # noqa: ARG002
        """Return what to do after a success, in one line; '' for nothing. Printed on standard error.

        Args:
            result: Result of `run`.
        """
        return ""

    @classmethod
    def migrate_setting(cls, flag: str, args: Sequence[str]) -> dict[str, list[str]] | None:  # noqa: ARG003
        """Convert a setting of an earlier version to current flags.

        Args:
            flag: Flag of the setting, such as `--loss.divergence`.
            args: Command-line arguments that follow the flag.

        Returns:
            Current flags, with their values; None if the flag is not one of an earlier version.
        """
        return None

    @classmethod
    def defaults(cls: type[C], args: Sequence[str]) -> C | None:  # noqa: ARG003
        """Return an instance with the defaults for `--help` and `--print-config`; None for the defaults of the class.

        Args:
            args: Command-line arguments, in which `--config`, for example, selects other defaults.
        """
        return None


def parse(command: type[C], args: Sequence[str], prog: str) -> C:
    """Parse a command line.

    Args:
        command: Class of the command.
        args: Command-line arguments, without the name of the program and the command.
        prog: Name of the program and the command, for messages.

    Returns:
        The command with its arguments.

    Raises:
        ConfigError: The command does not have an argument that is given.
        SystemExit: With code 2 and a one-line message for an invalid value, a missing argument or mutually exclusive
            arguments; with code 0 after the help for `--help`.
    """
    flags = flags_of(command)
    args = legacy_flags.replace_legacy_flags(args, command.renamed, flags, command.migrate_setting)
    default = command.defaults(args) if is_help_requested(args) or "--print-config" in args else None
    given: dict[str, Any] = {} if default is None else {"default": default}
    try:
        with _errors.on_parse_error(lambda event: _report(event, flags, args, prog)):
            return tyro.cli(command, args=args, prog=prog, config=CONFIG, **given)
    except SystemExit as stop:
        if is_help_requested(args) and not stop.code:
            print_examples(command.examples)
        raise


def command_line(*words: object) -> str:
    """Join words to a command line, quoted for the shell of this system."""
    texts = [str(word) for word in words]
    return subprocess.list2cmdline(texts) if os.name == "nt" else shlex.join(texts)


def show_next_step(text: str) -> None:
    """Print what to do next, if there is something."""
    if text:
        show_note("next:", text)


def print_completion(commands: Any, shells: Sequence[str], prog: str) -> None:
    """Print a shell completion script.

    Args:
        commands: A command, or a union of commands.
        shells: Arguments after `--print-completion`: one of `SHELLS`.
        prog: Name of the program.

    Raises:
        ConfigError: The arguments are not the name of one shell.
    """
    if len(shells) != 1 or shells[0] not in SHELLS:
        raise ConfigError(f"--print-completion: expected one of {', '.join(SHELLS)}, got '{' '.join(shells)}'")
    with contextlib.suppress(SystemExit):
        tyro.cli(commands, args=["--tyro-print-completion", shells[0]], prog=prog, config=CONFIG)


def is_help_requested(args: Sequence[str]) -> bool:
    """Return True if `-h` or `--help` is given before any `--`."""
    args = list(args)
    flags = args[: args.index("--")] if "--" in args else args
    return "-h" in flags or "--help" in flags


def flags_of(command: type, prefix: str = "") -> dict[str, bool]:
    """Return the flags of a command, each with True if it takes several values."""
    flags: dict[str, bool] = {}
    hints = typing.get_type_hints(command, include_extras=True)
    for field in dataclasses.fields(command):
        extras = getattr(hints[field.name], "__metadata__", ())
        base = typing.get_args(hints[field.name])[0] if extras else hints[field.name]
        if tyro.conf.Positional in extras:
            continue
        name = field.name.replace("_", "-")
        if dataclasses.is_dataclass(base):
            inner = prefix if any(getattr(extra, "name", None) == "" for extra in extras) else f"{prefix}{name}."
            flags |= flags_of(typing.cast(type, base), inner)
            continue
        several = any(isinstance(extra, PrimitiveConstructorSpec) and extra.nargs == "*" for extra in extras)
        aliases = [alias for extra in extras for alias in getattr(extra, "aliases", None) or ()]
        flags |= dict.fromkeys([f"--{prefix}{name}", *aliases], several)
    return flags


def suggestion(token: str, known: Sequence[str]) -> str:
    """Return '; did you mean ...?' for a misspelled argument, or an empty string if no known argument is similar."""
    close = difflib.get_close_matches(token.partition("=")[0], known, n=1, cutoff=0.6)
    return f"; did you mean {close[0]}?" if close else ""


def _report(event: _errors.ParseErrorEvent, flags: Mapping[str, bool], args: Sequence[str], prog: str) -> NoReturn:
    """Report a parse error in one line."""
    unknown: list[str] = []
    if isinstance(event, _errors.UnrecognizedArgs):
        unknown = event.tokens
    elif isinstance(event, _errors.MissingArgs | _errors.BadValue):
        # A misspelled flag is the cause of a missing one, or of the missing value of an argument before it.
        words = args[: list(args).index("--")] if "--" in args else args
        known = {*flags, "--help"}
        unknown = [word for word in words if word.startswith("--") and _flag(word) not in known]
    if unknown:
        advice = suggestion(unknown[0], [*flags, "--help"]) if unknown[0].startswith("-") else ""
        raise ConfigError(f"unknown argument {unknown[0]}{advice or f'; see {prog} --help'}")
    message = next((text(event) for kind, text in _MESSAGES.items() if isinstance(event, kind)), type(event).__name__)
    show_error(ConfigError(f"{message}; see {prog} --help"))
    raise SystemExit(2)


def _flag(word: str) -> str:
    """Name of the flag in a word of the command line, without a value after "="."""
    return word.partition("=")[0].replace("_", "-")


def _missing(event: _errors.MissingArgs) -> str:
    names = ", ".join(_name(missing.arg) for missing in event.missing_arguments)
    return f"the following arguments are required: {names}"


def _missing_group(event: _errors.MissingMutexGroup) -> str:
    return f"one of {', '.join(_name(member.arg) for member in event.groups[0])} is required"


def _bad_value(event: _errors.BadValue) -> str:
    return f"{_name(event.argument)}: expected a value"


def _bad_choice(event: _errors.InvalidChoice) -> str:
    # For an optional argument, tyro lists a set of choices with `None`; the metavar keeps the declared order.
    metavar = event.argument.lowered.metavar or ""
    choices = sorted(set(event.choices) - {"None"}, key=metavar.find)
    return f"{_name(event.argument)}: expected one of {', '.join(choices)}, got '{event.value}'"


def _bad_text(event: _errors.InstantiationFailure) -> str:
    return event.message if event.argument is None else f"{_name(event.argument)}: {event.message}"


def _conflict(event: _errors.MutexConflict) -> str:
    return f"{event.second_token}: not allowed with argument {event.first_token}"


_MESSAGES: dict[type, Callable[[Any], str]] = {
    _errors.MissingArgs: _missing,
    _errors.MissingMutexGroup: _missing_group,
    _errors.BadValue: _bad_value,
    _errors.InvalidChoice: _bad_choice,
    _errors.InstantiationFailure: _bad_text,
    _errors.MutexConflict: _conflict,
}


def _name(argument: Any) -> str:
    """Name of an argument in messages: its flag, or the metavar of a positional argument."""
    name: str = argument.lowered.metavar if argument.is_positional() else argument.lowered.name_or_flags[-1]
    return name
