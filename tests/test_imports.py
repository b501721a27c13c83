"""Who may import whom: tools -> realtime -> models -> kernels, and heavy packages only where they are needed."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from importlib import metadata
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
LAYERS = ["kernels", "models", "realtime", "tools"]
# Sound system and ONNX Runtime are each touched in one file, inside the function that needs them.
CONFINED = {
    "sounddevice": ["realtime/audio/devices.py"],
    "onnxruntime": ["realtime/runners/onnx.py"],
    "websockets": [f"realtime/serve/{name}.py" for name in ("server", "shell", "tcp", "link")],
}
AT_LOAD = {"websockets"}  # its files subclass what it has; they are imported by those who serve or connect
HEAVY = ["torch", "scipy", "numba", "av", "soundfile", "soxr", "pyworld", "huggingface_hub", "onnxruntime", "faiss"]
HEAVY.append("websockets")
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


def test_layers_import_only_downwards() -> None:
    wrong = []
    for path in MODULES:
        layer = path.relative_to(ROOT).parts[0]
        allowed = LAYERS[: LAYERS.index(layer) + 1]
        for name, _ in imports(path):
            top, _, rest = name.partition(".")
            if top == "altervox" and rest.split(".")[0] not in allowed:
                wrong.append(f"{where(path)} imports {name}; {layer} may import only {allowed}")
            if layer == "kernels" and top == "torch":
                wrong.append(f"{where(path)} imports {name}; kernels know no torch")
    assert not wrong, "\n".join(wrong)


def test_a_session_knows_no_devices() -> None:
    """What a session is made of works on a file or a socket, too: devices know sessions, never the other way."""
    wrong = [
        f"{where(path)} imports {name}"
        for path in MODULES
        if path.is_relative_to(ROOT / "realtime" / "session")
        for name, _ in imports(path)
        if name.startswith("altervox.realtime.audio.")
    ]
    assert not wrong, "\n".join(wrong)


def test_no_modules_import_one_another_in_a_circle() -> None:
    modules = {dotted(path): path for path in MODULES}
    graph = {
        module: {known for name, at_load in imports(path) if at_load and (known := module_of(name, modules))} - {module}
        for module, path in modules.items()
    }
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))


def where(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def dotted(path: Path) -> str:
    """`altervox.kernels.ring`; of an `__init__.py` its folder's name."""
    return ".".join(["altervox", *path.relative_to(ROOT).with_suffix("").parts]).removesuffix(".__init__")


def module_of(name: str, modules: Mapping[str, Path]) -> str | None:
    """The module that a name is or lies in; None if it is none of altervox's."""
    return next((known for known in (name, name.rpartition(".")[0]) if known in modules), None)


def test_altervox_is_imported_relatively() -> None:
    wrong = []
    for path in MODULES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and node.level == 0:
                names = [node.module or ""]
            wrong += [f"{where(path)} imports {n}" for n in names if n.split(".")[0] in ("altervox", *LAYERS)]
    assert not wrong, "\n".join(wrong)


def test_confined_packages_stay_confined() -> None:
    wrong = []
    for path in MODULES:
        for name, at_load in imports(path):
            package = name.split(".")[0]
            if package in CONFINED and where(path) not in CONFINED[package]:
                wrong.append(f"{where(path)} imports {package}, which only {CONFINED[package]} may")
            if package in CONFINED and package not in AT_LOAD and at_load:
                wrong.append(f"{where(path)} must import {package} inside the function that needs it")
    assert not wrong, "\n".join(wrong)


def test_third_party_imports_are_declared() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    names = ("cpu", "export", "gpu", "hotkeys", "plots")
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


@pytest.mark.parametrize(
    "module",
    [
        "altervox.realtime",
        "altervox.models.published",
        "altervox.tools.cli.main",
        "altervox.tools.live.command",
        "altervox.realtime.serve.audio.pool",
    ],
)
def test_importing_is_light(module: str, tmp_path: Path) -> None:
    code = f"import sys, {module}; print(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, check=True)
    assert module in run.stdout.split()
    assert not set(HEAVY) & set(run.stdout.split())


@pytest.mark.parametrize("module", ["altervox.tools.cli.main", "altervox.tools.live.command"])
def test_the_command_line_starts_without_numpy(module: str, tmp_path: Path) -> None:
    """`altervox remote` runs at each press of a button, and NumPy would take a third of its time.

    `altervox live` starts the audio process first, which takes the longest of all that it does until sound begins.
    """
    code = f"import sys, {module}; print(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, check=True)
    assert "numpy" not in run.stdout.split()
