"""Local server that speaks the Hugging Face hub's protocol, as far as models are downloaded and committed.

Repositories are folders of files, with several commits. Small files are served through a redirect on the same
host, large ones (as with Git LFS) through a redirect to a store on another host, which takes ranges of bytes.
Each request is kept, so that tests count requests instead of seconds.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Lock, Thread
from urllib.parse import unquote, urlsplit

LARGE_BYTES = 10_000  # from this size a file lies in the store, as if the repository tracked it with Git LFS
MAIN = "main"


@dataclass
class Repository:
    """Files of a repository by commit, and its branches and tags. `gated`: the token that may read it."""

    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)
    refs: dict[str, str] = field(default_factory=dict)
    gated: str | None = None

    def commit(self, folder: Path, *names: str) -> str:
        """Add a folder's files as a commit that `main` and `names` lead to; return its hash."""
        files = {
            str(path.relative_to(folder)): path.read_bytes()
            for path in sorted(folder.rglob("*"))
            if path.is_file()
        }
        return self.commit_files(files, *names)

    def commit_files(self, files: dict[str, bytes], *names: str) -> str:
        """Add a commit of these files, as `commit` does."""
        digest = hashlib.sha1()
        for name, content in files.items():
            digest.update(name.encode() + hashlib.sha1(content).digest())
        commit = digest.hexdigest()
        self.commits[commit] = files
        self.refs |= dict.fromkeys((MAIN, *names), commit)
        return commit

    def resolve(self, revision: str) -> str | None:
        """Return the commit of a branch, a tag or a commit's hash; None if there is none."""
        commit = self.refs.get(revision, revision)
        return commit if commit in self.commits else None


@dataclass(frozen=True)
class Seen:
    """One request: method, path without a query, and the headers that tests ask about."""

    method: str
    path: str
    host: str
    range: str | None
    token: str | None


