"""Fetching a base model: from a real HTTP server that speaks as the hub does: whole, another file, absent."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

CONTENT = bytes(range(256)) * 40

FETCH = """
import sys
from altervox.kernels.errors import AltervoxError
from altervox.models.published import BaseModel
size, sha256 = int(sys.argv[1]), sys.argv[2]
model = BaseModel("the test model", "test.pt", ("other.bin",), "x.", "someone/models", size, sha256, "MIT")
try:
    print("FETCHED", model.fetch())
except AltervoxError as error:
    print("REFUSED", error)
"""


class Hub(BaseHTTPRequestHandler):
    """Serves one file the way the hub does."""

    requests: list[str]
    is_broken = False

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def _answer(self, body: bool) -> None:
        self.requests.append(f"{self.command} {self.path}")
        if self.is_broken:
            self.close_connection = True
            return
        if "/resolve/" not in self.path:
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("X-Repo-Commit", "0" * 40)
        self.send_header("ETag", f'"{hashlib.sha1(CONTENT).hexdigest()}"')
        self.send_header("Content-Length", str(len(CONTENT)))
        self.end_headers()
        if body:
            self.wfile.write(CONTENT)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def hub() -> Iterator[ThreadingHTTPServer]:
    Hub.requests = []
    with ThreadingHTTPServer(("127.0.0.1", 0), Hub) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def fetch(
    home: Path, endpoint: str, size: int = len(CONTENT), sha256: str | None = None, timeout_s: float = 120.0
) -> tuple[str, str]:
    environment = {
        "ALTERVOX_HOME": str(home),
        "HF_ENDPOINT": endpoint,
        "HF_HOME": str(home / "hf"),
        "HF_HUB_DISABLE_XET": "1",
        "PATH": "",
    }
    command = [sys.executable, "-c", FETCH, str(size), sha256 or hashlib.sha256(CONTENT).hexdigest()]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=timeout_s)
    return done.stdout.strip(), done.stderr


def address(server: ThreadingHTTPServer) -> str:
    return f"http://127.0.0.1:{server.server_address[1]}"


def test_it_is_fetched_once_and_announced(hub: ThreadingHTTPServer, tmp_path: Path) -> None:
    outcome, said = fetch(tmp_path, address(hub))
    target = tmp_path / "base" / "test.pt"
    assert outcome == f"FETCHED {target}"
    assert target.read_bytes() == CONTENT
    assert "licence MIT" in said
    assert "https://huggingface.co/someone/models" in said
    asked = len(Hub.requests)
    assert asked
    assert fetch(tmp_path, address(hub))[0] == f"FETCHED {target}"
    assert len(Hub.requests) == asked, "what is in the library is not asked for again"
    assert [p.name for p in (tmp_path / "base").glob("[!.]*")] == ["test.pt"]


@pytest.mark.parametrize(("size", "sha256"), [(len(CONTENT), "0" * 64), (len(CONTENT) + 1, None)])
def test_what_is_not_the_published_file_is_refused(
    size: int, sha256: str | None, hub: ThreadingHTTPServer, tmp_path: Path
) -> None:
    outcome, _ = fetch(tmp_path, address(hub), size, sha256)
    assert outcome.startswith("REFUSED the test model: what came has 10,240 bytes and is not the published test.pt")
    assert not list(tmp_path.rglob("test.pt"))


def test_offline_it_says_where_to_put_it(tmp_path: Path) -> None:
    outcome, _ = fetch(tmp_path, "http://127.0.0.1:9", timeout_s=20.0)
    assert outcome.startswith("REFUSED the test model could not be fetched (huggingface.co does not answer)")
    assert f"download test.pt from https://huggingface.co/someone/models and put it into {tmp_path / 'base'}" in outcome


def test_a_connection_that_breaks_is_one_sentence_too(
    hub: ThreadingHTTPServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Hub, "is_broken", True)
    outcome, said = fetch(tmp_path, address(hub))
    assert outcome.startswith("REFUSED the test model could not be fetched")
    assert "Traceback" not in said


def test_another_file_of_the_same_network_will_do(tmp_path: Path) -> None:
    (tmp_path / "base").mkdir()
    (tmp_path / "base" / "other.bin").write_bytes(b"x")
    assert fetch(tmp_path, "http://127.0.0.1:9")[0] == f"FETCHED {tmp_path / 'base' / 'other.bin'}"


def test_two_processes_that_fetch_at_once_both_have_it(hub: ThreadingHTTPServer, tmp_path: Path) -> None:
    with ThreadPoolExecutor(3) as pool:
        outcomes = list(pool.map(lambda _: fetch(tmp_path, address(hub))[0], range(3)))
    assert outcomes == [f"FETCHED {tmp_path / 'base' / 'test.pt'}"] * 3
    assert [p.name for p in (tmp_path / "base").glob("[!.]*")] == ["test.pt"]
    assert len([r for r in Hub.requests if r.startswith("GET") and "/resolve/" in r]) == 1, "fetched once"
