"""Every code block of README, CONTRIBUTING and the documentation is parsed, and run unless it is marked.

`<!-- test: parse: REASON -->` before a block says why it is only parsed. Blocks that run are scaled down
(`helpers.documents`) and find small stand-ins for data under the names that they use (`conftest`). The build of the
documentation executes the cells of the tutorials.
"""

import os
from pathlib import Path
from typing import Any

import pytest
from helpers.documents import Block, blocks_of, is_run, pages, parse_block, run_page
from helpers.paths import REPOSITORY

BLOCKS = [block for page in pages() for block in blocks_of(page)]
LANGUAGES = ("python", "console", "bash", "", "yaml", "toml", "json", "text")
RUN = sorted({block.page for block in BLOCKS if is_run(block)})


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: block.name)
def test_syntax(block: Block) -> None:
    """Commands, settings and Python of a block are valid, and its language is one that is checked."""
    assert block.language in LANGUAGES or block.language.startswith("{")
    parse_block(block)


@pytest.mark.slow
@pytest.mark.skipif("LATENTSDF_DOCS" not in os.environ, reason="takes minutes; set LATENTSDF_DOCS=1, as a release does")
@pytest.mark.parametrize("page", RUN, ids=lambda page: page.stem)
def test_execution(page: Path, given_names: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    """The blocks of a page run, one after the other; after a failure, the output of the last one is shown."""
    for name in run_page(blocks_of(page), given_names):
        capsys.readouterr()
        print(name)  # noqa: T201


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("```\nlatentsdf trian --out a\n```\n", "trian"),
        ("```console\n$ latentsdf train --dta a --out b\n```\n", "--dta"),
        ("```python\nif True\n```\n", "expected ':'"),
        ("```json\n{'a': 1}\n```\n", "Expecting property name"),
        ("```\npip install 'latentsdf[nothing]'\n```\n", None),
        ("```\nmake nothing\n```\n", None),
    ],
)
def test_wrong_blocks(text: str, message: str | None, tmp_path: Path) -> None:
    """Wrong blocks are found."""
    page = tmp_path / "page.md"
    page.write_text(text)
    (block,) = blocks_of(page)
    with pytest.raises((Exception, SystemExit), match=message):
        parse_block(Block(REPOSITORY / "page.md", 1, block.language, block.text, ""))
