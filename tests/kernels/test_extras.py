"""The command that installs an extra: for a clone, for pip and for pipx."""

from __future__ import annotations

import json
import shutil
import sys
from importlib import metadata
from pathlib import Path

import pytest
from altervox.kernels.extras import how_to_install, how_to_uninstall


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An installation of altervox that Python finds before the real one; its Python is called "python"."""
    described = tmp_path / "site" / "altervox-0.dist-info"
    described.mkdir(parents=True)
    (described / "METADATA").write_text("Metadata-Version: 2.1\nName: altervox\nVersion: 0\n")
    (described / "direct_url.json").write_text('{"archive_info": {}, "url": "file:///altervox.whl"}')
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    monkeypatch.setattr(sys, "executable", str(tmp_path / "env" / "python"))
    monkeypatch.setattr(sys, "prefix", str(tmp_path / "env"))
    assert metadata.version("altervox") == "0"
    return described


def test_installed_by_pip(installed: Path) -> None:
    assert how_to_install("denoise") == f'{sys.executable} -m pip install "altervox[denoise]"'
    assert how_to_uninstall("a", "b") == f"{sys.executable} -m pip uninstall -y a b"


def test_a_path_with_a_space_is_quoted(installed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/my programs/python")
    assert how_to_install("cpu").startswith('"/my programs/python" -m pip ')


def test_installed_by_pipx(installed: Path) -> None:
    (Path(sys.prefix)).mkdir()
    (Path(sys.prefix) / "pipx_metadata.json").write_text("{}")
    assert how_to_install("index") == 'pipx runpip altervox install "altervox[index]"'
    assert how_to_uninstall("a") == "pipx runpip altervox uninstall -y a"


def test_a_clone(installed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clone = tmp_path / "a clone"
    (clone / ".venv" / "bin").mkdir(parents=True)
    (clone / "constraints.txt").write_text("")
    origin = {"url": clone.as_uri(), "dir_info": {"editable": True}}
    (installed / "direct_url.json").write_text(json.dumps(origin))
    python = clone / ".venv" / "bin" / "python"
    monkeypatch.setattr(sys, "executable", str(python))
    assert how_to_install("cpu") == (f'"{python}" -m pip install -c "{clone / "constraints.txt"}" -e "{clone}[cpu]"')
    (clone / "altervox.egg-info").mkdir()
    (clone / "altervox.egg-info" / "PKG-INFO").write_text("Metadata-Version: 2.1\nName: altervox\nVersion: 0\n")
    monkeypatch.syspath_prepend(str(clone))  # as `python -m` does there
    monkeypatch.chdir(clone)
    relative = Path(".venv", "bin", "python")
    assert how_to_install("cpu") == f'{relative} -m pip install -c constraints.txt -e ".[cpu]"', "as the README has it"
    (installed / "direct_url.json").write_text(json.dumps({**origin, "dir_info": {}}))
    assert "-e" not in how_to_install("cpu").split()
    shutil.rmtree(clone / ".venv")
