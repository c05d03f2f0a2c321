"""Docstrings of the library as reStructuredText.

The docstrings are plain text with Markdown-like backticks. Characters that reStructuredText would interpret are
escaped: bars (|grad s|), trailing underscores and asterisks.
"""

import re
from typing import Any

from sphinx.application import Sphinx

_last: list[str] = []
"""The docstring that is being processed, before napoleon."""
_CODE = re.compile(r"(``.+?``|`[^`]+`)")


def setup(app: Sphinx) -> dict[str, Any]:
    """Process docstrings before napoleon reads them."""
    app.connect("autodoc-process-docstring", _process, priority=100)
    app.connect("autodoc-process-docstring", _restore_attribute, priority=900)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}


def _process(_app: Sphinx, _what: str, _name: str, _obj: object, _options: object, lines: list[str]) -> None:
    lines[:] = [line if line.lstrip().startswith((">>>", "...")) else escape(line) for line in lines]
    _last[:] = lines


def _restore_attribute(_app: Sphinx, what: str, _name: str, _obj: object, _options: object, lines: list[str]) -> None:
    """Undo what napoleon does to attributes: it takes the text before a colon in the first line for a type."""
    if what == "attribute" and _last:
        lines[:] = _last


def escape(line: str) -> str:
    """Escape what is no markup in a line, outside of code."""
    parts = _CODE.split(line)
    return "".join(part if part.startswith("`") else _escape(part) for part in parts)


def _escape(text: str) -> str:
    argument = re.match(r"\s+\*{1,2}\w+:", text)  # napoleon needs the stars of *args and **options
    start = argument.end() if argument else 0
    return text[:start] + re.sub(r"([|*])|(?<=\w)(_)(?!\w)", lambda found: "\\" + found.group(0), text[start:])
