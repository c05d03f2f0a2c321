"""Local stand-in for the part of Hugging Face's HTTP API that huggingface_hub calls to share a space."""

import base64
import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest

TOKEN = "hf_write"
_RESOLVE = re.compile(r"/(?P<repo>[^/]+/[^/]+)/resolve/(?P<revision>[^/]+)/(?P<file>.+)")
_MODEL = re.compile(r"/api/models/(?P<repo>[^/]+/[^/]+)(?:/(?P<action>revision|preupload|commit)/(?P<revision>[^/]+))?")


@dataclass
class StandIn:
    """Repositories, and what was asked for.

    Attributes:
        repos: Commits of the main branch of each repository, oldest first: contents of the files by name.
        private: Repositories that need the token.
        objects: Large files by SHA-256.
        requests: Method and path of each request.
        ranges: Value of the Range header of each download that was continued.
        cut: Names of files whose next download is cut half-way.
        status: Status with which every request is refused; 0 for none.
    """

    repos: dict[str, list[dict[str, bytes]]] = field(default_factory=dict)
    private: set[str] = field(default_factory=set)
    objects: dict[str, bytes] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)
    ranges: list[str] = field(default_factory=list)
    cut: set[str] = field(default_factory=set)
    status: int = 0
    url: str = ""

    def files(self, repo: str) -> dict[str, bytes]:
        """Files of the last commit."""
        return self.repos[repo][-1]

    def downloads(self) -> list[str]:
        """Names of the files that were downloaded."""
        return [path.rsplit("/", 1)[1] for path in self.requests if path.startswith("GET") and "/resolve/" in path]


def commit_id(files: dict[str, bytes]) -> str:
    """Id of a commit."""
    digest = hashlib.sha1()
    for name, content in sorted(files.items()):
        digest.update(name.encode() + content)
    return digest.hexdigest()


