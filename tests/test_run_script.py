"""run.py: what it says where something is missing, and when it installs again."""

from __future__ import annotations

import ast
import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[1]
SCRIPT = ROOT / "run.py"


def load() -> ModuleType:
    spec = importlib.util.spec_from_file_location("run", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


run = load()


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A folder with what run.py reads, in a path with a space and a letter beyond ASCII."""
    folder = tmp_path / "a clône"
    folder.mkdir()
    for name in ("run.py", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, folder / name)
    return folder


def start(clone: Path, prelude: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the clone's run.py in a Python that the prelude has maimed."""
    code = f"import runpy, sys\n{prelude}\nsys.argv = {['run.py', *arguments]}\n"
    code += f"runpy.run_path({str(clone / 'run.py')!r}, run_name='__main__')"
    environment = {key: value for key, value in os.environ.items() if key not in ("CI", "ALTERVOX_SYSTEM_PACKAGES")}
    environment["PYTHONUTF8"] = "1"
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, encoding="utf-8", env=environment, check=False
    )


@pytest.mark.parametrize("version", ["(3, 10, 14, 'final', 0)", "(3, 15, 0, 'final', 0)", "(2, 7, 18, 'final', 0)"])
def test_another_python_gets_one_sentence(clone: Path, version: str) -> None:
    result = start(clone, f"sys.version_info = {version}", "demo")
    major, minor = version.strip("(").split(", ")[:2]
    assert result.returncode == 1
    assert result.stderr.strip() == f"altervox needs Python 3.11 to 3.14, and this is Python {major}.{minor}."
    assert not (clone / ".venv").exists()


def test_an_old_python_can_read_as_far_as_the_sentence() -> None:
    ast.parse(SCRIPT.read_text(encoding="utf-8"), feature_version=(3, 7))


@pytest.mark.parametrize("module", ["venv", "ensurepip"])
def test_missing_venv_module_is_answered_with_the_apt_line(clone: Path, module: str) -> None:
    result = start(clone, f"sys.modules[{module!r}] = None", "demo")
    assert result.returncode == 1
    assert len(result.stderr.strip().splitlines()) == 1
    assert result.stderr.strip().endswith("sudo apt install python3-venv")


def test_failing_pip_is_answered_with_one_sentence(clone: Path) -> None:
    (clone / "constraints.txt").write_text("torch==0.0.1\nthis is no requirement\n", encoding="utf-8")
    result = start(clone, "import os; os.environ['ALTERVOX_TORCH_INDEX'] = 'file:///nowhere'", "demo")
    assert result.returncode == 1
    assert "file:///nowhere has no torch==0.0.1" in result.stdout
    assert result.stderr.strip().splitlines()[-1].startswith("pip could not install altervox")
    assert "Traceback" not in result.stderr
    environment = run.Environment(clone)
    assert not environment.is_ready("")
    assert not environment.is_usable(), "what pip left half-made must be made anew"


def test_wrong_usage_is_told_apart(clone: Path) -> None:
    assert start(clone, "", "dmeo").returncode == 2


def make(clone: Path) -> run.Environment:  # type: ignore[name-defined]
    """An environment as after an installation, made by the real venv module but without pip."""
    environment = run.Environment(clone)
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(environment.folder)], check=True)
    environment.stamp.write_text(f"{environment.fingerprint()} test", encoding="utf-8")
    return environment


def test_a_finished_environment_is_ready_for_both_uses(clone: Path) -> None:
    environment = make(clone)
    assert environment.is_ready("")
    assert environment.is_ready("test")
    environment.stamp.write_text(environment.fingerprint(), encoding="utf-8")
    assert environment.is_ready("")
    assert not environment.is_ready("test")


@pytest.mark.parametrize("name", ["pyproject.toml", "constraints.txt"])
def test_changed_requirements_are_installed_again(clone: Path, name: str) -> None:
    environment = make(clone)
    with (clone / name).open("a", encoding="utf-8") as file:
        file.write("# one more line\n")
    assert not environment.is_ready("")


