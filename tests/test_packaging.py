"""The wheel, installed into a clean environment, works outside of the repository; the lists of dependencies agree."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tomllib
import venv
import zipfile
from collections.abc import Iterable
from importlib.metadata import Distribution, distribution, distributions
from pathlib import Path

import pytest
import soundfile
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
RECORDING = ROOT / "tests" / "data" / "librivox_male.wav"
PACKAGES = ["kernels", "models", "realtime", "tools"]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS = PROJECT["optional-dependencies"]
# All that comes to a user, and all that comes to a developer; `altervox[...]` only refers to other extras.
OPTIONAL = ("cpu", "denoise", "export", "gpu", "hotkeys", "plots")
FOR_USERS = [
    Requirement(text) for text in [*PROJECT["dependencies"], *(text for name in OPTIONAL for text in EXTRAS[name])]
]
FOR_TESTS = [Requirement(text) for text in EXTRAS["test"] if not text.startswith("altervox[")]


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the sources: building in place leaves a build folder whose stale files get into later wheels."""
    copy = tmp_path_factory.mktemp("source") / "altervox"
    copy.mkdir()
    for name in ("pyproject.toml", "constraints.txt", "run.py", "README.md", "LICENSE", "THIRD_PARTY.md"):
        shutil.copy(ROOT / name, copy / name)
    for name in PACKAGES:
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    return copy


@pytest.fixture(scope="module")
def wheel(source: Path) -> Path:
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    subprocess.run([*pip, "--wheel-dir", "dist", "."], cwd=source, check=True)
    (built,) = (source / "dist").glob("altervox-*.whl")
    return built


def needed(requirements: Iterable[str]) -> dict[str, Distribution]:
    """The distributions that these requirements bring, by name, those of them that are needed in turn included."""
    found: dict[str, Distribution] = {}
    waiting = [(Requirement(text), "") for text in requirements]
    while waiting:
        requirement, extra = waiting.pop()
        name = canonicalize_name(requirement.name)
        if requirement.marker and not requirement.marker.evaluate({"extra": extra}):
            continue
        is_new = name not in found
        found[name] = distribution(name)
        for wanted in requirement.extras or ([""] if is_new else []):
            waiting += [(Requirement(text), wanted) for text in found[name].requires or ()]
    return found


