"""Paths, new shapes and pictures: analytic spheres where they tell, else the four tables."""

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
import trimesh
from helpers import files_of
from PIL import Image
from safetensors.torch import save_file

import latentsdf as ls
from latentsdf import cli
from latentsdf.data.furniture import furniture
from latentsdf.geometry.mesh import save
from latentsdf.latent.geodesic import lengths
from latentsdf.latent.interpolation import interpolate, smoothness
from latentsdf.rendering.render import render_field, render_mesh, tracing_cost
from latentsdf.rendering.sheets import render_turntable, save_gif
from latentsdf.rendering.slices import render_slice
from latentsdf.space import ShapeSpace


@pytest.fixture(scope="module")
def space(space_path: Path) -> ShapeSpace:
    return ls.load(space_path, device="cpu")


def _ball(points: torch.Tensor) -> torch.Tensor:
    return points.norm(dim=1) - 0.5


def _size(picture: Path) -> tuple[int, int]:
    with Image.open(picture) as opened:
        return opened.size


def test_the_shortest_path_is_shorter_and_steadier_and_keeps_its_ends(space: ShapeSpace) -> None:
    ends = ("table_0000", "table_0001", "table_0002")
    straight = space.interpolate(*ends, steps=9)
    shortest = space.interpolate(*ends, steps=9, method="shortest")
    for step, name in zip((0, 4, 8), ends, strict=True):
        np.testing.assert_allclose(shortest[step], space.code(name).numpy(), atol=1e-6)
    for leg in (slice(0, 5), slice(4, 9)):
        plain, short = (lengths(space.model, torch.from_numpy(path[leg])) for path in (straight, shortest))
        assert short.square().sum() < plain.square().sum()
        assert short.std() / short.mean() < 0.2


def test_a_spherical_path_turns_at_constant_speed_and_there_is_none_between_opposite_codes() -> None:
    ends = np.array([[2, 0, 0], [0, 4, 0], [0, 0, 4], [0, 0, 8]], dtype=np.float32)
    path = interpolate(ends, 10, "spherical")
    angle = np.radians([0, 30, 60, 90])
    turned = np.stack((np.cos(angle), np.sin(angle), np.zeros(4)), axis=1) * np.linspace(2, 4, 4)[:, None]
    np.testing.assert_allclose(path[:4], turned, atol=1e-5)
    np.testing.assert_allclose(path[6:, 2], [4, 16 / 3, 20 / 3, 8], rtol=1e-5)
    code = np.random.default_rng(0).normal(size=(1, 8)).astype(np.float32)
    for other in (-code, -3 * code, np.float32(1e-5) * code[:, ::-1] - code):
        with pytest.raises(ls.ConfigError, match="opposite directions.*use linear"):
            interpolate(np.concatenate((code, other)), 5, "spherical")
        np.testing.assert_allclose(interpolate(np.concatenate((code, other)), 3)[1], (code + other)[0] / 2, atol=1e-6)
    # Nearly so, the arc is still the one that the codes span.
    aside = np.array([[1, 0], [-1, 0.01]], dtype=np.float32)
    middle = interpolate(aside, 3, "spherical")[1]
    np.testing.assert_allclose(middle, (0.005, 1), atol=1e-4)


def test_smoothness_tells_steady_from_jerky() -> None:
    sizes = {"steady": (0.3, 0.4, 0.5, 0.6), "jerky": (0.3, 0.32, 0.58, 0.6)}
    found = {n: smoothness([trimesh.creation.icosphere(4, r) for r in radii]) for n, radii in sizes.items()}
    np.testing.assert_allclose(found["steady"].travel, 0.1, rtol=0.03)
    assert found["steady"].variation < 0.03 < 0.9 < found["jerky"].variation
    two = trimesh.util.concatenate([trimesh.creation.icosphere(1).apply_translation((x, 0, 0)) for x in (0, 5)])
    assert smoothness([two, two]).pieces == [2, 2]


