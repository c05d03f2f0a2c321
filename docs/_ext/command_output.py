"""Directives that show what a command prints, run while the pages are built, so that the text cannot be outdated.

    ```{command-output} latentsdf config latentsdf_cpu
    ```

    ```{command-reference}
    ```

`command-output` shows the output of one command, `command-reference` a section for each command with its help.
"""

import contextlib
import io
import os
import shlex
from collections.abc import Iterator
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.errors import ExtensionError
from sphinx.util.docutils import SphinxDirective

_COLUMNS = "100"


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the directives."""
    app.add_directive("command-output", CommandOutput)
    app.add_directive("command-reference", CommandReference)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}


class CommandOutput(SphinxDirective):
    """Show the output of the command that is the argument."""

    required_arguments = 1
    final_argument_whitespace = True

    def run(self) -> list[nodes.Node]:
        """Return a literal block."""
        language = "yaml" if " config " in self.arguments[0] or "--print-config" in self.arguments[0] else "text"
        return [_block(run_command(self.arguments[0]), language)]


class CommandReference(SphinxDirective):
    """Show the help of every command in a section of its own."""

    def run(self) -> list[nodes.Node]:
        """Return a section per command."""
        from latentsdf.cli.main import COMMANDS

        offline = ["latentsdf-preprocess", "latentsdf-preprocess merge"]
        return [self._section(name) for name in [*(f"latentsdf {name}" for name in COMMANDS), *offline]]

    def _section(self, command: str) -> nodes.section:
        section = nodes.section(ids=[nodes.make_id(command)], names=[command])
        section += nodes.title("", "", nodes.literal("", command))
        section += _block(run_command(f"{command} --help"), "text")
        self.state.document.note_explicit_target(section)
        return section


def _block(text: str, language: str) -> nodes.container:
    block = nodes.literal_block(text, text, language=language)
    return nodes.container("", block, classes=["command-output"])


def run_command(line: str) -> str:
    """Run a command line of this library in this process and return what it prints.

    Raises:
        ExtensionError: It fails.
    """
    from latentsdf import cli
    from preprocessing.__main__ import main as preprocess

    program, *arguments = shlex.split(line)
    main = {"latentsdf": cli.main, "latentsdf-preprocess": preprocess}[program]
    output = io.StringIO()
    with _environment(COLUMNS=_COLUMNS, NO_COLOR="1"), contextlib.redirect_stdout(output):
        try:
            code: Any = main(arguments)
        except SystemExit as stop:
            code = stop.code
    if code:
        raise ExtensionError(f"`{line}` ended with exit code {code}")
    return "\n".join(text.rstrip() for text in output.getvalue().strip("\n").splitlines())


@contextlib.contextmanager
def _environment(**variables: str) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
