"""What a server refuses before it listens, each time with the way out; ports, TLS and token files."""

from __future__ import annotations

import stat
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from altervox.kernels.errors import ParameterError, ServerError
from altervox.realtime.serve.settings import ServerSettings, read_token_file

TOKEN = "correct-horse-battery"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"port": 65536}, "port 65536: choose one from 1 to 65535"),
        ({"port": -1}, "port -1"),
        ({"bind": "studio"}, "--bind studio: give an IP address"),
        ({"bind": "0.0.0.0"}, "--bind 0.0.0.0 lets other computers connect: .*--token-file.*--cert and --key.*ssh -L"),
        ({"bind": "::"}, "--bind :: lets"),
        ({"bind": "192.168.1.5"}, "--bind 192.168.1.5 lets"),
        ({"key": Path("key.pem")}, "--key key.pem: give its certificate with --cert"),
        ({"host_names": ("studio:7788",)}, "--host-name studio:7788"),
        ({"host_names": ("-",)}, "--host-name -"),
        ({"host_names": ("",)}, "--host-name"),
        ({"origins": ("twitchat.fr",)}, "--allow-origin twitchat.fr"),
        ({"origins": ("https://twitchat.fr/page",)}, "--allow-origin"),
        ({"origins": ("*",)}, r"--allow-origin \*"),
    ],
)
def test_refused(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ParameterError, match=said):
        ServerSettings(**options)


@pytest.mark.parametrize("bind", ["127.0.0.1", "127.0.0.2", "::1", "localhost"])
def test_this_computer_needs_no_token(bind: str) -> None:
    assert ServerSettings(bind=bind).is_local


def test_how_programs_here_reach_it() -> None:
    assert ServerSettings(bind="0.0.0.0", token=TOKEN).local_host == "127.0.0.1"
    assert ServerSettings(bind="::", token=TOKEN).local_host == "::1"
    assert ServerSettings(bind="10.0.0.7", token=TOKEN).local_host == "10.0.0.7"


def test_a_busy_port() -> None:
    with ServerSettings(port=0).listening_socket() as first:
        port = first.getsockname()[1]
        with pytest.raises(ServerError, match=f"port {port} is taken by another program.*--port"):
            ServerSettings(port=port).listening_socket()
    with ServerSettings(port=port).listening_socket():
        pass  # free again at once


def test_an_address_of_another_computer() -> None:
    with pytest.raises(ServerError, match=r"--bind 192.0.2.1: this computer has no such address"):
        ServerSettings(bind="192.0.2.1", token=TOKEN, port=0).listening_socket()


@pytest.mark.linux
def test_a_token_file_is_made_and_kept(tmp_path: Path) -> None:
    path = tmp_path / "new" / "token"
    token = read_token_file(path)
    assert len(token) >= 32
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert read_token_file(path) == token
    path.chmod(0o640)
    with pytest.raises(ServerError, match="can be read by other users: chmod 600"):
        read_token_file(path)


@pytest.mark.parametrize("content", [b"", b"short", b"two words of some length", b"\xff" * 40, b"x" * 5000, b"a" * 129])
def test_a_file_without_a_token(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "token"
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(ServerError, match="holds no token: one line of 16 to 128 characters"):
        read_token_file(path)


def test_a_token_file_that_is_a_folder(tmp_path: Path) -> None:
    with pytest.raises(ServerError, match=str(tmp_path)):
        read_token_file(tmp_path)


@pytest.fixture(scope="module")
def make_certificate(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., tuple[Path, Path]]:
    def make(*options: str) -> tuple[Path, Path]:
        folder = tmp_path_factory.mktemp("tls")
        cert, key = folder / "cert.pem", folder / "key.pem"
        command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-days", "9"]
        names = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
        files = ["-keyout", str(key), "-out", str(cert)]
        subprocess.run([*command, *names, *files, *(options or ["-nodes"])], check=True, capture_output=True)
        return cert, key

    return make


@pytest.mark.linux
def test_certificates(make_certificate: Callable[..., tuple[Path, Path]], tmp_path: Path) -> None:
    cert, key = make_certificate()
    assert ServerSettings().tls() is None
    assert ServerSettings(certificate=cert, key=key).tls() is not None
    both = tmp_path / "both.pem"
    both.write_bytes(cert.read_bytes() + key.read_bytes())
    assert ServerSettings(certificate=both).tls() is not None
    _, other_key = make_certificate()
    _, locked_key = make_certificate("-passout", "pass:secret")
    empty = tmp_path / "empty.pem"
    empty.write_bytes(b"")
    for certificate, its_key in ((cert, other_key), (cert, locked_key), (cert, None), (key, None), (empty, key)):
        with pytest.raises(ServerError, match="the key without a password"):
            ServerSettings(certificate=certificate, key=its_key).tls()
    with pytest.raises(ServerError, match=r"nowhere\.pem: No such file"):
        ServerSettings(certificate=tmp_path / "nowhere.pem").tls()