class Hub:
    """The hub's state, shared by the threads of its server.

    Attributes:
        breaks: how many more downloads from the store break off in the middle.
        status: the answer to every request in place of the usual one, for a hub that is down.
    """

    def __init__(self) -> None:
        self.repositories: dict[str, Repository] = {}
        self.seen: list[Seen] = []
        self.breaks = 0
        self.status: int | None = None
        self.lock = Lock()
        self.port = 0

    @property
    def endpoint(self) -> str:
        """Address of the hub."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def store(self) -> str:
        """Address of the store of large files: another host name of this server."""
        return f"http://localhost:{self.port}"

    def add(self, tag: str, folder: Path, *names: str) -> str:
        """Add a folder as the latest commit of a repository; return its hash."""
        return self.repositories.setdefault(tag, Repository()).commit(folder, *names)

    def count(self, method: str, part: str) -> int:
        """Return how many requests of this method had `part` in their path."""
        return sum(each.method == method and part in each.path for each in self.seen)


@contextmanager
def running() -> Iterator[Hub]:
    """Run a hub on a free port of this machine until the block is left."""
    hub = Hub()
    handler = type("Handler", (_Handler,), {"hub": hub})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    hub.port = server.server_address[1]
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    """The routes: /api/models/..., /TAG/resolve/..., the same host's copy of small files, and the store."""

    protocol_version = "HTTP/1.1"
    hub: Hub

    def log_message(self, *_: object) -> None:
        """Print nothing."""

    def do_HEAD(self) -> None:
        """Answer without a body."""
        self._answer()

    def do_GET(self) -> None:
        """Answer."""
        self._answer()

    def do_POST(self) -> None:
        """Make a repository or a commit, or tell about paths."""
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        path = unquote(urlsplit(self.path).path)
        with self.hub.lock:
            self.hub.seen.append(
                Seen("POST", path, self.headers.get("Host", ""), None, self.headers.get("Authorization"))
            )
        if self.hub.status is not None:
            self._refuse(self.hub.status)
        elif "/paths-info/" in path:
            self._paths_info(path.removeprefix("/api/models/"), body)
        elif self.headers.get("Authorization") is None:
            self._refuse(401, message="Invalid username or password.")
        elif path == "/api/validate-yaml":
            self._json({"errors": [], "warnings": []})
        elif path == "/api/repos/create":
            self._create(json.loads(body))
        else:
            self._commit(path.removeprefix("/api/models/"), body)

    def _create(self, asked: dict[str, str]) -> None:
        owner = asked.get("organization") or "me"
        tag = f"{owner}/{asked['name']}"
        known = tag in self.hub.repositories
        self.hub.repositories.setdefault(tag, Repository())
        url = json.dumps({"url": f"{self.hub.endpoint}/{tag}"}).encode()
        self._send(409 if known else 200, url, {"Content-Type": "application/json"})

    def _commit(self, rest: str, body: bytes) -> None:
        """Answer /api/models/TAG/preupload/REV and .../commit/REV; all files come in the commit."""
        owner, name, what, revision = rest.split("/", 3)
        tag = f"{owner}/{name}"
        repository = self._repository(tag)
        if repository is None:
            return
        if what == "preupload":
            files = [each["path"] for each in json.loads(body)["files"]]
            self._json(
                {"files": [{"path": each, "uploadMode": "regular", "shouldIgnore": False} for each in files]}
            )
            return
        lines = [json.loads(line) for line in body.splitlines()]
        parent = next(each["value"].get("parentCommit") for each in lines if each["key"] == "header")
        if parent not in (None, repository.resolve(revision)):
            self._refuse(412, message="A commit has happened since. Please refresh and try again.")
            return
        before = repository.commits.get(repository.refs.get(revision, ""), {})
        added = {
            each["value"]["path"]: base64.b64decode(each["value"]["content"])
            for each in lines
            if each["key"] == "file"
        }
        commit = repository.commit_files({**before, **added})
        self._json({"commitUrl": f"{self.hub.endpoint}/{tag}/commit/{commit}", "commitOid": commit})

    def _paths_info(self, rest: str, body: bytes) -> None:
        """Answer /api/models/TAG/paths-info/REV."""
        owner, name, _, revision = rest.split("/", 3)
        repository = self._repository(f"{owner}/{name}")
        commit = None if repository is None else repository.resolve(revision)
        if repository is None or commit is None:
            return
        files = repository.commits[commit]
        wanted = json.loads(body)["paths"]
        self._json([each for path in wanted for each in _below(files, path, itself=True)])

    def _answer(self) -> None:
        path = unquote(urlsplit(self.path).path)
        told = [self.headers.get(name) for name in ("Range", "Authorization")]
        with self.hub.lock:
            self.hub.seen.append(Seen(self.command, path, self.headers.get("Host", ""), *told))
        if self.hub.status is not None:
            self._refuse(self.hub.status)
        elif path.startswith("/store/"):
            self._blob(path.removeprefix("/store/"))
        elif path.startswith("/api/resolve-cache/models/"):
            self._small(path.removeprefix("/api/resolve-cache/models/"))
        elif path.startswith("/api/models/"):
            self._metadata(path.removeprefix("/api/models/"))
        else:
            self._resolve(path.strip("/"))

    def _metadata(self, rest: str) -> None:
        """Answer /api/models/TAG[/revision/REV] and /api/models/TAG/tree/REV. Gated models show these."""
        owner, name, *more = rest.split("/", 3)
        tag = f"{owner}/{name}"
        repository = self._repository(tag)
        if repository is None:
            return
        what, revision = (more[0], more[1]) if len(more) == 2 else ("revision", MAIN)
        folder = ""
        if what == "tree":
            revision, _, folder = revision.partition("/")
        commit = repository.resolve(revision)
        if commit is None:
            self._refuse(404, "RevisionNotFound", f"Invalid rev id: {revision}")
            return
        files = repository.commits[commit]
        if what == "tree":
            self._json(
                [_entry(path, content) for path, content in files.items()]
                if "recursive=true" in urlsplit(self.path).query.lower()
                else _below(files, folder)
            )
            return
        self._json(
            {
                "_id": commit[:24], "id": tag, "modelId": tag, "sha": commit, "private": False,
                "gated": "manual" if repository.gated else False, "disabled": False, "tags": [],
                "downloads": 1, "likes": 0, "createdAt": "2026-01-01T00:00:00.000Z",
                "siblings": [{"rfilename": path} for path in files],
            }
        )  # fmt: skip

    def _resolve(self, path: str) -> None:
        """Answer /TAG/resolve/REV/FILE with the file's metadata and a redirect to its bytes."""
        owner, name, _, revision, file = [*path.split("/", 4), *[""] * 5][:5]
        tag = f"{owner}/{name}"
        repository = self._repository(tag)
        if repository is None:
            return
        token = self.headers.get("Authorization")
        if repository.gated is not None and token != f"Bearer {repository.gated}":
            self._refuse(401 if token is None else 403, "GatedRepo", f"Access to model {tag} is restricted.")
            return
        commit = repository.resolve(revision)
        if commit is None:
            self._refuse(404, "RevisionNotFound", f"Invalid rev id: {revision}")
            return
        content = repository.commits[commit].get(file)
        if content is None:
            self._refuse(404, "EntryNotFound", "Entry not found", {"X-Repo-Commit": commit})
            return
        told = {"X-Repo-Commit": commit, "X-Linked-Size": str(len(content))}
        if len(content) < LARGE_BYTES:
            target = f"/api/resolve-cache/models/{tag}/{commit}/{file}"
            self._send(307, b"", {**told, "Location": target, "ETag": f'"{_blob_id(content)}"'})
        else:
            digest = hashlib.sha256(content).hexdigest()
            target = f"{self.hub.store}/store/{digest}"
            self._send(302, b"", {**told, "Location": target, "X-Linked-ETag": f'"{digest}"'})

    def _small(self, rest: str) -> None:
        owner, name, commit, file = rest.split("/", 3)
        content = self.hub.repositories[f"{owner}/{name}"].commits[commit][file]
        self._send(200, content, {"X-Repo-Commit": commit, "ETag": f'"{_blob_id(content)}"'})

    def _blob(self, digest: str) -> None:
        """Answer with a large file, from the byte that the request asks for; break off if a test says so."""
        content = next(
            content
            for repository in self.hub.repositories.values()
            for files in repository.commits.values()
            for content in files.values()
            if hashlib.sha256(content).hexdigest() == digest
        )
        asked = self.headers.get("Range")
        begin = int(asked.removeprefix("bytes=").partition("-")[0]) if asked else 0
        headers = {"ETag": f'"{digest}"', "Accept-Ranges": "bytes"}
        if asked:
            headers["Content-Range"] = f"bytes {begin}-{len(content) - 1}/{len(content)}"
        with self.hub.lock:
            breaks = self.command == "GET" and self.hub.breaks > 0
            self.hub.breaks -= breaks
        whole = content[begin:]
        self._send(206 if asked else 200, whole, headers, sent=len(whole) // 2 if breaks else len(whole))

    def _repository(self, tag: str) -> Repository | None:
        """Return a repository; else refuse as the hub does, which tells strangers no more than 401."""
        found = self.hub.repositories.get(tag)
        if found is None and self.headers.get("Authorization") is None:
            self._refuse(401, "RepoNotFound", "Invalid username or password.")
        elif found is None:
            self._refuse(404, "RepoNotFound", "Repository not found")
        return found

    def _refuse(
        self,
        status: int,
        code: str | None = None,
        message: str = "",
        headers: Mapping[str, str] | None = None,
    ) -> None:
        told = {} if code is None else {"X-Error-Code": code, "X-Error-Message": message}
        self._send(status, json.dumps({"error": message}).encode(), {**told, **(headers or {})})

    def _json(self, content: object) -> None:
        self._send(200, json.dumps(content).encode(), {"Content-Type": "application/json"})

    def _send(self, status: int, content: bytes, headers: Mapping[str, str], sent: int | None = None) -> None:
        """Send a reply; of its body only the first `sent` bytes, and then hang up."""
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command == "HEAD":
            return
        self.wfile.write(content[:sent])
        if sent is not None and sent < len(content):
            self.close_connection = True


def _below(files: Mapping[str, bytes], folder: str, *, itself: bool = False) -> list[dict[str, object]]:
    """Return the entries of what is in a folder, or with `itself` that of the folder or file."""
    if itself:
        if folder in files:
            return [_entry(folder, files[folder])]
        inside = any(path.startswith(f"{folder}/") for path in files)
        entry: dict[str, object] = {"type": "directory", "oid": "0" * 40, "size": 0, "path": folder}
        return [entry] if inside else []
    start = f"{folder}/" if folder else ""
    names = {path.removeprefix(start).partition("/")[0] for path in files if path.startswith(start)}
    return [entry for name in sorted(names) for entry in _below(files, f"{start}{name}", itself=True)]


def _entry(path: str, content: bytes) -> dict[str, object]:
    """Return a file's entry in a tree listing."""
    entry: dict[str, object] = {"type": "file", "oid": _blob_id(content), "size": len(content), "path": path}
    if len(content) >= LARGE_BYTES:
        digest = hashlib.sha256(content).hexdigest()
        entry["lfs"] = {"oid": digest, "size": len(content), "pointerSize": 135}
    return entry


def _blob_id(content: bytes) -> str:
    """Return the id that Git gives a file's content."""
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
