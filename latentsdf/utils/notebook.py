"""HTML descriptions of objects in notebooks."""

from collections.abc import Mapping
from html import escape


def html_table(title: str, rows: Mapping[str, object]) -> str:
    """Return a table of names and values as an HTML fragment, with all texts escaped.

    Args:
        title: Caption of the table.
        rows: Values by name.
    """
    left = "style='text-align: left'"
    cells = "".join(
        f"<tr><th {left}>{escape(name)}</th><td {left}>{escape(str(value))}</td></tr>" for name, value in rows.items()
    )
    return f"<table><caption {left}><b>{escape(title)}</b></caption>{cells}</table>"