@contextmanager
def serve() -> Iterator[StandIn]:
    """Answer requests on a free port of this machine while the block runs."""
    hub = StandIn()

    class Handler(_Handler):
        stand_in = hub

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    hub.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def log_in(hub: StandIn, home: Path, patch: pytest.MonkeyPatch) -> None:
    """Let huggingface_hub talk to a stand-in, with a cache and a login of its own in a folder."""
    settings = {"HF_HOME": str(home), "HF_ENDPOINT": hub.url, "HF_TOKEN": TOKEN, "HF_HUB_DISABLE_XET": "1"}
    for name, value in (settings | {"HF_HUB_DISABLE_TELEMETRY": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1"}).items():
        patch.setenv(name, value)
    from huggingface_hub import constants

    # Read from the environment when the package is imported, which may have been before.
    changes: dict[str, object] = {"ENDPOINT": hub.url, "HF_HOME": str(home), "HF_HUB_CACHE": str(home / "hub")}
    changes["HUGGINGFACE_CO_URL_TEMPLATE"] = hub.url + "/{repo_id}/resolve/{revision}/{filename}"
    changes |= {"HF_TOKEN_PATH": str(home / "token"), "HF_HUB_DISABLE_XET": True, "HF_HUB_OFFLINE": False}
    for name, value in changes.items():
        patch.setattr(constants, name, value)


class _Handler(BaseHTTPRequestHandler):
    stand_in: StandIn
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: Any) -> None:
        """Log nothing."""

    def do_HEAD(self) -> None:
        """Describe a file."""
        self._answer()

    def do_GET(self) -> None:
        """Send a file, or describe a repository."""
        self._answer()

    def do_POST(self) -> None:
        """Create a repository, or change it."""
        self._answer()

    def do_PUT(self) -> None:
        """Receive a large file."""
        self._answer()

    def _answer(self) -> None:
        hub, path = self.stand_in, unquote(urlsplit(self.path).path)
        hub.requests.append(f"{self.command} {path}")
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if hub.status:
            return self._send(hub.status, {"error": "refused"})
        if path.startswith("/lfs/"):
            hub.objects[path.removeprefix("/lfs/")] = body
            return self._send(200, {})
        if path == "/api/validate-yaml":
            return self._send(200, {"warnings": [], "errors": []})
        if self.command in ("POST", "PUT") and self.headers.get("Authorization") != f"Bearer {TOKEN}":
            return self._send(401, {"error": "Invalid username or password."})
        if path == "/api/repos/create":
            return self._create(json.loads(body))
        if path.endswith(".git/info/lfs/objects/batch"):
            objects = [
                one | {"actions": {"upload": {"href": f"{hub.url}/lfs/{one['oid']}"}}}
                for one in json.loads(body)["objects"]
            ]
            return self._send(200, {"transfer": "basic", "objects": objects})
        found = _RESOLVE.fullmatch(path) or _MODEL.fullmatch(path)
        repo = found["repo"] if found else ""
        hidden = repo in hub.private and self.headers.get("Authorization") != f"Bearer {TOKEN}"
        if found is None or repo not in hub.repos or hidden:
            return self._send(
                401 if hidden else 404, {"error": "Repository not found"}, {"X-Error-Code": "RepoNotFound"}
            )
        if found.re is _MODEL and found["action"] in ("preupload", "commit"):
            return self._preupload(body) if found["action"] == "preupload" else self._commit(repo, body)
        revision = found["revision"] or "main"
        commits = {commit_id(files): files for files in hub.repos[repo]} | {"main": hub.files(repo)}
        if revision not in commits:
            return self._send(404, {"error": "no revision"}, {"X-Error-Code": "RevisionNotFound"})
        files = commits[revision]
        if found.re is _RESOLVE:
            return self._file(files, found["file"])
        siblings = [{"rfilename": name, "size": len(content), "blobId": "0"} for name, content in files.items()]
        self._send(200, {"id": repo, "sha": commit_id(files), "siblings": siblings, "private": repo in hub.private})

    def _create(self, wanted: dict[str, Any]) -> None:
        repo = f"{wanted['organization']}/{wanted['name']}"
        answer = {"url": f"{self.stand_in.url}/{repo}"}
        if repo in self.stand_in.repos:
            return self._send(409, answer | {"error": "exists"})
        self.stand_in.repos[repo] = [{".gitattributes": b""}]
        if wanted.get("visibility") == "private" or wanted.get("private"):
            self.stand_in.private.add(repo)
        self._send(200, answer)

    def _preupload(self, body: bytes) -> None:
        files = [
            {"path": file["path"], "uploadMode": "lfs" if file["path"].endswith(".safetensors") else "regular"}
            | {"shouldIgnore": False, "oid": None}
            for file in json.loads(body)["files"]
        ]
        self._send(200, {"files": files})

    def _commit(self, repo: str, body: bytes) -> None:
        files = dict(self.stand_in.files(repo))
        for line in map(json.loads, body.splitlines()):
            value = line["value"]
            if line["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                files[value["path"]] = self.stand_in.objects[value["oid"]]
            elif line["key"] == "deletedFile":
                del files[value["path"]]
        self.stand_in.repos[repo].append(files)
        oid = commit_id(files)
        self._send(200, {"success": True, "commitOid": oid, "commitUrl": f"{self.stand_in.url}/{repo}/commit/{oid}"})

    def _file(self, files: dict[str, bytes], name: str) -> None:
        headers = {"X-Repo-Commit": commit_id(files), "Accept-Ranges": "bytes"}
        if name not in files:
            return self._send(404, {"error": "no file"}, headers | {"X-Error-Code": "EntryNotFound"})
        content = files[name]
        headers["ETag"] = f'"{hashlib.sha256(content).hexdigest()}"'
        status, start = 200, 0
        if (wanted := self.headers.get("Range")) and self.command == "GET":
            self.stand_in.ranges.append(wanted)
            status, start = 206, int(wanted.removeprefix("bytes=").split("-")[0])
            headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
        cut = self.command == "GET" and name in self.stand_in.cut
        self._send(status, content[start:], headers, sent=len(content) // 2 if cut else None)
        if cut:
            self.stand_in.cut.discard(name)
            self.close_connection = True

    def _send(
        self, status: int, content: Any, headers: dict[str, str] | None = None, *, sent: int | None = None
    ) -> None:
        """Send an answer; of a download that is cut, only the first bytes."""
        data = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header(
            "Content-Type", "application/octet-stream" if isinstance(content, bytes) else "application/json"
        )
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data[:sent])