def test_new_shapes_come_from_the_distribution_of_the_codes(space: ShapeSpace) -> None:
    codes = space.codes.numpy()
    np.testing.assert_allclose(space.mean(), codes.mean(0), atol=1e-6)
    np.testing.assert_allclose(space.direction(0, [0.0])[0], space.mean(), atol=1e-6)
    drawn = space.sample(20_000, seed=3)
    np.testing.assert_allclose(drawn.mean(0), space.mean(), atol=0.05 * drawn.std(0).max())
    first = np.linalg.svd(codes - codes.mean(0))[2][0]
    spread = space.direction(0, [-1.0, 1.0])
    assert abs(first @ (spread[1] - spread[0])) == pytest.approx(np.linalg.norm(spread[1] - spread[0]), rel=1e-4)
    assert drawn.std(0).max() <= np.linalg.norm(spread[1] - spread[0]) / 2 * 1.05
    terms = (1.0, "table_0001"), (-1.0, "table_0000"), (1.0, "table_0000")
    np.testing.assert_allclose(space.combine(*terms), space.code("table_0001").numpy(), atol=1e-5)


def test_a_code_that_its_owner_changes_has_another_band(space: ShapeSpace) -> None:
    code = space.code("table_0000").numpy().copy()
    first, again = space.band(code), space.band(code)
    code[:] = space.code("table_0001")
    assert again is first and space.band(code).cells.shape != first.cells.shape


def test_what_cannot_be_made_is_refused(space: ShapeSpace) -> None:
    for call, message in (
        (lambda: space.direction(8), "principal directions 0 to 7, got 8"),
        (lambda: space.sample(0), "at least 1 shape"),
        (lambda: interpolate(np.zeros((2, 3)), 4, "shortest"), "pass model and prior"),
        (
            lambda: space.interpolate("table_0000", "table_0001", "table_0002", steps=2, method="shortest"),
            "as many steps",
        ),
        (lambda: render_slice(_ball, offset=2.0), "an offset of -1 to 1"),
        (lambda: render_slice(_ball, spacing=0.0), "a positive spacing"),
        (lambda: render_field(_ball, style="wire"), "style must be one of shaded, normals, depth"),  # type: ignore[arg-type]
        (lambda: render_field(_ball, size=0), "at least 1 pixel"),
        (lambda: render_turntable(lambda _: Image.new("RGB", (1, 1)), 1), "at least 2 frames"),
    ):
        with pytest.raises(ls.ConfigError, match=message):
            call()
    with pytest.raises(ls.MeshError, match="no part of the mesh is in view"):
        render_mesh(trimesh.creation.icosphere(1).apply_translation((9, 0, 0)), fit=False, size=16)


def test_normals_and_depth_of_a_ball_by_tracing_and_by_casting() -> None:
    ball = trimesh.creation.icosphere(5, 0.5)
    for style in ("normals", "depth"):
        traced, cast = (
            np.asarray(picture, dtype=float)
            for picture in (
                render_field(_ball, size=64, azimuth=0, elevation=0, style=style),  # type: ignore[arg-type]
                render_mesh(ball, size=64, azimuth=0, elevation=0, style=style, fit=False),  # type: ignore[arg-type]
            )
        )
        inner = np.hypot(*(np.mgrid[:64, :64] - 31.5)) < 14
        assert np.abs(traced - cast)[inner].max() < 12
        if style == "normals":
            np.testing.assert_allclose(traced[31, 31], (127, 127, 255), atol=8)
            assert traced[31, 44, 0] > 220 and traced[19, 31, 1] > 220  # right is +x, up is +y
        else:
            assert traced[31, 31].min() >= traced[inner].max() - 2


def test_tracing_an_exact_distance_costs_the_steps_that_its_slope_says() -> None:
    exact = tracing_cost(_ball, size=65, azimuth=0, elevation=0)
    # Head on, 0.5 * 0.2^n falls below 1e-3 at the fifth look.
    assert np.asarray(exact.picture)[32, 32] == int(255 * (1 - 5 / 64))
    flat = tracing_cost(lambda points: 0.3 * _ball(points), size=65, azimuth=0, elevation=0)
    assert exact.mean < 0.5 * flat.mean and exact.p95 < flat.p95 and exact.unfinished == flat.unfinished == 0
    stuck = tracing_cost(lambda points: torch.full_like(points[:, 0], 2e-3), size=16)
    assert stuck.unfinished == 1 and np.asarray(stuck.picture).min() == 0