@pytest.fixture(scope="module")
def clean(source: Path, wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of programs of an environment that has the wheel and what it asks for, nothing else.

    What it asks for is lent from the environment of the tests, package by package: run.py has just shown there that pip
    can install it.
    """
    folder = tmp_path_factory.mktemp("clean") / "environment"
    venv.create(folder, with_pip=False, symlinks=sys.platform != "win32")
    programs = folder / ("Scripts" if sys.platform == "win32" else "bin")
    python = programs / ("python.exe" if sys.platform == "win32" else "python")
    pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", "--no-deps", "--no-index"]
    subprocess.run([*pip, str(wheel)], check=True)
    where = [str(python), "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]
    packages = Path(subprocess.run(where, capture_output=True, text=True, check=True).stdout.strip())
    (installed,) = distributions(name="altervox", path=[str(packages)])
    for lent in needed(installed.requires or ()).values():
        for name in {file.parts[0] for file in lent.files or ()} - {"..", "__pycache__"}:
            if not (packages / name).exists():
                lend(Path(str(lent.locate_file(name))), packages / name)
    return programs


def lend(there: Path, here: Path) -> None:
    try:
        here.symlink_to(there, target_is_directory=there.is_dir())
    except OSError:  # Windows may refuse links
        (shutil.copytree if there.is_dir() else shutil.copy)(there, here)


# What runs from a clone only.
LEFT_OUT = ["tools/recipes", *(f"tools/bench/{name}" for name in ("accuracy", "convert", "noise", "reference"))]


def test_wheel_holds_every_file_for_users_and_no_other(wheel: Path) -> None:
    assert all((ROOT / name).is_dir() for name in LEFT_OUT)
    expected = {
        f"altervox/{path.relative_to(ROOT).as_posix()}"
        for name in PACKAGES
        for path in (ROOT / name).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
        if not any(path.is_relative_to(ROOT / left_out) for left_out in LEFT_OUT)
    }
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {f"altervox/{name}/py.typed" for name in PACKAGES} <= expected
    assert {name for name in names if ".dist-info/" not in name} == expected
    licences = {Path(name).name for name in names if "/licenses/" in name}
    assert licences == {"LICENSE", "THIRD_PARTY.md"}


def test_installed_wheel_converts_outside_the_repository(clean: Path, tmp_path: Path) -> None:
    def call(program: str, *arguments: str) -> str:
        command = [str(clean / program), *arguments]
        result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert result.returncode == 0, result.stderr
        return result.stdout.strip()

    assert PROJECT["version"] in call("altervox", "--version")
    assert PROJECT["version"] in call("python", "-m", "altervox.tools", "--version")
    benches = call("altervox", "bench", "--help")
    assert re.findall(r"^  (\w+)  ", benches, flags=re.MULTILINE) == ["backends", "live", "serve", "stream"]
    call("altervox", "bench", "stream", "--seconds", "1", "--voice", "off", "--block-ms", "240")

    folders = call("python", "-c", "import altervox; print(*altervox.__path__, sep='\\n')").splitlines()
    assert [Path(folder).is_relative_to(clean.parent) for folder in folders] == [True]

    call("altervox", "convert", str(RECORDING), "-o", "out.wav")
    before, after = soundfile.info(RECORDING), soundfile.info(tmp_path / "out.wav")
    assert after.frames * before.samplerate == before.frames * after.samplerate
    heard, _ = soundfile.read(tmp_path / "out.wav")
    original, _ = soundfile.read(RECORDING)
    assert 0.01 < abs(heard).max() <= 1
    assert heard.shape != original.shape or abs(heard - original).max() > 0.01, "it is the same voice as before"


def brought(extra: str) -> set[str]:
    """All packages that an extra asks for itself or through other extras."""
    names = set()
    for requirement in map(Requirement, EXTRAS[extra]):
        names.add(requirement.name)
        for other in requirement.extras if requirement.name == "altervox" else ():
            names |= brought(other)
    return names


@pytest.mark.parametrize("extra", sorted(EXTRAS))
def test_an_onnx_runtime_comes_with_its_own_extra_only(extra: str) -> None:
    runtimes = {name for name in brought(extra) if name.startswith("onnxruntime")}
    assert runtimes == {"cpu": {"onnxruntime"}, "gpu": {"onnxruntime-gpu"}}.get(extra, set())


def pins() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pairs = [line.split("==") for line in lines if line and not line.startswith("#")]
    return {canonicalize_name(name): version for name, version in pairs}


@pytest.mark.parametrize("requirement", [*FOR_USERS, *FOR_TESTS], ids=lambda requirement: requirement.name)
def test_dependency_is_pinned_within_its_range(requirement: Requirement) -> None:
    version = pins()[canonicalize_name(requirement.name)]
    assert requirement.specifier.contains(version)


@pytest.mark.parametrize("requirement", FOR_USERS, ids=lambda requirement: requirement.name)
def test_dependency_stands_in_third_party(requirement: Requirement) -> None:
    rows = re.findall(r"^\| ([\w.-]+) ", (ROOT / "THIRD_PARTY.md").read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert canonicalize_name(requirement.name) in {canonicalize_name(row) for row in rows}


@pytest.mark.parametrize("recording", sorted((ROOT / "tests" / "data").glob("*.wav")), ids=lambda path: path.name)
def test_recording_has_its_licence_beside_it(recording: Path) -> None:
    text = recording.with_suffix(".LICENSE.txt").read_text(encoding="utf-8")
    assert text.startswith(recording.name)
    assert "License:" in text
