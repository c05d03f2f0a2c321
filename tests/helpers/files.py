"""Contents and corruption of files."""

import hashlib
import json
from pathlib import Path
from typing import Any


def files_of(folder: Path) -> dict[str, bytes]:
    """Return the contents of all files below a folder, by relative path."""
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def flip_byte(path: Path, offset: int = 100) -> None:
    """Invert one byte of a file."""
    content = bytearray(path.read_bytes())
    content[offset] ^= 0xFF
    path.write_bytes(bytes(content))


def renew_manifest(folder: Path) -> None:
    """Make the manifest of an artifact match its files, which a test has changed on purpose."""
    manifest = folder / "manifest.json"
    content = json.loads(manifest.read_text())
    for name, entry in content["files"].items():
        data = (folder / name).read_bytes()
        entry |= {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    manifest.write_text(json.dumps(content))


def change_metadata(folder: Path, **changes: Any) -> None:
    """Change the metadata of a group or an array of Zarr."""
    metadata = json.loads((folder / "zarr.json").read_text())
    (folder / "zarr.json").write_text(json.dumps(metadata | changes))
