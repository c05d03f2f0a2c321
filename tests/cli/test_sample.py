"""`latentsdf sample`: every kind of new shape."""

import json
from pathlib import Path

import pytest

from latentsdf import cli

SMALL = ["--resolution", "32", "--device", "cpu"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("args", "count"),
    [
        (["--mean"], 1),
        (["--random", "2"], 2),
        (["--random", "3", "--category", "table"], 3),
        (["--direction", "0"], 5),
        (["--sum", "1*table_0000", "0.5*table_0001"], 1),
        (["--sum", "-1*table_0000", "1*table_0001", "1*table_0000"], 1),
    ],
    ids=repr,
)
def test_codes(
    args: list[str], count: int, space_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each kind of sample is decoded."""
    assert cli.main(["sample", str(space_path), *args, "--out", str(tmp_path / "new.png"), *SMALL, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["shapes"] == count


@pytest.mark.slow
def test_meshes(space_path: Path, tmp_path: Path) -> None:
    """Samples are written as meshes into a folder."""
    assert cli.main(["sample", str(space_path), "--random", "2", "--out", str(tmp_path / "new"), *SMALL]) == 0
    assert len(list((tmp_path / "new").glob("*.glb"))) == 2


@pytest.mark.parametrize(
    ("term", "message"),
    [
        ("table_0000", "expected WEIGHT*SHAPE, such as -1*table_0000"),
        ("1*nobody", "no training shape 'nobody'"),
        ("x*table_0000", "expected a number as the weight before *"),
        ("nan*table_0000", "the weight must be a finite number, got nan"),
    ],
)
def test_wrong_terms(
    term: str, message: str, space_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A term of a sum has a finite weight and a shape."""
    assert cli.main(["sample", str(space_path), "--sum", term, "--out", str(tmp_path / "new.png"), *SMALL]) == 2
    assert message in " ".join(capsys.readouterr().err.split())
