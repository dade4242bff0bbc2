"""A stand-in for the Hugging Face Hub, with bytes kept on disk: what a push and a fetch call.

Large files go by the "basic" transfer of Git LFS. There is no Xet, no pull request, no pagination
and no history of data sets: a commit changes the files of its branch, and a tag is a copy of a
branch. Models have files at commits, and their downloads honour `Range`.
"""

from __future__ import annotations

import base64
import hashlib
import json
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

TOKEN = "hf_right"
READ_ONLY = "hf_reader"
COMMIT = "0" * 40
# What the Hub keeps in Git LFS.
LARGE = (".tar", ".parquet", ".safetensors", ".bin", ".onnx")
# Bytes that a download gets between two pauses.
PIECE = 1 << 16


@dataclass
class Repository:
    """The files of each branch and tag: the digest of their content by their names."""

    private: bool = False
    branches: dict[str, dict[str, str]] = field(default_factory=lambda: {"main": {}})
    tags: dict[str, dict[str, str]] = field(default_factory=dict)

    def files(self, revision: str) -> dict[str, str] | None:
        return self.tags.get(revision, self.branches.get(revision))


@dataclass
class HubServer:
    """What the stand-in holds."""

    folder: Path
    """The content of each file, by its sha256."""
    url: str = ""
    repositories: dict[str, Repository] = field(default_factory=dict)
    calls: Counter[str] = field(default_factory=Counter)
    """How often each endpoint was called."""
    pause: float = 0.0
    """Seconds that each upload of a large file takes."""
    fail: str = ""
    """The endpoint that answers 500."""
    models: dict[str, dict[str, dict[str, str]]] = field(default_factory=dict)
    """The files of each model by its commits: the digest of their content by their names."""
    piece_pause: float = 0.0
    """Seconds between two pieces of a download."""
    ranges: list[str] = field(default_factory=list)
    """The file and the header `Range` of each download that did not begin at the first byte."""
    sent: Counter[str] = field(default_factory=Counter)
    """Bytes of downloads by file."""

    def add_model(self, repo: str, commit: str, files: dict[str, bytes]) -> None:
        """Publish the files of a model at a commit; the last one is that of its main branch."""
        kept = {name: self.keep(data) for name, data in files.items()}
        self.models.setdefault(repo, {})[commit] = kept

    def keep(self, data: bytes) -> str:
        """Keep the content of a file; returns its sha256."""
        digest = hashlib.sha256(data).hexdigest()
        (self.folder / digest).write_bytes(data)
        return digest

    def read(self, repo: str, revision: str) -> dict[str, bytes]:
        """The files of a branch or tag."""
        files = self.repositories[repo].files(revision)
        assert files is not None
        return {name: (self.folder / digest).read_bytes() for name, digest in files.items()}


