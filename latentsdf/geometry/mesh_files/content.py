"""Detection of file types by the first bytes, and decoding of text with any encoding and line endings."""

from latentsdf.utils.errors import MeshError

_SIGNATURES = (
    (b"version https://git-lfs", "a Git LFS pointer, not the file itself; fetch it with `git lfs pull`"),
    (b"PK\x03\x04", "a ZIP archive (or a format based on one); unpack it"),
    (b"PK\x05\x06", "an empty ZIP archive"),
    (b"\x1f\x8b", "a gzip archive; unpack it"),
    (b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive; unpack it"),
    (b"Rar!\x1a\x07", "a RAR archive; unpack it"),
    (b"BZh", "a bzip2 archive; unpack it"),
    (b"\xfd7zXZ\x00", "an xz archive; unpack it"),
    (b"\x28\xb5\x2f\xfd", "a Zstandard archive; unpack it"),
    (b"%PDF", "a PDF document"),
    (b"\x89PNG", "a PNG image"),
    (b"\xff\xd8\xff", "a JPEG image"),
    (b"DRACO", "a Draco file; decode it first, for example with draco_decoder"),
    (b"Kaydara FBX Binary", "an FBX file; convert it"),
    (b"BLENDER", "a Blender file; export a mesh from it"),
    (b"; FBX", "an FBX file; convert it"),
    (b"# vtk DataFile", "a VTK file; convert it"),
    (b"# .PCD", "a point cloud of the Point Cloud Library (PCD); convert it"),
    (b"ISO-10303-21", "a STEP file of exact surfaces; convert it to triangles"),
    (b"\x89HDF\r\n\x1a\n", "an HDF5 file"),
    (b"version https://", "a pointer to a file stored elsewhere, not the file itself"),
)
_MESH_SIGNATURES = (
    (b"glTF", (".glb",), "a binary glTF file"),
    (b"ply\n", (".ply",), "a PLY file"),
    (b"ply\r", (".ply",), "a PLY file"),
    (b"LASF", (".las", ".laz"), "a LAS or LAZ point cloud"),
    (b"ASTM-E57", (".e57",), "an E57 scan"),
    (b"\x93NUMPY", (".npy",), "a NumPy array"),
    (b"solid ", (".stl",), "an ASCII STL file"),
    (b"OFF\n", (".off",), "an OFF file"),
    (b"OFF\r", (".off",), "an OFF file"),
)
_ARCHIVE_SUFFIXES = (".npz",)


def require_content(data: bytes, suffix: str) -> None:
    """Raise an error for a file whose contents do not match its suffix.

    Args:
        data: Contents of the file, or its first 1,000 bytes.
        suffix: Suffix of the file in lower case.

    Raises:
        MeshError: The file is empty, a web page, a Git LFS pointer, an archive, or of another known format.
    """
    if not data.strip(b"\0 \t\r\n"):
        raise MeshError("the file is empty" if not data else f"the file holds {len(data):,} zeros or blanks")
    head = decode_text(data[:1000]).lstrip()
    lower = head.lower()
    if lower.startswith((b"<!doctype html", b"<html")) or (lower.startswith(b"<") and b"<html" in lower):
        raise MeshError("the file is a web page (HTML), not a mesh or points; the download failed, repeat it")
    if head.startswith(b"<"):
        raise MeshError(f"the file is XML, not '{suffix}'; convert it")
    if suffix not in (".gltf", ".glb") and head.startswith(b"{"):
        raise MeshError(f"the file is JSON, not '{suffix}'; rename it to .gltf if it is glTF")
    for signature, meaning in _SIGNATURES:
        if data.startswith(signature) and suffix not in _ARCHIVE_SUFFIXES:
            raise MeshError(f"the file is {meaning}")
    for signature, suffixes, meaning in _MESH_SIGNATURES:
        # A binary STL may start with any 80 bytes, and a glTF file may be of either kind.
        if data.startswith(signature) and suffix not in (*suffixes, ".stl", ".gltf"):
            raise MeshError(f"the file is {meaning}, not '{suffix}'; rename it to {suffixes[0]}")


def decode_text(data: bytes) -> bytes:
    r"""Convert text to a superset of ASCII without byte-order mark, with `\n` at the end of lines.

    Args:
        data: Text in UTF-8, UTF-16, UTF-32 or an 8-bit encoding such as Latin-1, with `\n`, `\r\n` or `\r`.
    """
    data = decode_wide(data)
    data = data.removeprefix(b"\xef\xbb\xbf")
    return data.replace(b"\r\n", b"\n").replace(b"\r", b"\n") if b"\r" in data else data


def decode_wide(data: bytes) -> bytes:
    """Convert UTF-16 and UTF-32, with or without a byte-order mark, to UTF-8; other data are returned unchanged."""
    encoding = _wide_encoding(data)
    return data.decode(encoding, errors="replace").encode() if encoding else data


def _wide_encoding(data: bytes) -> str | None:
    if data.startswith((b"\xff\xfe\0\0", b"\0\0\xfe\xff")):
        return "utf-32"
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "utf-16"
    head = data[:200]
    even, odd = head[::2].count(0), head[1::2].count(0)
    if odd > 0.9 * (len(head) // 2) > 0 and even == 0:
        return "utf-16-le"
    return "utf-16-be" if even > 0.9 * (len(head) // 2) > 0 and odd == 0 else None


def floats(words: list[bytes]) -> list[float]:
    """Convert words to numbers.

    Raises:
        MeshError: A word is not a number.
    """
    try:
        values = list(map(float, words))
    except ValueError:
        raise _not_a_number(words, float) from None
    if any(b"_" in word for word in words):  # Python accepts 1_000
        raise _not_a_number(words, float)
    return values


def integers(words: list[bytes]) -> list[int]:
    """Convert words to whole numbers of at most 64 bits.

    Raises:
        MeshError: A word is not a whole number.
    """
    try:
        values = list(map(int, words))
    except ValueError:
        raise _not_a_number(words, int) from None
    if any(b"_" in word for word in words) or (values and max(max(values), -min(values)) >= 2**62):
        raise _not_a_number(words, int)
    return values


def _not_a_number(words: list[bytes], kind: type[float] | type[int]) -> MeshError:
    for word in words:
        try:
            if b"_" not in word and abs(kind(word)) < (2**62 if kind is int else float("inf")):
                continue
        except ValueError:
            pass
        text = word.decode("utf-8", errors="replace")
        hint = "; write decimal points, not commas" if b"," in word else "; the file is damaged or truncated"
        return MeshError(f"expected {'an index' if kind is int else 'a number'}, got '{text[:40]}'{hint}")
    return MeshError("expected numbers")
