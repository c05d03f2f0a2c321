"""Folders and objects at `s3://`, `gs://` and `memory://` URLs, by obstore, an optional dependency.

A store of objects has neither folders nor renames: a folder is a common prefix of names, and every object is written
as a whole, or not at all. `ObjectPath` offers what sample stores need of `pathlib.Path`. Credentials, region and
endpoint come from the environment (`AWS_ACCESS_KEY_ID`, `AWS_ENDPOINT_URL`, `GOOGLE_SERVICE_ACCOUNT`, ...).
`memory://` is the memory of this process, for tests and notebooks.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import quote

from latentsdf.utils.errors import ConfigError, MissingExtraError, StoreError

SCHEMES = ("s3", "gs", "memory")
"""Schemes of URLs that are supported."""

RETRY_SECONDS = 60.0
"""Time in seconds during which a request that fails, as without a network, is repeated."""

_BACKOFF = {"init_backoff": timedelta(milliseconds=100)}

_URL = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]+):(?:\\|/){1,3}(?P<rest>[^/\\].*)", re.DOTALL)


@dataclass(frozen=True, order=True)
class ObjectPath:
    """An object, or a folder of objects."""

    scheme: str
    """One of `SCHEMES`."""
    bucket: str
    """Name of the bucket; of an area of memory for `memory`."""
    key: str = ""
    """Name within the bucket, without a slash at either end; empty for the whole bucket."""

    def __str__(self) -> str:
        return f"{self.scheme}://{self.bucket}" + (f"/{self.key}" if self.key else "")

    def __truediv__(self, part: str) -> "ObjectPath":
        return self.joinpath(part)

    def joinpath(self, *parts: str) -> "ObjectPath":
        """Return the path of a descendant; parts may have several names, separated by slashes."""
        return ObjectPath(self.scheme, self.bucket, "/".join(part for part in (self.key, *parts) if part))

    @property
    def name(self) -> str:
        """Last name of the path."""
        return self.key.rpartition("/")[2] or self.bucket

    @property
    def parent(self) -> "ObjectPath":
        """Folder that contains it; the bucket is its own parent."""
        return ObjectPath(self.scheme, self.bucket, self.key.rpartition("/")[0])

    def absolute(self) -> "ObjectPath":
        """Return the path itself, which is always absolute."""
        return self

    def resolve(self) -> "ObjectPath":
        """Return the path itself; there are no links."""
        return self

    def is_file(self) -> bool:
        """Return whether there is an object of this name."""
        try:
            self.size()
        except FileNotFoundError:
            return False
        return True

    def size(self) -> int:
        """Return the size of the object in bytes.

        Raises:
            FileNotFoundError: There is no object of this name.
            StoreError: The storage cannot be reached or refuses the request.
        """
        with self.errors():
            return int(_obstore().head(self.client(), self.key)["size"])

    def read_bytes(self) -> bytes:
        """Read the object; errors as for `size`."""
        with self.errors():
            return bytes(_obstore().get(self.client(), self.key).bytes())

    def read_range(self, start: int, length: int) -> bytes:
        """Read a part of the object, which may be shorter at its end; errors as for `size`."""
        if length <= 0:
            return b""
        with self.errors():
            return bytes(_obstore().get_range(self.client(), self.key, start=start, length=length))

    def write(self, content: bytes | Path, *, new: bool = False) -> bool:
        """Write the object as a whole.

        Args:
            content: Its bytes, or a file that has them.
            new: Only if there is none of this name, decided by the storage, so that one of several writers succeeds.

        Returns:
            False if there was one already.

        Raises:
            StoreError: The storage cannot be reached or refuses the request.
        """
        obstore = _obstore()
        with self.errors():
            try:
                obstore.put(self.client(), self.key, content, mode="create" if new else "overwrite")
            except (obstore.exceptions.AlreadyExistsError, obstore.exceptions.PreconditionError):
                if not new:
                    raise
                return False
        return True

    def delete(self) -> None:
        """Delete the object, if there is one."""
        with self.errors():
            try:
                _obstore().delete(self.client(), self.key)
            except FileNotFoundError:
                return

    def copy_to(self, other: "ObjectPath") -> None:
        """Copy the object, without transferring its bytes if both are in one bucket."""
        if (self.scheme, self.bucket) != (other.scheme, other.bucket):
            other.write(self.read_bytes())
            return
        with self.errors():
            _obstore().copy(self.client(), self.key, other.key)

    def files(self) -> Iterator[tuple[str, int]]:
        """Yield the name, relative to this folder, and the size in bytes of all objects below it, in any order.

        The storage answers with a thousand names per request.
        """
        start = len(self.key) + 1 if self.key else 0
        with self.errors():
            for chunk in _obstore().list(self.client(), self.key or None):
                for found in chunk:
                    yield found["path"][start:], found["size"]

    def client(self) -> Any:
        """Return the client of the bucket, one per process."""
        return _client(self.scheme, self.bucket)

    @contextmanager
    def errors(self) -> Iterator[None]:
        """Convert errors of the storage within the block into StoreErrors; a missing object is a FileNotFoundError.

        Raises:
            FileNotFoundError: There is no object of this name.
            StoreError: The storage cannot be reached, or refuses the request.
        """
        try:
            yield
        except FileNotFoundError as error:
            raise FileNotFoundError(f"{self}: no such object") from error
        except (_obstore().exceptions.BaseError, PermissionError, OSError) as error:
            raise storage_error(self, error) from error


def storage_error(path: ObjectPath, error: BaseException) -> StoreError:
    """Describe an error of the storage in one line."""
    reason = str(error).partition("\n")[0].strip()
    return StoreError(
        f"{path}: the object storage does not answer or refuses ({reason}); what was written before is complete. Check "
        "network, credentials and endpoint, then repeat the command to continue"
    )


def is_storage_error(error: BaseException) -> bool:
    """Return whether an error comes from the client of a storage, as when it cannot be reached."""
    return type(error).__module__.startswith("obstore")


def locate(place: Path | ObjectPath | str) -> Path | ObjectPath:
    """Return a path on disk, or at a URL.

    Args:
        place: A path or a URL; also a URL whose two slashes became one as it was made a `Path`.

    Raises:
        ConfigError: The scheme of the URL is not supported, or a name is empty.
        MissingExtraError: obstore is not installed.
    """
    if isinstance(place, ObjectPath):
        return place
    found = _URL.fullmatch(str(place))
    if found is None:
        return Path(place)
    scheme = found["scheme"].lower()
    if scheme not in SCHEMES:
        if Path(f"{found['scheme']}:").is_dir():
            return Path(place)  # a folder that is named like this
        raise ConfigError(f"{place}: expected a path, or a URL of {', '.join(f'{name}://' for name in SCHEMES)}")
    bucket, *parts = re.split(r"[/\\]", found["rest"].rstrip("/\\"))
    if not all(parts) or {".", ".."} & {bucket, *parts}:
        raise ConfigError(f"{place}: expected {scheme}://bucket/name, got a name that is empty or consists of dots")
    _obstore()
    return ObjectPath(scheme, bucket, "/".join(parts))


@lru_cache(maxsize=64)
def _client(scheme: str, bucket: str) -> Any:
    _obstore()
    from obstore.store import MemoryStore, from_url

    if scheme == "memory":
        return MemoryStore()
    retry = {"max_retries": 10, "retry_timeout": timedelta(seconds=RETRY_SECONDS), "backoff": _BACKOFF}
    try:
        return from_url(f"{scheme}://{quote(bucket)}", retry_config=retry)  # type: ignore[call-overload]
    except Exception as error:
        raise ConfigError(f"{scheme}://{bucket}: {str(error).partition(chr(10))[0]}") from error


def _obstore() -> Any:
    try:
        import obstore
        import obstore.exceptions
    except ImportError as error:
        raise MissingExtraError(
            "s3://, gs:// and memory:// need obstore; pip install 'latentsdf[cloud]', here and on the workers"
        ) from error
    return obstore