class Handler(BaseHTTPRequestHandler):
    """Answers one request."""

    protocol_version = "HTTP/1.1"
    hub: HubServer

    def do_GET(self) -> None:
        self._answer("GET")

    def do_HEAD(self) -> None:
        self._answer("HEAD")

    def do_POST(self) -> None:
        self._answer("POST")

    def do_PUT(self) -> None:
        self._answer("PUT")

    def log_message(self, *arguments: object) -> None:
        """Print nothing."""

    def _answer(self, method: str) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        self.body = self.rfile.read(length)
        parts = [unquote(part) for part in urlsplit(self.path).path.strip("/").split("/")]
        token = self.headers.get("Authorization", "").removeprefix("Bearer ")
        is_upload = parts[0] == "upload"
        if token not in (TOKEN, READ_ONLY, "") and not is_upload:
            self._send(401, {"error": "Invalid credentials in Authorization header"})
        elif method in ("POST", "PUT") and token != TOKEN and not is_upload:
            self._send(403 if token else 401, {"error": "no right to write"})
        else:
            self._route(method, parts)

    def _route(self, method: str, parts: list[str]) -> None:
        match parts:
            case ["api", "validate-yaml"]:
                self._done("validate-yaml", {"errors": [], "warnings": []})
            case ["api", "repos", "create"]:
                self._create()
            case ["upload", digest]:
                self._upload(digest)
            case ["datasets", owner, name, "info", "lfs", "objects", "batch"]:
                self._batch(f"{owner}/{name.removesuffix('.git')}")
            case ["datasets", owner, name, "resolve", revision, *file]:
                self._resolve(f"{owner}/{name}", revision, "/".join(file), method)
            case ["api", "models", owner, name, *rest]:
                self._model(f"{owner}/{name}", rest)
            case [owner, name, "resolve", revision, *file] if f"{owner}/{name}" in self.hub.models:
                self._download(f"{owner}/{name}", revision, "/".join(file), method)
            case ["api", "datasets", owner, name, *rest]:
                repository = self.hub.repositories.get(f"{owner}/{name}")
                if repository is None:
                    self._missing("RepoNotFound")
                else:
                    self._repository(repository, f"{owner}/{name}", rest)
            case _:
                self._missing("EntryNotFound")

    def _repository(self, repository: Repository, repo: str, rest: list[str]) -> None:
        match rest:
            case []:
                content = {"id": repo, "private": repository.private, "sha": COMMIT, "tags": []}
                self._done("info", content)
            case ["refs"]:
                refs: dict[str, Any] = {"converts": []}
                for kind, names in (("branches", repository.branches), ("tags", repository.tags)):
                    refs[kind] = [
                        {"name": name, "ref": f"refs/{kind}/{name}", "targetCommit": COMMIT}
                        for name in names
                    ]
                self._done("refs", refs)
            case ["tree", revision]:
                files = repository.files(revision)
                if files is None:
                    self._missing("RevisionNotFound")
                else:
                    self._done("tree", [self._entry(*item) for item in sorted(files.items())])
            case ["preupload", _]:
                files = []
                for file in json.loads(self.body)["files"]:
                    mode = "lfs" if file["path"].endswith(LARGE) else "regular"
                    files.append({"path": file["path"], "uploadMode": mode, "shouldIgnore": False})
                self._done("preupload", {"files": files})
            case ["commit", branch]:
                self._commit(repository, repo, branch)
            case ["branch", branch]:
                repository.branches.setdefault(branch, dict(repository.branches["main"]))
                self._done("branch", {})
            case ["tag", revision]:
                files = repository.files(revision)
                assert files is not None
                repository.tags[json.loads(self.body)["tag"]] = dict(files)
                self._done("tag", {})
            case _:
                self._missing("EntryNotFound")

    def _entry(self, name: str, digest: str) -> dict[str, object]:
        data = (self.hub.folder / digest).read_bytes()
        blob = hashlib.sha1(f"blob {len(data)}\0".encode() + data).hexdigest()
        entry: dict[str, object] = {"type": "file", "path": name, "size": len(data), "oid": blob}
        if name.endswith(LARGE):
            entry["lfs"] = {"oid": digest, "size": len(data), "pointerSize": 130}
        return entry

    def _model(self, repo: str, rest: list[str]) -> None:
        """What the Hub tells of a model."""
        commits = self.hub.models.get(repo)
        if commits is None:
            self._missing("RepoNotFound")
            return
        revision = rest[1] if rest[:1] == ["revision"] else list(commits)[-1]
        if revision not in commits:
            self._missing("RevisionNotFound")
            return
        siblings = []
        for name, digest in commits[revision].items():
            entry = self._entry(name, digest)
            sibling = {"rfilename": name, "size": entry["size"], "blobId": entry["oid"]}
            if name.endswith(LARGE):
                sibling["lfs"] = {"sha256": digest, "size": entry["size"], "pointerSize": 130}
            siblings.append(sibling)
        self._done("model", {"id": repo, "sha": revision, "siblings": siblings})

    def _download(self, repo: str, revision: str, name: str, method: str) -> None:
        """A file of a model, slowly if that is wanted, from the byte that `Range` names."""
        digest = self.hub.models[repo].get(revision, {}).get(name)
        if digest is None:
            self._missing("EntryNotFound")
            return
        data = (self.hub.folder / digest).read_bytes()
        etag = str(self._entry(name, digest)["oid"])
        if name.endswith(LARGE):
            etag = digest
        begin = 0
        asked = self.headers.get("Range", "")
        if asked and method == "GET":
            self.hub.ranges.append(f"{name} {asked}")
            begin = int(asked.removeprefix("bytes=").partition("-")[0])
        self.send_response(206 if begin else 200)
        self.send_header("Content-Length", str(len(data) - begin))
        if begin:
            self.send_header("Content-Range", f"bytes {begin}-{len(data) - 1}/{len(data)}")
        self.send_header("X-Repo-Commit", revision)
        self.send_header("ETag", f'"{etag}"')
        self.end_headers()
        if method == "HEAD":
            return
        for start in range(begin, len(data), PIECE):
            piece = data[start : start + PIECE]
            self.wfile.write(piece)
            self.hub.sent[name] += len(piece)
            time.sleep(self.hub.piece_pause)

    def _create(self) -> None:
        wanted = json.loads(self.body)
        repo = f"{wanted['organization']}/{wanted['name']}"
        assert wanted["type"] == "dataset"
        if not repo.startswith("me/"):
            self._send(403, {"error": "no right to create there"})
            return
        self.hub.repositories[repo] = Repository(wanted.get("visibility") == "private")
        self._done("create", {"url": f"{self.hub.url}/datasets/{repo}", "name": repo})

    def _batch(self, repo: str) -> None:
        objects = []
        for wanted in json.loads(self.body)["objects"]:
            item = dict(wanted)
            if not (self.hub.folder / wanted["oid"]).exists():
                href = f"{self.hub.url}/upload/{wanted['oid']}"
                item["actions"] = {"upload": {"href": href, "header": {}}}
            objects.append(item)
        self._done("batch", {"transfer": "basic", "objects": objects})

    def _upload(self, digest: str) -> None:
        time.sleep(self.hub.pause)
        if hashlib.sha256(self.body).hexdigest() != digest:
            self._send(400, {"error": "other bytes"})
            return
        self.hub.keep(self.body)
        self._done("upload", {})

    def _commit(self, repository: Repository, repo: str, branch: str) -> None:
        files = dict(repository.branches[branch])
        for line in self.body.splitlines():
            item = json.loads(line)
            value = item["value"]
            match item["key"]:
                case "file":
                    files[value["path"]] = self.hub.keep(base64.b64decode(value["content"]))
                case "lfsFile":
                    assert (self.hub.folder / value["oid"]).stat().st_size == value["size"]
                    files[value["path"]] = value["oid"]
                case "deletedFile":
                    del files[value["path"]]
        url = f"{self.hub.url}/datasets/{repo}/commit/{COMMIT}"
        if self._done("commit", {"commitUrl": url, "commitOid": COMMIT}):
            repository.branches[branch] = files

    def _resolve(self, repo: str, revision: str, name: str, method: str) -> None:
        files = self.hub.repositories[repo].files(revision)
        if files is None or name not in files:
            self._missing("EntryNotFound")
            return
        data = (self.hub.folder / files[name]).read_bytes()
        self.hub.calls["resolve"] += 1
        headers = {"X-Repo-Commit": COMMIT, "ETag": f'"{files[name]}"'}
        self._send(200, data, headers, with_body=method != "HEAD")

    def _done(self, endpoint: str, content: object) -> bool:
        self.hub.calls[endpoint] += 1
        if self.hub.fail == endpoint:
            self._send(500, {"error": "out of order"})
            return False
        self._send(200, content)
        return True

    def _missing(self, code: str) -> None:
        self._send(404, {"error": code}, {"X-Error-Code": code})

    def _send(
        self,
        status: int,
        content: object,
        headers: dict[str, str] | None = None,
        with_body: bool = True,
    ) -> None:
        data = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        if with_body:
            self.wfile.write(data)


class QuietServer(ThreadingHTTPServer):
    """Says nothing of clients that are killed."""

    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """Print nothing."""


@contextmanager
def serving(folder: Path) -> Iterator[HubServer]:
    """A stand-in on a free port of this machine, which keeps its files in a folder."""
    folder.mkdir()
    hub = HubServer(folder)
    handler = type("BoundHandler", (Handler,), {"hub": hub})
    server = QuietServer(("127.0.0.1", 0), handler)
    hub.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
