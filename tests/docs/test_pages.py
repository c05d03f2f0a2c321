"""Completeness of the documentation; Sphinx, which `make docs` runs, checks links and markup."""

import re

from helpers.documents import pages
from helpers.paths import REPOSITORY

import latentsdf

DOCS = REPOSITORY / "docs"
MAX_IMAGE_BYTES = 200_000


def test_public_names() -> None:
    """The reference has every public name, once."""
    text = "".join(page.read_text() for page in (DOCS / "reference" / "api").glob("*.md"))
    documented = re.findall(r"^\.\. auto(?:class|function):: (\w+)$", text, re.MULTILINE)
    assert sorted(documented) == sorted(set(latentsdf.__all__) - {"__version__"})


def test_results() -> None:
    """Every page of results is included by a page of the same name."""
    for page in (REPOSITORY / "benchmarks" / "results").glob("*.md"):
        stub = DOCS / "results" / page.name
        assert stub.is_file(), f"{page.name} needs a page {stub}"
        assert f"../../benchmarks/results/{page.name}" in stub.read_text()


def test_images() -> None:
    """Pictures are small, and each is shown on a page."""
    shown = {name for page in pages() for name in re.findall(r"\(images/([\w-]+\.png)\)", page.read_text())}
    images = {path.name: path.stat().st_size for path in (DOCS / "images").iterdir()}
    assert shown == images.keys()
    assert max(images.values()) < MAX_IMAGE_BYTES


def test_wishes() -> None:
    """Each of the twenty wishes has a verdict and a block of code."""
    sections = re.split(r"^## \d+\. ", (DOCS / "wishes.md").read_text(), flags=re.MULTILINE)[1:]
    assert len(sections) == 20
    for section in sections:
        assert "**Holds" in section and "```" in section, section.splitlines()[0]