def test_a_slice_shows_inside_surface_and_levels() -> None:
    picture = np.asarray(render_slice(_ball, size=200, spacing=0.1), dtype=float)
    radius = np.hypot(*((np.mgrid[:200, :200] + 0.5) / 100 - 1))
    blue = picture[..., 2] > picture[..., 0] + 5
    assert not blue[radius > 0.51].any() and blue[(radius < 0.48) & (radius > 0.42)].all()
    black = picture.sum(-1) == 0
    assert black.any() and np.abs(radius[black] - 0.5).max() < 0.02
    grey = (picture == 140).all(-1)
    assert grey.any() and np.abs((radius[grey] * 10 + 0.5) % 1 - 0.5).max() < 0.2
    center = torch.tensor([0.1, 0.2, 0.3])
    for axis, right, down in (("x", 0.3, -0.2), ("y", 0.1, 0.3), ("z", 0.1, -0.2)):
        aside = np.asarray(render_slice(lambda p: _ball(p - center), axis=axis, size=100), dtype=float)  # type: ignore[arg-type]
        rows, columns = np.nonzero(aside[..., 2] > aside[..., 0] + 5)
        np.testing.assert_allclose((columns.mean() / 50 - 1, rows.mean() / 50 - 1), (right, down), atol=0.03)
    off = np.asarray(render_slice(_ball, axis="x", offset=0.6, size=50))
    assert not (off[..., 2] > off[..., 0].astype(int) + 5).any()


def test_an_animation_holds_every_picture(tmp_path: Path) -> None:
    box = trimesh.creation.box((1, 0.5, 0.2))
    pictures = render_turntable(lambda azimuth: render_mesh(box, azimuth=azimuth, size=32, fit=False), 4)
    save_gif(tmp_path / "turn.gif", pictures, 50)
    with Image.open(tmp_path / "turn.gif") as gif:
        assert gif.n_frames == 4 and gif.info["duration"] == 50  # type: ignore[attr-defined]
    assert not np.array_equal(np.asarray(pictures[0]), np.asarray(pictures[1]))


def test_the_commands_for_paths_new_shapes_and_pictures(space_path: Path, tmp_path: Path) -> None:
    space = str(space_path)
    small = ["--resolution", "32", "--device", "cpu"]
    walk = ["interpolate", space, "--ids", "table_0000", "table_0001", "--steps", "3"]
    assert cli.main([*walk, "--method", "shortest", "--out", str(tmp_path / "walk.gif"), *small]) == 0
    with Image.open(tmp_path / "walk.gif") as gif:
        assert gif.n_frames == 4  # type: ignore[attr-defined]
    assert cli.main([*walk, "--out", str(tmp_path / "walk.txt"), *small]) == 2
    for what in (["--mean"], ["--random", "2"], ["--direction", "0"], ["--sum", "1*table_0000", "0.5*table_0001"]):
        assert cli.main(["sample", space, *what, "--out", str(tmp_path / "new.png"), *small]) == 0
    assert cli.main(["sample", space, "--sum", "table_0000", "--out", str(tmp_path / "new.png"), *small]) == 2
    assert cli.main(["sample", space, "--sum", "1*nobody", "--out", str(tmp_path / "new.png"), *small]) == 2
    assert cli.main(["sample", space, "--random", "2", "--out", str(tmp_path / "new"), *small]) == 0
    assert len(list((tmp_path / "new").glob("*.glb"))) == 2
    mesh = tmp_path / "new" / "frame_000.glb"
    for extra in (["--id", "table_0000"], ["--mesh", str(mesh)]):
        for style in ("normals", "slice"):
            out = tmp_path / f"{extra[0]}{style}.png"
            picture = ["render", space, *extra, "--style", style, "--size", "32", "--out", str(out), "--device", "cpu"]
            assert cli.main(picture) == 0 and _size(out) == (32, 32)
    picture = ["render", space, "--size", "32", "--device", "cpu", "--out", str(tmp_path / "sheet.png"), "--id"]
    for count, size in ((2, (64, 51)), (3, (64, 102))):
        assert cli.main([*picture, *(f"table_000{i}" for i in range(count))]) == 0
        assert _size(tmp_path / "sheet.png") == size
    assert cli.main([*picture, "table_0000", "nobody"]) == 2
    assert cli.main([*picture, "table_0000", "--trace"]) == 2
    rows = ["retrieve", space, "--id", "table_0000", "-k", "2", "--rerank", "3", "--out", str(tmp_path / "rows.png")]
    assert cli.main([*rows, "--device", "cpu"]) == 0 and _size(tmp_path / "rows.png")[0] == 600


