"""tests/conftest.py: which skips pass, and that the others fail under CI."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SKIPS = """
import sys
import pytest

@pytest.mark.{marker}
def test_excused():
    pytest.skip("not here")

@pytest.mark.xfail
def test_known_bug():
    assert False

def test_plain():
    pass
"""
ELSEWHERE = "windows" if sys.platform != "win32" else "macos"


def run(folder: Path, tests: str, ci: bool, *options: str) -> subprocess.CompletedProcess[str]:
    shutil.copy(Path(__file__).with_name("conftest.py"), folder / "conftest.py")
    (folder / "pytest.ini").write_text(
        "[pytest]\nmarkers =\n gpu: g\n windows: w\n macos: m\n alone: a\n rig: r\n", encoding="utf-8"
    )
    (folder / "test_sample.py").write_text(tests, encoding="utf-8")
    environment = {key: value for key, value in os.environ.items() if key not in ("CI", "PYTEST_ADDOPTS")}
    if ci:
        environment["CI"] = "true"
    environment["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"  # the other plug-ins take longer to import than these tests
    plugins = ["-p", "no:cacheprovider", "-p", "xdist"]
    command = [sys.executable, "-m", "pytest", *plugins, "--strict-markers", *options]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("options", [[], ["-n", "2"]], ids=["one process", "two processes"])
def test_marked_skips_pass_and_are_counted(tmp_path: Path, options: list[str]) -> None:
    result = run(tmp_path, SKIPS.format(marker=ELSEWHERE), True, *options)
    assert result.returncode == 0, result.stdout
    assert f"{ELSEWHERE} 1" in result.stdout
    assert "skipped: 1 (" in result.stdout
    assert "1 passed, 1 skipped, 1 xfailed" in result.stdout.splitlines()[-1], "pytest's own line must be the last"


def test_marked_tests_are_skipped_without_being_run(tmp_path: Path) -> None:
    tests = f"import pytest\n@pytest.mark.{ELSEWHERE}\ndef test_it():\n    assert False\n"
    result = run(tmp_path, tests, ci=True)
    assert result.returncode == 0, result.stdout


UNMARKED = {
    "in the test": "import pytest\ndef test_it():\n    pytest.skip('no network')\n",
    "by a decorator": "import pytest\n@pytest.mark.skip(reason='no network')\ndef test_it():\n    pass\n",
    "by a condition": "import pytest\n@pytest.mark.skipif(True, reason='no network')\ndef test_it():\n    pass\n",
    "of a module": "import pytest\npytest.skip('no network', allow_module_level=True)\ndef test_it():\n    pass\n",
    "for want of a package": "import pytest\npytest.importorskip('no_network')\ndef test_it():\n    pass\n",
    "in a fixture": (
        "import pytest\n@pytest.fixture\ndef net():\n    pytest.skip('no network')\ndef test_it(net):\n    pass\n"
    ),
}


def unmarked(folder: Path, ci: bool, *options: str) -> subprocess.CompletedProcess[str]:
    """All of them, and a test that passes."""
    for number, tests in enumerate(UNMARKED.values()):
        (folder / f"test_unmarked_{number}.py").write_text(tests, encoding="utf-8")
    plain = "def test_plain():\n    pass\n"
    return run(folder, plain, ci, "-rA", "--continue-on-collection-errors", *options)


@pytest.mark.parametrize("place", [(), ("-n", "1")], ids=["in one process", "in parallel"])
def test_other_skips_fail_under_ci(place: tuple[str, ...], tmp_path: Path) -> None:
    done = unmarked(tmp_path, True, *place)
    assert done.returncode not in (0, 5)
    lines = done.stdout.splitlines()
    for number, kind in enumerate(UNMARKED):
        name = f"test_unmarked_{number}.py"
        assert any(line.startswith(("FAILED", "ERROR")) and name in line for line in lines), (kind, done.stdout)
        (said, *_) = [line for line in lines if line.startswith(name) and "without a marker out of gpu" in line]
        assert "no network" in said or "no_network" in said, kind


def test_other_skips_are_counted_elsewhere(tmp_path: Path) -> None:
    done = unmarked(tmp_path, False)
    assert done.returncode == 0
    assert f"other {len(UNMARKED)}" in done.stdout


RIG_TESTS = """
import pytest

@pytest.fixture
def rig():
    return object()

@pytest.fixture
def session(rig: object):
    return rig

def test_in_real_time(session):
    pass

def test_of_arithmetic():
    pass
"""


@pytest.mark.parametrize(("phase", "name"), [("rig", "test_in_real_time"), ("not rig", "test_of_arithmetic")])
def test_what_uses_the_rig_runs_after_all_else(phase: str, name: str, tmp_path: Path) -> None:
    result = run(tmp_path, RIG_TESTS, True, "-v", "-m", phase)
    assert result.returncode == 0, result.stdout
    assert f"::{name} PASSED" in result.stdout
    assert "1 passed, 1 deselected" in result.stdout
