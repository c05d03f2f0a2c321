"""JSON from damaged or hostile files."""

import math

import pytest

from latentsdf.utils import json_files
from latentsdf.utils.json_files import is_number, parse_json, parse_object


def test_values() -> None:
    """Text and bytes in UTF-8 are parsed alike."""
    assert parse_json('[1, 2.5, "Stühle"]') == parse_json('[1, 2.5, "Stühle"]'.encode()) == [1, 2.5, "Stühle"]
    assert parse_object(b'{"a": {"b": null}}') == {"a": {"b": None}}


@pytest.mark.parametrize("data", [b"", b"{", b"{'a': 1}", b"\xff\xfe\xfd", "[" * 100_000, '{"a":' * 100_000])
def test_damaged_text(data: bytes | str) -> None:
    """Text that is not JSON or too deep is a ValueError, whatever the parser raises."""
    with pytest.raises(ValueError, match=r"."):
        parse_json(data)


def test_other_types_than_objects() -> None:
    """The message names the type."""
    for text, name in (("[]", "list"), ("3", "int"), ("null", "NoneType"), ('"a"', "str")):
        with pytest.raises(ValueError, match=f"expected a JSON object, got {name}"):
            parse_object(text)


def test_long_text(monkeypatch: pytest.MonkeyPatch) -> None:
    """Text beyond the limit is refused before it is parsed."""
    monkeypatch.setattr(json_files, "MAX_BYTES", 10)
    assert parse_json("[1,2,3,45]") == [1, 2, 3, 45]
    with pytest.raises(ValueError, match="expected at most 10 bytes of JSON, got 11"):
        parse_json("[1,2,3,456]")


def test_numbers() -> None:
    """Numbers are finite integers and floats, of any size; truth values and text are none."""
    assert all(map(is_number, (0, -1, 2.5, 10**400)))
    assert not any(map(is_number, (True, "1", None, math.nan, math.inf, -math.inf, [1])))
