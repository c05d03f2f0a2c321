"""Docstrings of dataclass attributes, read from the source of the class."""

import ast
import inspect
import re
import textwrap


def attribute_docs(cls: type) -> dict[str, str]:
    """Return the docstrings of the annotated attributes of a class by name, each in one line but for list items.

    Inherited attributes are not included.
    """
    (definition,) = ast.parse(textwrap.dedent(inspect.getsource(cls))).body
    assert isinstance(definition, ast.ClassDef)
    docs: dict[str, str] = {}
    for statement, following in zip(definition.body, definition.body[1:], strict=False):
        if not isinstance(statement, ast.AnnAssign) or not isinstance(statement.target, ast.Name):
            continue
        if isinstance(following, ast.Expr) and isinstance(following.value, ast.Constant):
            paragraph = re.sub(r"\s*\n(?!- )\s*", " ", inspect.cleandoc(str(following.value.value)))
            docs[statement.target.id] = re.sub(r" {2,}", " ", paragraph)
    return docs
