"""Tables of numbers in text files, whatever separates their columns and however their decimals are written."""

import io
import re
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from latentsdf.geometry.mesh_files.content import decode_text
from latentsdf.utils.errors import MeshError

_COMMENTS = (b"#", b"//")
_COMMENT = re.compile(rb"#|//")
_INTRODUCTION = re.compile(rb"^[#/\s]*([^:]*:)?\s*")
_FIRST_NAMES = {"id", "index", "idx", "i", "n", "no", "nr", "number", "point_id", "label", "t", "time", "frame"}
"""Names of columns in front of the coordinates. Other words there begin a sentence."""
_PROSE = {"a", "and", "are", "as", "by", "for", "from", "in", "is", "of", "on", "per", "the", "to", "with"}
_NUMBER = re.compile(rb"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?|[+-]?(nan|inf|infinity)", re.I)
_DECIMAL_COMMA = re.compile(rb"[+-]?\d*,\d+([eE][+-]?\d+)?|[+-]?\d+")
_SAMPLE_LINES = 100


@dataclass(frozen=True)
class TextTable:
    """A table and the names of its columns, if the file has them."""

    values: NDArray[np.float64]
    """(N, C) numbers."""
    names: tuple[str, ...] | None
    """(C,) names, or None."""


def read_text_table(data: bytes) -> TextTable:
    r"""Read a table with one row per line.

    Columns are separated by semicolons, commas, tabs or blanks; decimals have a point, or a comma where another sign
    separates the columns. Lines that start with `#` or `//` are comments. A line of words above the numbers, or in the
    comment above them, names the columns; a line with a single number above others is their count.

    Args:
        data: Contents of the file.

    Raises:
        MeshError: A line has another number of columns or is not made of numbers (the message names it), or the count
            differs from the number of rows.
    """
    lines = [line.strip() for line in decode_text(data).split(b"\n")]
    numbers = [_COMMENT.split(line, 1)[0].rstrip() for line in lines] if any(map(_COMMENT.search, lines)) else lines
    rows = [(number, line) for number, line in enumerate(numbers, start=1) if line]
    if not rows:
        raise MeshError("expected a table of numbers, one point per row, but there is no row")
    header = _comment_above(lines, rows[0][0])
    declared = None
    if len(rows) > 1 and rows[0][1].isdigit() and not rows[1][1].isdigit():
        declared = int(rows[0][1][:18])
        rows = rows[1:]
    separator, comma = _separator([line for _, line in rows[1 : _SAMPLE_LINES + 1]] or [rows[0][1]])
    first = _split(rows[0][1], separator)
    if not all(_is_number(word, comma) for word in first):
        if any(_is_number(word, comma) for word in first):
            raise _line_error(rows[0], separator, comma, len(first))
        header, rows = rows[0][1], rows[1:]
        if not rows:
            raise MeshError("expected a table of numbers, one point per row, but there is only a line of words")
    width = len(_split(rows[0][1], separator))
    names = None if header is None else _names(header, separator)
    text = b"\n".join(line for _, line in rows)
    _require_unambiguous_commas(separator, text, width)
    if comma:
        text = text.replace(b",", b".")
    try:
        values = np.loadtxt(
            io.BytesIO(text), delimiter=None if separator is None else separator.decode(), comments=None, ndmin=2
        )
    except ValueError as error:
        for row in rows:
            words = _split(row[1], separator)
            if len(words) != width or not all(_is_number(word, comma) for word in words):
                raise _line_error(row, separator, comma, width) from error
        raise MeshError(f"expected a table of numbers, one point per row ({error!s:.60})") from error
    if declared is not None and declared != len(values):
        raise MeshError(
            f"the first line declares {declared:,} points, but {len(values):,} follow; the file is damaged or truncated"
        )
    if names is not None and len(names) != values.shape[1]:
        if header is not None and not header.startswith(_COMMENTS):
            raise MeshError(f"the first line names {len(names)} columns, but there are {values.shape[1]}")
        names = None
    return TextTable(values, names)


def _comment_above(lines: list[bytes], first: int) -> bytes | None:
    """The last comment above line number `first` that names columns, without words in front such as `columns:`."""
    for line in reversed(lines[: first - 1]):
        if line.startswith(_COMMENTS):
            names = _INTRODUCTION.sub(b"", line)
            if _are_names(re.split(r"[\s,;]+", names.decode("utf-8", errors="replace").strip().lower())):
                return b"# " + names
    return None


def _are_names(words: list[str]) -> bool:
    """Return whether the words of a comment are names of columns, not a sentence about coordinates."""
    places = [words.index(name) for name in ("x", "y", "z") if name in words]
    together = bool(places) and max(places) - min(places) == len(places) - 1
    return together and {"x", "y"} <= {*words} and {*words[: min(places)]} <= _FIRST_NAMES and not _PROSE & {*words}


def _separator(lines: list[bytes]) -> tuple[bytes | None, bool]:
    """The sign between columns, None for blanks, and whether decimals have commas."""
    text = b"\n".join(lines)
    if b";" in text:
        return b";", b"," in text
    if b"," not in text:
        return None, False
    words = text.split()
    if all(_DECIMAL_COMMA.fullmatch(word) for word in words) and min(map(len, map(bytes.split, lines))) > 1:
        return None, True
    return b",", False


def _split(line: bytes, separator: bytes | None) -> list[bytes]:
    return [word.strip() for word in line.split(separator)]


def _is_number(word: bytes, comma: bool) -> bool:
    return bool(_NUMBER.fullmatch(word.replace(b",", b".") if comma else word))


def _names(header: bytes, separator: bytes | None) -> tuple[str, ...]:
    text = header.lstrip(b"#/ ").decode("utf-8", errors="replace")
    words = text.split(separator.decode() if separator is not None and separator in header else None)
    return tuple(word.strip().strip("\"'") for word in words)


def _line_error(row: tuple[int, bytes], separator: bytes | None, comma: bool, width: int) -> MeshError:
    number, line = row
    words = _split(line, separator)
    wrong = next((word for word in words if not _is_number(word, comma)), None)
    sign = "blanks" if separator is None else f"'{separator.decode()}'"
    shown = line[:60].decode("utf-8", errors="replace")
    if len(words) != width:
        return MeshError(
            f"line {number} ('{shown}') has {len(words)} columns separated by {sign}, but the first row has {width}; "
            "the file is damaged or truncated"
        )
    named = "" if wrong is None else wrong[:20].decode("utf-8", errors="replace")
    return MeshError(f"line {number} ('{shown}'): '{named}' is not a number (columns separated by {sign})")


def _require_unambiguous_commas(separator: bytes | None, text: bytes, width: int) -> None:
    """Refuse rows such as `0,188,-0,119,0,384`, in which commas may separate columns or decimals."""
    if separator != b"," or width % 2 or width < 4 or b"." in text or b"e" in text.lower():
        return
    rows = [_split(line, b",") for line in text.split(b"\n", _SAMPLE_LINES)[:_SAMPLE_LINES]]
    units, decimals = ([word for row in rows for word in row[start::2]] for start in (0, 1))
    if not all(word.isdigit() for word in decimals):
        return
    # Whole numbers, such as colors, are written neither as -0 nor with leading zeros, and seldom with four digits.
    halves = b"-0" in units or any(len(word) > 1 and word.startswith(b"0") for word in decimals)
    if halves or sum(map(len, decimals)) > 3.5 * len(decimals):
        raise MeshError("commas separate both columns and decimals; write decimal points, or separate columns by ';'")
