"""Formulas as MathML, which all current browsers draw themselves: no script, no font and no network access.

The builders of Sphinx either load MathJax from a server or need an installation of LaTeX.
"""

from typing import Any

from docutils import nodes
from latex2mathml.converter import convert
from sphinx.application import Sphinx
from sphinx.errors import ExtensionError
from sphinx.writers.html5 import HTML5Translator


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the renderer `mathml`."""
    app.add_html_math_renderer("mathml", (_visit_inline, None), (_visit_block, None))
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}


def _visit_inline(translator: HTML5Translator, node: nodes.Element) -> None:
    translator.body.append(to_mathml(node.astext(), "inline"))
    raise nodes.SkipNode


def _visit_block(translator: HTML5Translator, node: nodes.Element) -> None:
    translator.body.append(f'<div class="math">{to_mathml(node.astext(), "block")}</div>')
    raise nodes.SkipNode


def to_mathml(formula: str, display: str) -> str:
    """Convert a formula of LaTeX to MathML.

    Args:
        formula: The formula, without dollar signs.
        display: `inline` or `block`.

    Raises:
        ExtensionError: The formula cannot be converted, or has a command that would be shown as text.
    """
    try:
        mathml: str = convert(formula.strip(), display=display)
    except Exception as error:  # the converter has no base class of errors
        raise ExtensionError(f"formula {formula!r}: {error!r}") from error
    if "\\" in mathml or "<mi>&</mi>" in mathml:
        raise ExtensionError(f"formula {formula!r}: has a command that latex2mathml does not know")
    return mathml
