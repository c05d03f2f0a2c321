"""Kinds of files by their first bytes, encodings of text, and numbers in words."""

import pytest

from latentsdf.geometry.mesh_files.content import decode_text, floats, integers, require_content
from latentsdf.utils.errors import MeshError

TEXT = "Stück\n1 2\n"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r"])
def test_encodings(encoding: str, line_end: str) -> None:
    """Every encoding and line ending becomes UTF-8 with one kind of line ending."""
    text = "v 1 2 3\n" * 30 if encoding in ("utf-16-le", "utf-16-be") else TEXT
    assert decode_text(text.replace("\n", line_end).encode(encoding)) == text.encode()


def test_eight_bit_text() -> None:
    """Bytes of other encodings are kept, so that the numbers beside them are read."""
    assert decode_text("Stück 1".encode("latin1")) == b"St\xfcck 1"


@pytest.mark.parametrize(
    ("data", "suffix", "message"),
    [
        (b"", ".obj", "the file is empty"),
        (b"\0" * 1200, ".ply", "holds 1,200 zeros or blanks"),
        (b"\n<!DOCTYPE html><p>404", ".stl", "a web page"),
        ("<html>".encode("utf-16"), ".xyz", "a web page"),
        (b"<COLLADA/>", ".obj", "XML, not '.obj'"),
        (b'{"asset": {}}', ".obj", "JSON, not '.obj'"),
        (b"version https://git-lfs.github.com/spec/v1", ".ply", "a Git LFS pointer"),
        (b"version https://elsewhere", ".ply", "a pointer to a file stored elsewhere"),
        (b"PK\x03\x04", ".obj", "a ZIP archive"),
        (b"\x1f\x8b", ".off", "a gzip archive"),
        (b"glTF\2\0\0\0", ".ply", "a binary glTF file, not '.ply'; rename it to .glb"),
        (b"ply\r\n", ".xyz", "a PLY file, not '.xyz'; rename it to .ply"),
    ],
)
def test_other_kinds_of_files(data: bytes, suffix: str, message: str) -> None:
    """Files of another kind are refused by its name."""
    with pytest.raises(MeshError, match=message):
        require_content(data, suffix)


@pytest.mark.parametrize(
    ("data", "suffix"),
    [
        (b"v 0 0 0\n", ".obj"),
        (b'{"asset": {}}', ".gltf"),
        (b"PK\x03\x04", ".npz"),
        (b"glTF\2\0\0\0", ".glb"),
        (b"ply\n", ".ply"),
        (b"OFF\n in the head of a binary file", ".stl"),
    ],
)
def test_right_kinds_of_files(data: bytes, suffix: str) -> None:
    """Files of the kind of their suffix are accepted; a binary STL may start with any bytes."""
    require_content(data, suffix)


def test_numbers() -> None:
    """Words become numbers, with exponents and signs."""
    assert floats([b"1", b"-2.5e3", b"+.5"]) == [1.0, -2500.0, 0.5]
    assert integers([b"7", b"-3"]) == [7, -3] and integers([]) == [] == floats([])


@pytest.mark.parametrize(
    ("read", "words", "message"),
    [
        (floats, [b"1", b"0,5"], "expected a number, got '0,5'; write decimal points"),
        (floats, [b"1_000"], "expected a number, got '1_000'; the file is damaged"),
        (floats, [b"1", b"x" * 90], f"expected a number, got '{'x' * 40}'"),
        (integers, [b"1.5"], "expected an index, got '1.5'"),
        (integers, [b"2", b"1_0"], "expected an index, got '1_0'"),
        (integers, [b"2", str(2**63).encode()], "expected an index, got '9223372036854775808'"),
        (integers, [b"9" * 5000], "expected an index, got '99999"),
    ],
)
def test_words_that_are_not_numbers(read: object, words: list[bytes], message: str) -> None:
    """The message names the word, shortened, and the likely cause."""
    with pytest.raises(MeshError, match=message):
        read(words)  # type: ignore[operator]
