"""Directive that shows the docstring of a module, which is Markdown with tables and formulas.

```{module-doc} latentsdf.config.frames
```
"""

import inspect
from importlib import import_module
from typing import Any

from docutils import nodes
from docutils.statemachine import StringList
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the directive."""
    app.add_directive("module-doc", ModuleDoc)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}


class ModuleDoc(SphinxDirective):
    """Parse the docstring of the module that is the argument as Markdown."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Return the parsed docstring."""
        module = import_module(self.arguments[0])
        if module.__file__ is not None:
            self.env.note_dependency(module.__file__)
        container = nodes.container()
        lines = (inspect.getdoc(module) or "").splitlines()
        self.state.nested_parse(StringList(lines, self.arguments[0]), self.content_offset, container)
        return container.children