def test_a_mesh_is_traced_to_the_picture_that_rays_show(space_path: Path, tmp_path: Path) -> None:
    save(trimesh.creation.torus(0.6, 0.25), tmp_path / "torus.ply")
    render = ["render", str(space_path), "--mesh", str(tmp_path / "torus.ply"), "--style", "normals", "--size", "48"]
    cast, traced = tmp_path / "cast.png", tmp_path / "traced.png"
    assert cli.main([*render, "--device", "cpu", "--out", str(cast)]) == 0
    assert cli.main([*render, "--device", "cpu", "--trace", "--out", str(traced)]) == 0
    one, other = (np.asarray(Image.open(file), dtype=int) for file in (cast, traced))
    assert not np.array_equal(one, other)
    assert (np.abs(one - other).max(axis=-1) > 60).mean() < 0.05 and (one != 255).any(axis=-1).mean() > 0.1


def test_what_cannot_be_written_or_read_is_refused_before_the_work(
    space_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def work(*_: object, **__: object) -> None:
        raise AssertionError("the work has begun")

    for name in ("invert_many", "extract"):
        monkeypatch.setattr(ShapeSpace, name, work)
    monkeypatch.setattr("latentsdf.reconstruction.reconstruct", work)
    monkeypatch.setattr("latentsdf.evaluation.evaluate.evaluate", work)
    taken, space = tmp_path / "taken", [str(space_path), "--device", "cpu"]
    taken.write_text("a file")
    points, words, empty = tmp_path / "points.npy", tmp_path / "words.npy", tmp_path / "empty.npy"
    np.save(points, np.random.default_rng(0).normal(size=(200, 3)))
    np.save(words, np.array(["a", "b"]))
    empty.touch()
    ids = ["--ids", "table_0000", "table_0001"]
    for command, message in (
        (["invert", *space, str(points), "--out", str(taken)], "cannot be made a folder"),
        (["interpolate", *space, *ids, "--out", str(taken)], "cannot be made a folder"),
        (["interpolate", *space, *ids, "--out", str(taken / "walk.png")], "cannot be made a folder"),
        (["evaluate", *space, "--meshes", str(tmp_path), "--out", str(taken)], "cannot be made a folder"),
        (["reconstruct", str(points), "--out", str(taken)], "cannot be made a folder"),
        (["reconstruct", str(points), "--out", str(tmp_path / "out"), "--truth", "none.ply"], "none.ply"),
        (
            ["reconstruct", str(points), "--out", str(tmp_path / "out"), "--train.lr_netwrk", "1"],
            "did you mean 'train.lr_network'",
        ),
        (["reconstruct", str(points), "--out", str(tmp_path / "out"), "--train.lr_network", "[1"], "'[1' is no value"),
        (["reconstruct", str(empty), "--out", str(tmp_path / "out")], "empty.npy"),
        (["reconstruct", str(words), "--out", str(tmp_path / "out")], "a table of real numbers"),
        (["invert", *space, str(empty), "--out", str(tmp_path / "out")], "empty.npy: the file is empty"),
        (["invert", *space, str(words), "--out", str(tmp_path / "out")], "a table of real numbers"),
    ):
        assert cli.main(command) == 2
        assert message in " ".join(capsys.readouterr().err.split())


def test_a_file_in_the_way_is_an_error_and_two_ways_to_name_a_shape_are_one_too_many(
    space_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "taken").write_text("a file")
    shape = [str(space_path), "--id", "table_0000", "--device", "cpu"]
    out = ["--resolution", "16", "--out", str(tmp_path / "taken" / "x.ply")]
    assert cli.main(["extract", *shape, *out]) == 2
    assert "taken" in capsys.readouterr().err
    for verb, other in (("extract", "--code"), ("render", "--mesh"), ("retrieve", "--mesh")):
        with pytest.raises(SystemExit, match="2"):
            cli.main([verb, *shape, other, "x.ply", "--out", str(tmp_path / "x.png")])
        assert "not allowed with argument --id" in capsys.readouterr().err
    (tmp_path / "report.json").write_text('{"points": "cloud.npy"}')
    assert cli.main(["extract", str(space_path), "--code", str(tmp_path), "--out", str(tmp_path / "x.ply")]) == 2
    assert "not a folder of latentsdf invert" in " ".join(capsys.readouterr().err.split())


def test_all_shapes_are_decoded_into_a_folder(
    space_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "meshes"
    words = ["extract", str(space_path), "--out", str(out), "--resolution", "32", "--device", "cpu", "--json"]
    space = ls.load(space_path, "cpu")
    ids, decode = space.ids, ShapeSpace.extract

    def but_one(self: ShapeSpace, shape: str, *rest: object, **named: object) -> trimesh.Trimesh:
        if shape == ids[1]:
            raise ls.EmptyLevelSetError("no surface")
        return decode(self, shape, *rest, **named)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(ShapeSpace, "extract", but_one)
        assert cli.main([*words, "--all"]) == 0
        said = capsys.readouterr()
        report = json.loads(said.out)
        assert report["failed"] == {ids[1]: "no surface"} and ids[1] in said.err
        assert sorted(path.name for path in out.iterdir()) == sorted(f"{i}.ply" for i in ids if i != ids[1])
        assert cli.main([*words, "--id", ids[1], ids[1]]) == 1
        capsys.readouterr()
    assert cli.main([*words, "--all", "--resume"]) == 0
    assert list(json.loads(capsys.readouterr().out)["meshes"]) == [str(out / f"{ids[1]}.ply")]
    alone = trimesh.load(out / f"{ids[0]}.ply", process=False)
    assert np.allclose(alone.vertices, space.extract(ids[0], 32).vertices, atol=1e-6)
    assert cli.main([*words, "--id", *ids[:2], "--suffix", ".png"]) == 2
    assert "cannot write '.png'" in " ".join(capsys.readouterr().err.split())
    assert cli.main([*words, "--all", "--out", str(tmp_path / "x.ply")]) == 2
    assert "several shapes go into a folder" in " ".join(capsys.readouterr().err.split())
    assert cli.main([*words, "--id", ids[0], "--resume"]) == 2
    assert "--resume goes on with several shapes" in " ".join(capsys.readouterr().err.split())
    assert cli.main([*words, "--id", ids[0], "nobody"]) == 2 and "no training shape 'nobody'" in capsys.readouterr().err


def test_several_shapes_are_inverted_at_once_and_fits_know_their_space(
    space_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = ("table_0000", "table_0002")
    for seed, name in zip((0, 2), names, strict=True):
        points = furniture("table", seed).sample(2000)
        np.save(tmp_path / f"{name}.npy", points)
    files = [str(tmp_path / f"{name}.npy") for name in names]
    few = ["--steps", "8", "--starts", "2", "--points", "512", "--resolution", "32", "--device", "cpu"]
    assert cli.main(["invert", str(space_path), *files, "--out", str(tmp_path / "fits"), *few, "--json"]) == 0
    reports = json.loads(capsys.readouterr().out)
    assert [reports[name]["nearest"]["ids"][0] for name in names] == list(names)
    np.save(tmp_path / "line.npy", np.linspace(0, 1, 100)[:, None] * np.ones(3))
    line = str(tmp_path / "line.npy")
    some = ["invert", str(space_path), line, files[1], "--out", str(tmp_path / "some"), *few, "--json"]
    assert cli.main(some) == 0
    reports = json.loads(capsys.readouterr().out)
    assert "line" in reports["line"]["failed"] and reports[names[1]]["ok"]
    assert cli.main(["invert", str(space_path), line, "--out", str(tmp_path / "none"), *few]) == 2
    fit = tmp_path / "fits" / names[0]
    listing = json.loads((fit / "report.json").read_text())
    (fit / "report.json").write_text(json.dumps({**listing, "space": "elsewhere"}))
    extract = ["extract", str(space_path), "--code", str(fit), "--out", str(tmp_path / "x.ply"), "--device", "cpu"]
    assert cli.main(extract) == 2 and "fitted in another space" in " ".join(capsys.readouterr().err.split())
    assert cli.main(["invert", str(space_path), files[0], files[0], "--out", str(tmp_path / "y"), *few]) == 2


QUICK = ["--steps", "3", "--starts", "2", "--points", "256", "--resolution", "32", "--device", "cpu", "--json"]


def test_targets_that_cannot_be_fitted_are_named_and_the_others_are_kept(
    space_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good, other, line = tmp_path / "good.npy", tmp_path / "other.npy", tmp_path / "line.npy"
    np.save(good, furniture("table", 0).sample(500))
    np.save(other, furniture("table", 2).sample(500))
    np.save(line, np.linspace(0, 1, 200)[:, None] * np.ones(3))
    (tmp_path / "empty.obj").touch()
    bad = [str(tmp_path / name) for name in ("empty.obj", "missing.ply", "line.npy")]
    out = tmp_path / "fits"
    assert (
        cli.main(["invert", str(space_path), bad[0], str(good), *bad[1:], str(other), "--out", str(out), *QUICK]) == 0
    )
    said = capsys.readouterr()
    reports = json.loads(said.out)
    assert list(reports) == ["empty", "good", "missing", "line", "other"]
    assert reports["empty"]["failed"] == "the file is empty" and reports["missing"]["failed"] == "no such file"
    assert reports["line"]["failed"].startswith("all points lie on a line")
    assert "failed missing.ply: no such file" in said.err
    assert sorted(folder.name for folder in out.iterdir()) == ["good", "other"]
    assert (out / "good" / "mesh.ply").is_file() and (out / "other" / "code.npy").is_file()
    assert cli.main(["invert", str(space_path), *bad, "--out", str(out), *QUICK]) == 1
    assert {tuple(report) for report in json.loads(capsys.readouterr().out).values()} == {("failed",)}


def test_only_meshes_are_refined_and_a_refinement_that_fails_costs_no_other_fit(
    space_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refine(self: ShapeSpace, fit: ls.Inversion, mesh: trimesh.Trimesh, _: ls.RefineConfig) -> ls.Inversion:
        assert isinstance(self, ShapeSpace)
        if len(mesh.faces) == 12:
            raise ls.MeshError("no band")
        return fit

    monkeypatch.setattr(ShapeSpace, "refine", refine)
    np.save(tmp_path / "cloud.npy", furniture("table", 0).sample(500))
    save(trimesh.creation.box((1, 1, 1)), tmp_path / "box.ply")
    save(furniture("table", 2), tmp_path / "table.ply")
    targets = [str(tmp_path / name) for name in ("box.ply", "cloud.npy", "table.ply")]
    invert = ["invert", str(space_path), *targets, "--out", str(tmp_path / "fits"), "--refine", *QUICK]
    assert cli.main(invert) == 0
    reports = json.loads(capsys.readouterr().out)
    assert reports["box"] == {"failed": "no band"}
    assert reports["cloud"]["failed"].startswith("refining needs distances all around a surface")
    assert (tmp_path / "fits" / "table" / "mesh.ply").is_file() and "nearest" in reports["table"]


def test_an_old_mesh_stays_until_the_new_one_is_there(
    space_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    np.save(tmp_path / "cloud.npy", furniture("table", 0).sample(500))
    fit = tmp_path / "fit"
    invert = ["invert", str(space_path), str(tmp_path / "cloud.npy"), "--out", str(fit), *QUICK]
    assert cli.main(invert) == 0
    before = files_of(fit)
    assert {"code.npy", "layers.npy", "mesh.ply", "report.json"} == set(before)

    def fail(error: ls.LatentSDFError) -> None:
        def extract(*_: object, **__: object) -> None:
            raise error

        monkeypatch.setattr(ShapeSpace, "extract", extract)
        assert cli.main([*invert, "--seed", "1", "--one-code"]) == 2

    fail(ls.LatentSDFError("the field is not finite"))
    assert files_of(fit) == before
    fail(ls.EmptyLevelSetError("no surface"))
    after = files_of(fit)
    assert set(after) == {"code.npy", "report.json"} and after["code.npy"] != before["code.npy"]


def test_a_space_whose_folder_takes_no_index_is_searched_all_the_same(space_path: Path, tmp_path: Path) -> None:
    shutil.copytree(space_path, tmp_path / "copy", ignore=shutil.ignore_patterns("index*"))
    (tmp_path / "copy" / "index.faiss").mkdir()
    assert ls.load(tmp_path / "copy", "cpu").nearest("table_0001", 1).ids == ["table_0001"]
    assert not list((tmp_path / "copy").glob("*.json.next"))


def test_an_index_of_other_codes_is_built_anew_and_the_old_one_is_kept(
    space_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(space_path, folder, ignore=shutil.ignore_patterns("index*"))
    space = ls.load(folder, "cpu")
    for turn in ("", "2"):
        index = space.index()
        index.add(np.full((1, 8), 3, dtype=np.float32), ["mine"])
        index.save(folder)
        added = files_of(folder)
        newer = (folder / "codes.safetensors").stat().st_mtime + 100
        codes = space.codes.flip(0).contiguous()
        save_file({"codes": codes}, folder / "codes.safetensors")
        os.utime(folder / "index.faiss", (newer, newer))  # by its time the index would pass
        space = ls.load(folder, "cpu")
        capsys.readouterr()
        assert space.nearest(codes[1].numpy(), 5).ids[0] == space.ids[1] and "mine" not in space.index().ids
        said = capsys.readouterr().err
        assert "of another space" in said and f"kept as index.faiss.old{turn} and index.json.old{turn}" in said
        for name in ("index.faiss", "index.json"):
            assert (folder / f"{name}.old{turn}").read_bytes() == added[name]
    capsys.readouterr()
    ls.load(folder, "cpu").nearest("table_0000")
    assert capsys.readouterr().err == ""
    assert len(list(folder.glob("index*"))) == 6


def test_fits_come_into_the_index_and_go_by_command(
    space_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(space_path, folder, ignore=shutil.ignore_patterns("index*"))
    np.save(tmp_path / "lamp.npy", ls.load(folder, "cpu").code("table_0001") + 1e-3)

    def retrieve(*words: str) -> dict[str, object]:
        assert cli.main(["retrieve", str(folder), *words, "--json", "--device", "cpu"]) == 0
        found: dict[str, object] = json.loads(capsys.readouterr().out)
        return found

    add, query = ["--add", str(tmp_path / "lamp.npy")], ["--id", "table_0001", "-k", "2"]
    assert retrieve(*add) == {"kind": "flat", "codes": 5}
    assert retrieve(*query)["ids"] == ["table_0001", "lamp"]
    assert retrieve(*query, "--kind", "hnsw", "--out", str(tmp_path / "row.png"))["ids"] == ["table_0001", "lamp"]
    assert _size(tmp_path / "row.png")[0] == 400
    assert ls.load(folder, "cpu").index().kind == "hnsw"
    command = ["retrieve", str(folder), "--device", "cpu"]
    for words, message in (
        ([*command, "--remove", "lamp"], "hnsw index cannot forget"),
        ([*command, *add], "ids must be distinct"),
        ([*command, "--add", "nothing.npy"], "no such code file"),
        ([*command, *query, "--kind", "ivf"], "'ivf' needs at least 1,000 codes"),
    ):
        assert cli.main(words) == 2
        assert message in " ".join(capsys.readouterr().err.split())
    assert retrieve("--remove", "lamp", "--kind", "auto") == {"kind": "flat", "codes": 4}
    assert "lamp" not in retrieve(*query)["ids"]  # type: ignore[operator]


def test_what_is_left_of_a_damaged_index_is_kept(space_path: Path, tmp_path: Path) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(space_path, folder, ignore=shutil.ignore_patterns("index*"))
    (folder / "index.json").write_text("not JSON")  # its codes are gone
    assert ls.load(folder, "cpu").nearest("table_0001", 1).ids == ["table_0001"]
    assert (folder / "index.json.old").read_text() == "not JSON" and not (folder / "index.faiss.old").exists()
