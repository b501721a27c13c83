"""Who may import whom: tools -> realtime -> models -> kernels, and heavy packages only where they are needed."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
LAYERS = ["kernels", "models", "realtime", "tools"]
# Sound system, web server and ONNX Runtime are each touched in one file, inside the function that needs them.
CONFINED = {
    "sounddevice": "realtime/audio/devices.py",
    "websockets": "realtime/server.py",
    "onnxruntime": "realtime/runners/onnx.py",
}
HEAVY = ["torch", "scipy", "numba", "av", "soundfile", "soxr", "pyworld", "huggingface_hub", "onnxruntime", "faiss"]
MODULES = sorted(path for layer in LAYERS for path in (ROOT / layer).rglob("*.py"))


def imports(path: Path) -> Iterator[tuple[str, bool]]:
    """Absolute dotted name of all that a file of altervox imports, and whether that happens as the file is loaded."""
    package = ["altervox", *path.relative_to(ROOT).parent.parts]
    tree = ast.parse(path.read_text(encoding="utf-8"))
    inside = {id(node) for outer in ast.walk(tree) if isinstance(outer, ast.FunctionDef) for node in ast.walk(outer)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, id(node) not in inside
        elif isinstance(node, ast.ImportFrom):
            stem = package[: len(package) - node.level + 1] if node.level else []
            stem = [*stem, *(node.module.split(".") if node.module else [])]
            for alias in node.names:
                # `from .. import kernels` names a layer only in its last part
                yield ".".join([*stem, alias.name]), id(node) not in inside


def test_imports_are_seen() -> None:
    """The reader of imports above must not be blind, or all else here would pass on anything."""
    found = {name for path in MODULES for name, _ in imports(path)}
    assert "altervox.kernels.errors.ParameterError" in found
    assert "torch" in found


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_layers_import_only_downwards(path: Path) -> None:
    layer = path.relative_to(ROOT).parts[0]
    allowed = LAYERS[: LAYERS.index(layer) + 1]
    names = [name.split(".") for name, _ in imports(path)]
    own = {name[1] for name in names if name[0] == "altervox"}
    assert own <= set(allowed), f"{layer} may import only {allowed}"
    assert layer != "kernels" or "torch" not in {name[0] for name in names}, "kernels know no torch"


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_altervox_is_imported_relatively(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    absolute = [
        name
        for node in ast.walk(tree)
        for name in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module or ""]
            if isinstance(node, ast.ImportFrom) and node.level == 0
            else []
        )
    ]
    assert not [name for name in absolute if name.split(".")[0] in ("altervox", *LAYERS)]


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_confined_packages_stay_confined(path: Path) -> None:
    for name, at_load in imports(path):
        package = name.split(".")[0]
        if package in CONFINED:
            assert path.relative_to(ROOT).as_posix() == CONFINED[package]
            assert not at_load, f"{package} must be imported inside the function that needs it"


def test_third_party_imports_are_declared() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    names = ("cpu", "gpu", "hotkeys", "index", "plots")
    requirements = [*project["dependencies"], *(text for name in names for text in extras[name])]
    declared = {normal(re.split(r"[^\w.-]", requirement, maxsplit=1)[0]) for requirement in requirements}
    on_some_systems = {"Xlib": ["python-xlib"], "pynput": ["pynput"]}
    providers = {**on_some_systems, **metadata.packages_distributions()}
    for path in MODULES:
        for name, _ in imports(path):
            package = name.split(".")[0]
            if package in sys.stdlib_module_names or package == "altervox":
                continue
            found = {normal(distribution) for distribution in providers.get(package, [])}
            assert found & declared, f"{path.name} imports {package}, which pyproject.toml does not bring"


def normal(distribution: str) -> str:
    return re.sub(r"[-_.]+", "-", distribution).lower()


@pytest.mark.parametrize("module", ["altervox.realtime", "altervox.models", "altervox.tools.cli.main"])
def test_importing_is_light(module: str, tmp_path: Path) -> None:
    code = f"import sys, {module}; print(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, check=True)
    assert module in run.stdout.split()
    assert not set(HEAVY) & set(run.stdout.split())
