"""Packed spaces: what they compute, what they keep, and their model cards."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.artifacts import write_space
from helpers.files import renew_manifest
from helpers.kills import kill_at

import latentsdf as ls
from latentsdf import cli
from latentsdf.sharing.pack import rows_to_keep
from latentsdf.training import checkpoint


@pytest.fixture(scope="module")
def packed(space: ls.ShapeSpace, tmp_path_factory: pytest.TempPathFactory) -> ls.ShapeSpace:
    """The space of four tables with half precision, and the codes of two of them."""
    folder = tmp_path_factory.mktemp("packed") / "tables"
    written = space.save_packed(folder, half=True, keep=2, license="mit", description="Two tables.", picture=False)
    assert written["shapes"] == 2 and written["bytes"]["total"] == sum(path.stat().st_size for path in folder.iterdir())
    return ls.load(folder, "cpu")


def test_exact_copy(space: ls.ShapeSpace, tmp_path: Path) -> None:
    """Without rounding, a packed space is the same space in smaller files."""
    space.save_packed(tmp_path / "copy", picture=False)
    copy = ls.load(tmp_path / "copy", "cpu")
    assert copy.fingerprint == space.fingerprint and copy.ids == space.ids and copy.categories == space.categories
    for name, value in space.state_dict().items():
        assert torch.equal(copy.state_dict()[name], value)
    np.testing.assert_array_equal(copy.sample(3), space.sample(3))
    untrained = (space.model.require_grid().table == 0).all(1).float().mean()
    sizes = [(folder / "model.safetensors").stat().st_size for folder in (space.folder, tmp_path / "copy")]
    assert untrained > 0.1 and sizes[1] < sizes[0] - 0.9 * untrained * space.model.require_grid().table.nbytes


def test_rounding(space: ls.ShapeSpace, packed: ls.ShapeSpace) -> None:
    """Weights and codes are rounded to float16, and the stated change of distances is the measured one."""
    weights = space.model.state_dict()
    for name, value in packed.model.state_dict().items():
        assert value.dtype == torch.float32 and torch.equal(value, weights[name].half().float())
    assert packed.codes.dtype == torch.float32
    changes = packed.details["packing"]["changes"]
    points = torch.rand(2000, 3, generator=torch.Generator().manual_seed(0)) * 1.6 - 0.8
    name = packed.ids[0]
    moved = packed.field(name, "overfit", frame="model")(points) - space.field(name, "overfit", frame="model")(points)
    assert 0 < moved.abs().mean() < 3 * changes["distance_mean"] < 1e-2
    assert 0 < changes["vertex_mean"] < 1e-2 and changes["vertex_mean"] <= changes["vertex_max"]
    assert changes["shapes"] == 2 and changes["distance_mean"] <= changes["distance_max"]


def test_prior_of_all_codes(space: ls.ShapeSpace, packed: ls.ShapeSpace) -> None:
    """The distribution of all training codes remains, although only two codes are kept."""
    assert len(packed) == 2 and packed.categories == {"table": 4}
    torch.testing.assert_close(packed.prior.mean, space.prior.mean, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(packed.prior.basis, space.prior.basis, rtol=1e-2, atol=1e-4)
    one, other = packed._distribution.mixture("table"), space._distribution.mixture("table")
    scale = float(other.covariances.abs().max())
    torch.testing.assert_close(one.covariances, other.covariances, rtol=0.01, atol=0.01 * scale)
    torch.testing.assert_close(one.means, other.means, rtol=1e-3, atol=1e-4)
    assert packed.similarity(packed.mean()) == space.similarity(space.mean())
    assert packed.sample(2, category="table").shape == (2, 8)
    moved = packed.to("cpu", torch.float64)
    assert moved.prior.mean.dtype in (torch.float32, torch.float64) and len(moved.sample(1)) == 1
    packed.float()


def test_repacked(packed: ls.ShapeSpace, tmp_path: Path) -> None:
    """Copies of a packed space keep its prior and its details."""
    packed.save(tmp_path / "saved")
    packed.save_packed(tmp_path / "packed", ids=[packed.ids[1]], picture=False)
    for folder in ("saved", "packed"):
        again = ls.load(tmp_path / folder, "cpu")
        assert again.categories == {"table": 4} and torch.equal(again.prior.mean, packed.prior.mean)
    assert ls.load(tmp_path / "packed").details["license"] == "mit" and len(again) == 1


def test_rows_to_keep() -> None:
    """Kept shapes are spread over the categories; copies are kept last."""
    keys = [f"{category}/{n}" for n in range(10) for category in ("chair", "table")] + ["lamp/0", "lamp/0~1"]
    copies = frozenset({"lamp/0~1"})
    kept = [keys[row].split("/")[0] for row in rows_to_keep(keys, copies, 8)]
    assert sorted(kept).count("chair") == sorted(kept).count("table") == 4
    assert len(rows_to_keep(keys, copies, 21)) == 21 and 21 not in rows_to_keep(keys, copies, 21)
    assert rows_to_keep(keys, copies, 22) == rows_to_keep(keys, copies) == list(range(22))
    assert rows_to_keep(keys, copies, None, [5, 2, 5]) == [2, 5]


def test_commands(packed: ls.ShapeSpace, tmp_path: Path, messages: Callable[[], str]) -> None:
    """A packed space is described and verified; training in it says what it needs."""
    folder = str(packed.folder)
    assert cli.main(["info", folder, "--verify"]) == 0
    said = messages()
    assert "2 shapes of 4" in said and "20 steps" in said and "rounding changes distances" in said and "grid" in said
    assert cli.main(["train", "--extend", folder, "--data", "none.zarr", "--out", str(tmp_path / "x")]) == 2
    assert "holds only 2 of its training shapes" in messages()
    with pytest.raises(ls.CheckpointError, match="packed spaces and copies"):
        checkpoint.load_state(packed.folder)


def test_damaged_prior(tmp_path: Path) -> None:
    """A prior that does not fit the model is refused."""
    from safetensors.torch import load_file, save_file

    write_space(tmp_path / "tiny", 1)
    ls.load(tmp_path / "tiny").save_packed(tmp_path / "p", keep=1)
    good = load_file(tmp_path / "p" / "prior.safetensors")
    impossible = {
        "basis": torch.eye(4),
        "mean": torch.full((3,), torch.nan),
        "category.chair.count": torch.tensor([-1]),
        "category.chair.weights": torch.tensor([-1.0]),
        "place": torch.zeros(4, dtype=torch.float64),
    }
    for name, value in impossible.items():
        save_file(good | {name: value}, tmp_path / "p" / "prior.safetensors")
        renew_manifest(tmp_path / "p")
        with pytest.raises(ls.CheckpointError, match="prior.safetensors is damaged"):
            ls.load(tmp_path / "p")


def test_card(space: ls.ShapeSpace, tmp_path: Path, messages: Callable[[], str]) -> None:
    """The model card states license, training and metrics; a card changed by hand is kept until told otherwise."""
    metrics = {"summary": {"triangle_mean": {"mean": 0.0123, "median": 0.01}}, "shapes": {"a": {}}, "mode": "fused"}
    (tmp_path / "metrics.json").write_text(json.dumps(metrics | {"frame": "model space"}))
    pack = ["pack", str(space.folder), "--out", str(tmp_path / "p"), "--overwrite", "--device", "cpu"]
    more = ["--license", "cc-by-4.0", "--description", "Four tables.", "--metrics", str(tmp_path / "metrics.json")]
    assert cli.main([*pack, *more]) == 0
    card = tmp_path / "p" / "README.md"
    text = card.read_text()
    assert text.startswith("---\nlibrary_name: latentsdf\n") and "license: cc-by-4.0\n" in text
    assert all(part in text for part in ("Four tables.", "20 steps", "0.0123", "(shapes.png)", 'ls.load("p")'))
    assert (tmp_path / "p" / "shapes.png").is_file()
    assert cli.main([*pack, "--no-picture", "--description", "New."]) == 0 and "New." in card.read_text()
    card.write_text(card.read_text() + "\nMy own words.\n")
    messages()
    assert cli.main([*pack, "--no-picture"]) == 0
    assert "My own words." in card.read_text() and "was written by hand" in messages()
    assert cli.main(["info", str(tmp_path / "p"), "--verify"]) == 0
    assert cli.main([*pack, "--no-picture", "--overwrite-card"]) == 0 and "My own words" not in card.read_text()


def test_card_of_killed_command(tmp_path: Path) -> None:
    """A kill never leaves the card of the older space beside the new one."""
    for seed in (1, 2):
        write_space(tmp_path / f"space{seed}", seed)
    spaces = [ls.load(tmp_path / f"space{seed}", "cpu") for seed in (1, 2)]

    def write(number: int, out: Path) -> None:
        options = {"description": f"Space {number}.", "name": "a", "picture": False}
        spaces[number].save_packed(out, overwrite=True, **options)

    def content(out: Path) -> tuple[list[list[float]], str]:
        card = out / "README.md"
        return checkpoint.load(out).codes.tolist(), card.read_text() if card.exists() else ""

    for number in (0, 1):
        write(number, tmp_path / f"packed{number}")
    old, new = (content(tmp_path / f"packed{number}") for number in (0, 1))
    with kill_at(None) as counter:
        write(1, Path(shutil.copytree(tmp_path / "packed0", tmp_path / "counted")))
    for number in range(counter.count):
        out = Path(shutil.copytree(tmp_path / "packed0", tmp_path / f"out{number}"))
        with kill_at(number):
            write(1, out)
        assert content(out) in (old, new, (old[0], ""), (new[0], "")), f"after call {number}"


def test_refused(space: ls.ShapeSpace, tmp_path: Path) -> None:
    """Impossible requests say why, and an existing space is not replaced unasked."""
    write_space(tmp_path, 1)
    for options, message in (
        ({"keep": 1, "ids": ["a"]}, "pass one of them"),
        ({"ids": ["nothing"]}, "no training shape"),
        ({"grid_bits": 9}, "2 to 8"),
        ({"license": "a\nb"}, "identifier"),
        ({"metrics": tmp_path / "shapes.json"}, "metrics.json that"),
    ):
        with pytest.raises(ls.ConfigError, match=message):
            space.save_packed(tmp_path / "new", **options)
    with pytest.raises(ls.CheckpointError, match="holds a trained space already"):
        space.save_packed(tmp_path)
    assert not (tmp_path / "new").exists()
