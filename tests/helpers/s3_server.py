"""Local stand-in for the part of S3's HTTP API that sample stores use, which can fail on request.

moto, a complete one, needs an older python-dateutil than the rest of the pinned versions allow. With `LATENTSDF_S3` set
to the endpoint of another server, such as moto or MinIO, tests that do not make it fail run against that one.
"""

import hashlib
import os
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, quote, unquote, urlsplit
from xml.sax.saxutils import escape, unescape

import pytest

_PAGE = 5
"""Objects on a page of a listing, few so that tests see several pages."""


@dataclass
class StandIn:
    """Objects of all buckets, and what was asked for.

    Attributes:
        objects: Contents by bucket/name.
        requests: Method and path of each request.
        fail_after: Number of writes after which the server stops answering, as if it had been killed; None for never.
        url: Address of the server.
    """

    objects: dict[str, bytes] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)
    fail_after: int | None = None
    url: str = ""

    def names(self, folder: str) -> list[str]:
        """Names of the objects below a folder, relative to it."""
        return sorted(name.removeprefix(f"{folder}/") for name in self.objects if name.startswith(f"{folder}/"))


@contextmanager
def s3_server() -> Iterator[StandIn]:
    """Run the server, and let the environment of this process and its children point to it."""
    state, lock = StandIn(), threading.Lock()
    handler = type("Handler", (_Handler,), {"state": state, "lock": lock})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    state.url = os.environ.get("LATENTSDF_S3") or f"http://127.0.0.1:{server.server_port}"
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("AWS_")]:
            patch.delenv(name)
        patch.setenv("AWS_ENDPOINT_URL", state.url)
        patch.setenv("AWS_ALLOW_HTTP", "true")
        patch.setenv("AWS_REGION", "us-east-1")
        patch.setenv("AWS_ACCESS_KEY_ID", "key")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
        try:
            yield state
        finally:
            server.shutdown()
            server.server_close()
            thread.join()


class _Handler(BaseHTTPRequestHandler):
    """GET, HEAD, PUT and copies of objects, deletion by POST, listing of buckets, and conditional writes."""

    state: StandIn
    lock: threading.Lock
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # one packet per answer, without the pause of delayed acknowledgments
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        name, query = self._start()
        if name is None:
            return
        if "list-type" in query:
            self._list(name, {key: values[0] for key, values in query.items()})
            return
        content = self.state.objects.get(name)
        if content is None:
            self._answer(404, b"<Error><Code>NoSuchKey</Code></Error>")
            return
        headers = {"ETag": _etag(content), "Last-Modified": formatdate(0, usegmt=True)}
        span = self.headers.get("Range")
        if span is None or not content:
            self._answer(200, content, headers)
            return
        first, _, last = span.removeprefix("bytes=").partition("-")
        start = int(first) if first else max(0, len(content) - int(last))
        stop = min(int(last) + 1, len(content)) if first and last else len(content)
        headers["Content-Range"] = f"bytes {start}-{stop - 1}/{len(content)}"
        self._answer(206, content[start:stop], headers)

    do_HEAD = do_GET

    def do_PUT(self) -> None:
        name, _ = self._start(writes=True)
        if name is None:
            return
        content = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        with self.lock:
            if source := self.headers.get("x-amz-copy-source"):
                found = self.state.objects.get(unquote(source).lstrip("/"))
                if found is None:
                    self._answer(404, b"<Error><Code>NoSuchKey</Code></Error>")
                    return
                self.state.objects[name] = found
                self._answer(200, f"<CopyObjectResult><ETag>{_etag(found)}</ETag></CopyObjectResult>".encode())
                return
            if self.headers.get("If-None-Match") == "*" and name in self.state.objects:
                self._answer(412, b"<Error><Code>PreconditionFailed</Code></Error>")
                return
            self.state.objects[name] = content
        self._answer(200, b"", {"ETag": _etag(content)})

    def do_POST(self) -> None:
        """Delete the objects that the body lists."""
        bucket, query = self._start(writes=True)
        if bucket is None:
            return
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
        assert "delete" in query
        keys = [unescape(key) for key in re.findall("<Key>(.*?)</Key>", body, re.DOTALL)]
        with self.lock:
            for key in keys:
                self.state.objects.pop(f"{bucket}/{key}", None)
        deleted = "".join(f"<Deleted><Key>{escape(key)}</Key></Deleted>" for key in keys)
        self._answer(200, f"<DeleteResult>{deleted}</DeleteResult>".encode())

    def _start(self, *, writes: bool = False) -> tuple[str | None, dict[str, list[str]]]:
        """Record a request; the name is None if the server has failed, which closes the connection."""
        parts = urlsplit(self.path)
        with self.lock:
            self.state.requests.append(f"{self.command} {self.path}")
            if writes and self.state.fail_after:
                self.state.fail_after -= 1
            elif self.state.fail_after == 0:
                self.close_connection = True
                return None, {}
        return unquote(parts.path).strip("/"), parse_qs(parts.query, keep_blank_values=True)

    def _list(self, bucket: str, query: dict[str, str]) -> None:
        prefix, after = query.get("prefix", ""), query.get("continuation-token") or query.get("start-after", "")
        with self.lock:
            found = [name for name in self.state.names(bucket) if name.startswith(prefix) and name > after]
            page = found[:_PAGE]
            entries = "".join(
                f"<Contents><Key>{escape(quote(name) if query.get('encoding-type') else name)}</Key>"
                f"<LastModified>2026-01-01T00:00:00.000Z</LastModified>"
                f"<ETag>{_etag(content)}</ETag><Size>{len(content)}</Size></Contents>"
                for name in page
                for content in [self.state.objects[f"{bucket}/{name}"]]
            )
        more = len(found) > _PAGE
        token = f"<NextContinuationToken>{escape(page[-1])}</NextContinuationToken>" if more else ""
        self._answer(
            200,
            f"<ListBucketResult><Name>{bucket}</Name><Prefix>{escape(prefix)}</Prefix><KeyCount>{len(page)}</KeyCount>"
            f"<MaxKeys>{_PAGE}</MaxKeys><IsTruncated>{str(more).lower()}</IsTruncated>{token}{entries}"
            "</ListBucketResult>".encode(),
        )

    def _answer(self, status: int, content: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def log_message(self, *_: Any) -> None:
        """Print nothing."""


def _etag(content: bytes) -> str:
    return f'"{hashlib.md5(content).hexdigest()}"'
