"""Reading of JSON from files that may be damaged or hostile."""

import json
import math
from typing import Any

MAX_BYTES = 1 << 30
"""Largest JSON file that is read."""


def parse_json(data: bytes | str) -> Any:
    """Parse JSON.

    Raises:
        ValueError: The text is not UTF-8, not JSON, too deep or too long.
    """
    if len(data) > MAX_BYTES:
        raise ValueError(f"expected at most {MAX_BYTES:,} bytes of JSON, got {len(data):,}")
    try:
        return json.loads(data)
    except RecursionError:
        raise ValueError("the JSON is nested too deeply") from None


def parse_object(data: bytes | str) -> dict[str, Any]:
    """Parse a JSON object.

    Raises:
        ValueError: As for `parse_json`, or the text holds another type.
    """
    value = parse_json(data)
    if not isinstance(value, dict):
        raise ValueError(f"expected a JSON object, got {type(value).__name__}")
    return value


def is_number(value: object) -> bool:
    """Return whether a JSON value is a finite number."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < math.inf
