"""Entry point of `latentsdf`: selects and runs a command, and converts errors to exit codes.

What only commands need is imported when one runs: the help of the program takes a tenth of the time of that.
"""

import json
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Annotated, Any, Union

import tyro

from latentsdf.cli.overview import COMMANDS, print_help, summary
from latentsdf.utils.errors import ConfigError, LatentSDFError

if TYPE_CHECKING:
    from latentsdf.cli.parser import Command


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code.

    Args:
        argv: Arguments without the program name; those of the process if None.

    Returns:
        0 for success, 1 if no shape could be evaluated, fitted or extracted, 2 for an error, 130 if interrupted, 141 if
        the reader of standard output, such as `head`, has ended.
    """
    args = list(sys.argv[1:] if argv is None else argv)
    try:
        try:
            return _run(args)
        finally:
            sys.stdout.flush()
    except BrokenPipeError:
        # The interpreter flushes standard output once more at exit and would report the same error.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except (LatentSDFError, OSError) as error:
        from latentsdf.utils.console import show_error

        show_error(error)
        return 2
    except KeyboardInterrupt:
        from latentsdf.utils.console import console

        console.print(
            "interrupted; files written so far are kept; run the command again to resume "
            "(train, extract --all, reconstruct: with --resume)"
        )
        return 130


def command_class(name: str) -> "type[Command]":
    """Import and return the class of a command."""
    module, _, class_name = COMMANDS[name].partition(":")
    command: type[Command] = getattr(import_module(f"latentsdf.cli.{module}"), class_name)
    return command


def _run(args: list[str]) -> int:
    if not args or args[0] in ("-h", "--help"):
        print_help()
        return 0
    from latentsdf.cli.parser import parse, print_completion, suggestion

    match args:
        case ["--version", *_]:
            from latentsdf import __version__

            sys.stdout.write(f"latentsdf {__version__}\n")
            return 0
        case ["--print-completion" | "--tyro-print-completion", *shells]:
            print_completion(_all_commands(), shells, "latentsdf")
            return 0
        case [name, *rest] if name in COMMANDS:
            return _run_command(parse(command_class(name), rest, f"latentsdf {name}"))
        case [token, *_] if token.startswith("-"):
            advice = suggestion(token, ("--help", "--version", "--print-completion"))
            raise ConfigError(f"unknown argument {token}{advice or '; see latentsdf --help'}")
    if args[0] == "preprocess":
        raise ConfigError("unknown command 'preprocess'; the program is latentsdf-preprocess")
    advice = suggestion(args[0], [*COMMANDS, "--help", "--version"])
    raise ConfigError(f"unknown command '{args[0]}'{advice or '; see latentsdf --help'}")


def _run_command(command: "Command") -> int:
    from latentsdf.cli.common_args import remove_empty_output_folders
    from latentsdf.cli.parser import show_next_step

    try:
        result = command.run()
    finally:
        remove_empty_output_folders()
    if command.json and result is not None:
        sys.stdout.write(json.dumps(result, indent=1) + "\n")
    code = command.exit_code(result)
    if code == 0:
        show_next_step(command.next_step(result))
    return code


def _all_commands() -> Any:
    """Union of all commands, as subcommands."""
    return Union[tuple(_subcommand(name) for name in COMMANDS)]  # noqa: UP007


def _subcommand(name: str) -> Any:
    return Annotated[command_class(name), tyro.conf.subcommand(name, description=summary(name))]
