"""Tables in notebooks."""

from xml.etree import ElementTree

from latentsdf.utils.notebook import html_table


def test_names_and_values() -> None:
    """A table has its title and one row per value, and is well-formed."""
    table = ElementTree.fromstring(html_table("Space", {"shapes": 4, "loss": None}))
    assert [" ".join(row.itertext()) for row in table.iter("tr")] == ["shapes 4", "loss None"]
    assert "".join(table.find("caption").itertext()) == "Space"  # type: ignore[union-attr]


def test_markup_in_texts() -> None:
    """Titles, names and values cannot add markup."""
    script = "<script>alert('&')</script>"
    table = ElementTree.fromstring(html_table(script, {script: script}))
    assert not list(table.iter("script"))
    assert "".join(table.itertext()) == 3 * script
