"""The rule for ids of shapes, which become names of files and folders.

A key is category/id. Both parts are plain folder names on every system: not empty, no separator, no leading dot (and so
no `..`), no leading "__" (reserved by Zarr), no control character and none of the characters that `RULE` lists. An
id is not "zarr.json". The id of a deformed copy ends in ~ and a number.

The rule is enforced where ids are made and wherever they are read from a file, which may come from an untrusted source.
Names of files that break it are escaped (`key_part`).
"""

import os
import re
from typing import TypeGuard

_PART = r'[^\x00-\x1f\x7f/\\:*?"<>|\ud800-\udfff.][^\x00-\x1f\x7f/\\:*?"<>|\ud800-\udfff]*'
_ID = re.compile(rf"(?!__|zarr\.json$){_PART}")
_KEY = re.compile(rf"(?!__){_PART}/(?!__|zarr\.json$){_PART}")
_NOT_IN_KEYS = re.compile(r'[\x00-\x1f\x7f/\\:*?"<>|\ud800-\udfff]|^\.|^_(?=_)')
_MAX_BYTES = 255  # of a file name on common file systems

RULE = "without a leading dot or '__', and without / \\ : * ? \" < > | in them"
"""Second half of error messages: what names must be like."""


def is_id(name: object) -> TypeGuard[str]:
    """Return whether a value is a valid id within a category."""
    return isinstance(name, str) and _ID.fullmatch(name) is not None and _is_short(name)


def is_key(name: object) -> TypeGuard[str]:
    """Return whether a value is a valid key, category/id."""
    return isinstance(name, str) and _KEY.fullmatch(name) is not None and all(map(_is_short, name.split("/")))


def key_part(name: str) -> str:
    """Convert the name of a file or folder to a category or id: characters not allowed in keys are written as %XX."""
    return _NOT_IN_KEYS.sub(lambda found: "".join(f"%{b:02X}" for b in os.fsencode(found.group())), name)


def _is_short(part: str) -> bool:
    return len(part.encode("utf-8", "surrogatepass")) <= _MAX_BYTES