def test_another_torch_index_is_installed_from(clone: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    environment = make(clone)
    monkeypatch.setenv("ALTERVOX_TORCH_INDEX", "https://download.pytorch.org/whl/cu126")
    assert not environment.is_ready("")
    assert run.torch_index() == "https://download.pytorch.org/whl/cu126"


def machine(monkeypatch: pytest.MonkeyPatch, system: str, processor: str, has_nvidia: bool) -> None:
    monkeypatch.setattr("platform.system", lambda: system)
    monkeypatch.setattr("platform.machine", lambda: processor)
    monkeypatch.setattr("shutil.which", lambda name: "/usr/bin/nvidia-smi" if has_nvidia else None)


@pytest.mark.parametrize(
    ("system", "processor", "has_nvidia", "index", "extra"),
    [
        ("Linux", "x86_64", False, "", "cpu"),
        ("Linux", "x86_64", True, "", "gpu"),
        ("Windows", "AMD64", True, "", "gpu"),
        ("Windows", "AMD64", False, "", "cpu"),
        ("Linux", "aarch64", True, "", "cpu"),
        ("Darwin", "arm64", False, "", "cpu"),
        ("Linux", "x86_64", True, "https://download.pytorch.org/whl/cpu", "cpu"),
        ("Linux", "x86_64", True, "https://download.pytorch.org/whl/cu126", "gpu"),
    ],
)
def test_the_onnx_runtime_fits_the_machine(
    monkeypatch: pytest.MonkeyPatch, system: str, processor: str, has_nvidia: bool, index: str, extra: str
) -> None:
    machine(monkeypatch, system, processor, has_nvidia)
    monkeypatch.setenv("ALTERVOX_TORCH_INDEX", index)
    assert run.onnx_extra() == extra


class Recorded(run.Environment):  # type: ignore[misc,name-defined]
    """An environment that notes what it would have pip do."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.calls: list[tuple[str, ...]] = []
        self.compiled = 0

    def is_usable(self) -> bool:
        return True

    def pip(self, *arguments: str) -> bool:
        self.calls.append(arguments)
        return True

    def compile_kernels(self) -> None:
        self.compiled += 1


@pytest.mark.parametrize("wanted", ["", "test"])
def test_setting_up_installs_the_one_runtime_and_switching_replaces_it(
    clone: Path, monkeypatch: pytest.MonkeyPatch, wanted: str
) -> None:
    make(clone)
    environment = Recorded(clone)
    machine(monkeypatch, "Linux", "x86_64", has_nvidia=False)
    environment.stamp.unlink()
    environment.ensure(wanted)
    extras = ",test]" if wanted else "]"
    assert environment.calls[-1][-1] == f"{clone}[cpu{extras}"
    assert not [call for call in environment.calls if call[0] == "uninstall"]
    assert environment.is_ready(wanted)

    installed = next(environment.folder.rglob("site-packages"))
    (installed / "onnxruntime-1.dist-info").mkdir()
    (installed / "onnxruntime-1.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: onnxruntime\n")
    environment.calls.clear()
    machine(monkeypatch, "Linux", "x86_64", has_nvidia=True)
    assert not environment.is_ready(wanted), "a GPU has come"
    environment.ensure(wanted)
    assert environment.calls[0] == ("uninstall", "--yes", "onnxruntime", "onnxruntime-gpu")
    assert environment.calls[1][:3] == ("install", "--no-deps", "--force-reinstall"), "PyTorch without CUDA must go"
    assert environment.calls[1][-1].startswith("torch==")
    assert environment.calls[-1][-1] == f"{clone}[gpu{extras}"
    assert environment.is_ready(wanted)
    assert environment.compiled == 2


def test_kernels_that_do_not_compile_are_no_failure(clone: Path, capfd: pytest.CaptureFixture[str]) -> None:
    make(clone).compile_kernels()  # altervox is not even installed there
    assert "takes some seconds longer to start" in capfd.readouterr().out


def test_moved_clone_is_installed_again(clone: Path) -> None:
    make(clone)
    moved = clone.with_name("moved")
    clone.rename(moved)
    assert not run.Environment(moved).is_ready("")


@pytest.mark.parametrize("leads_somewhere", [True, False])
def test_an_environment_whose_link_leads_elsewhere_is_not_usable(leads_somewhere: bool, tmp_path: Path) -> None:
    environment = run.Environment(ROOT)
    environment.link = tmp_path / "altervox"
    environment.link.symlink_to(tmp_path if leads_somewhere else tmp_path / "gone", target_is_directory=True)
    assert not environment.is_usable()


def test_an_environment_that_cannot_be_made_is_answered_with_one_sentence(clone: Path) -> None:
    (clone / ".venv").write_text("no folder")
    result = start(clone, "", "demo")
    assert result.returncode == 1
    assert (
        result.stderr.strip()
        == f"{clone / '.venv'} could not be made (Not a directory): delete it, then run this again."
    )


def test_a_link_that_cannot_be_made_is_one_sentence(clone: Path) -> None:
    environment = make(clone)
    (environment.folder / "typing").write_text("no folder")
    with pytest.raises(run.RunError, match="could not be made to lead to"):
        environment.link_for_type_checkers()


def test_an_environment_without_pip_or_without_python_is_not_usable(clone: Path) -> None:
    environment = make(clone)
    assert not environment.is_usable()
    environment.program("python").unlink()
    assert not environment.is_ready("")
    assert not environment.is_usable()


def test_this_environment_is_usable() -> None:
    environment = run.Environment(ROOT)
    assert environment.is_usable()
    link = environment.folder / "typing" / "altervox"
    assert (link / "pyproject.toml").samefile(ROOT / "pyproject.toml")


def test_the_link_for_type_checkers_leads_to_the_clone(clone: Path) -> None:
    environment = make(clone)
    environment.link_for_type_checkers()
    environment.link_for_type_checkers()
    assert (environment.folder / "typing" / "altervox" / "run.py").samefile(clone / "run.py")


def test_the_summary_of_all_phases_names_the_slowest(tmp_path: Path) -> None:
    reports = []
    for name, seconds in (("first", 2.5), ("second", 61.25)):
        cases = f'<testcase classname="tests.{name}" name="test_it" time="{seconds}"/>'
        cases += '<testcase classname="tests" name="test_skipped" time="0"><skipped type="pytest.skip"/></testcase>'
        reports.append(tmp_path / f"{name}.xml")
        reports[-1].write_text(f"<testsuites><testsuite>{cases}</testsuite></testsuites>", encoding="utf-8")
    lines = run.summary(reports).strip().splitlines()
    assert lines[0] == "4 tests, 2 of them skipped. The slowest:"
    assert [line.split() for line in lines[1:3]] == [
        ["61.2", "s", "tests.second::test_it"],
        ["2.5", "s", "tests.first::test_it"],
    ]


@pytest.mark.linux
def test_a_process_in_the_time_left_yields_to_all_others() -> None:
    code = "import os; print(os.sched_getscheduler(0) == os.SCHED_IDLE)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, **run.in_time_left()
    )
    assert done.stdout.strip() == "True"
