"""Tests of shape records and their attributes."""

import json

import pytest

from latentsdf.data.records import ShapeRecord, provenance_fields


def test_attributes_round_trip_through_json(record: ShapeRecord) -> None:
    """Attributes can be stored as JSON, and give back every field of the provenance."""
    fields = provenance_fields(json.loads(json.dumps(record.attributes())))
    assert fields == {name: getattr(record, name) for name in fields}
    assert len(fields) == 9 and record.key == "lamp/a.b-1"


@pytest.mark.parametrize(
    ("change", "error"),
    [({"center": [0, 0]}, ValueError), ({"scale": None}, TypeError), ({"seed": "x"}, ValueError)],
)
def test_malformed_attributes(record: ShapeRecord, change: dict[str, object], error: type[Exception]) -> None:
    """Attributes of another type or form raise the documented errors."""
    with pytest.raises(error):
        provenance_fields(record.attributes() | change)
    with pytest.raises(KeyError):
        provenance_fields({name: value for name, value in record.attributes().items() if name != "area"})
