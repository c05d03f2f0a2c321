"""OBJ: one cube in every dialect, and damaged files."""

from pathlib import Path

import pytest
from helpers.cube_files import CORNERS, QUADS, load_bytes, require_cube

from latentsdf.utils.errors import MeshError

V = "".join(f"v {x} {y} {z}\n" for x, y, z in CORNERS)
F = "".join("f " + " ".join(str(i + 1) for i in quad) + "\n" for quad in QUADS)


def _face_lines(word: str, *, backward: bool = False) -> str:
    shift = -8 if backward else 1
    return "".join("f " + " ".join(word.replace("i", str(i + shift)) for i in quad) + "\n" for quad in QUADS)


OBJ = {
    "plain": V + F,
    "texture": V + "vt 0 0\nvn 0 0 1\n" + _face_lines("i/1/1"),
    "normals": V + "vn 0 0 1\n" + _face_lines("i//1"),
    "negative": V + _face_lines("i", backward=True),
    "forward_references": F + V,
    "crlf": (V + F).replace("\n", "\r\n"),
    "no_final_newline": (V + F).rstrip(),
    "continued_lines": V + F.replace(" 1 ", " \\\n 1 "),
    "colors": V.replace("\n", " 0.5 0.5 0.5\n") + F,
    "comments": "# made\n" + V.replace("\n", " # corner\n") + F.replace("\n", " # side\n"),
    "other_statements": "mtllib a.mtl\no box\ns off\ng a b\nusemtl red_1\nl 1 2\np 1\nvp 0 0\n" + V + F,
    "upper_case": (V + F).upper(),
    "utf16_without_mark": (V + F).encode("utf-16-le"),
    "utf32": (V + F).encode("utf-32"),
    "latin1_names": V.encode() + "g Stück\n".encode("latin1") + F.encode(),
    "exponents": V.replace("1.0", "+1.0E+00") + F,
    "names_that_end_in_a_backslash": b"# C:\\models\\\n" + V.encode() + "g 表\n".encode("shift-jis") + F.encode(),
    "continued_by_blanks": V + F.replace(" 1 ", " \\ \n\t1 "),
    "two_parts": V + "g a\n" + F[: len(F) // 2] + "g b\n" + F[len(F) // 2 :],
}


@pytest.mark.parametrize("name", OBJ)
def test_obj_dialect(name: str, tmp_path: Path) -> None:
    """Every legal way to write a cube as OBJ is read as the cube."""
    require_cube(load_bytes(tmp_path, "cube.obj", OBJ[name]))


@pytest.mark.parametrize(
    ("contents", "message"),
    [
        (V + F.replace("f 1 2", "f 1 9"), "faces refer to vertex 8"),
        (V + F.replace("f 1 2", "f -9 2"), "damaged"),
        (V.replace("1.0", "1,0") + F, "decimal points, not commas"),
        (V.replace("1.0 1.0 1.0", "1.0 1.0") + F, "a vertex has 3 coordinates"),
        (V + F.replace("f 1", "w 1"), "the keyword is unknown"),
        (V + F[:-6], "the last line is truncated"),
        (V + F + "surf 0 1 0 1 1 2\n", "free-form"),
        (V + F.replace("f 1", "f 1_0"), "expected an index, got '1_0'"),
        ("Access denied\n", "has no vertices"),
        ("# .PCD v0.7\nVERSION 0.7\n", "Point Cloud Library"),
        ("PK\x03\x04 and so on", "ZIP archive"),
        ("<?xml version='1.0'?><COLLADA/>", "XML"),
        ("ply\nformat ascii 1.0\n", "a PLY file, not '.obj'"),
        ("glTF\2\0\0\0", "binary glTF"),
        (b"\0" * 500, "500 zeros"),
    ],
)
def test_damaged_obj(contents: bytes | str, message: str, tmp_path: Path) -> None:
    """Damaged files and files of another kind are refused with the reason."""
    with pytest.raises(MeshError, match=f"^cube.obj: .*{message}"):
        load_bytes(tmp_path, "cube.obj", contents)


def test_contradicted_comment(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Numbers in comments of exporters that exceed what was read are reported; right ones are not."""
    require_cube(load_bytes(tmp_path, "cube.obj", "# Vertices: 8\n" + V + "# 6 faces\n" + F))
    assert not capsys.readouterr().err
    load_bytes(tmp_path, "cube.obj", "# Vertices: 8\n" + V + "# 60 faces\n" + F)
    assert "60 faces according to a comment in the file, but 6 in it" in capsys.readouterr().err


def test_homogeneous_obj(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A fourth number of vertices other than 1 is reported, because it is not divided by."""
    require_cube(load_bytes(tmp_path, "cube.obj", V.replace("\n", " 1.0\n") + F))
    assert not capsys.readouterr().err
    load_bytes(tmp_path, "cube.obj", V.replace("\n", " 2.0\n") + F)
    assert "fourth number" in capsys.readouterr().err
