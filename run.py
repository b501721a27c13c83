"""Sets altervox up in this folder and runs its main jobs. Needs Python and nothing else.

    python3 run.py demo     convert a recording with the default voice
    python3 run.py test     run the checks and the tests
    python3 run.py check    run the checks (ruff, mypy) only
    python3 run.py setup    only set up, with what the tests need

On Windows: `py run.py demo`.
"""

import sys

# Before all else, and in words that an old Python understands: the rest need not be readable to it.
if not (3, 11) <= sys.version_info[:2] <= (3, 14):
    sys.exit(f"altervox needs Python 3.11 to 3.14, and this is Python {sys.version_info[0]}.{sys.version_info[1]}.")

import argparse
import hashlib
import os
import platform
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

ROOT = Path(__file__).resolve().parent
RECORDING = ROOT / "tests" / "data" / "librivox_male.wav"
NEURAL_VOICE = "clara"
# What the tests use beyond Python packages, as Debian and Ubuntu call it.
SYSTEM_PACKAGES = [
    *("libasound2-plugins", "libportaudio2", "pulseaudio", "pulseaudio-utils"),
    *("dbus", "pipewire", "pipewire-pulse", "wireplumber"),  # never pipewire-alsa: it removes pulseaudio
    *("chromium", "chromium-driver", "xvfb"),
]
MAX_WORKERS = 4  # test processes, of which each may take 2 GB
SLOWEST = 15
# They compute for minutes, and wait for nothing.
LEFT_TIME_TESTS = [
    *("tests/realtime/stages", "tests/test_reference_vectors.py"),
    "tests/tools/bench/reference",
    *(f"tests/tools/bench/test_{name}.py" for name in ("accuracy", "convert", "noise")),
    *(f"tests/models/{name}" for name in ("dsp", "export", "neural", "pitch", "rvc")),
]

TORCH_CPU = "https://download.pytorch.org/whl/cpu"
TORCH_CUDA = "https://download.pytorch.org/whl/cu130"
# By extra. They write the same files: only one may be installed.
ONNX_RUNTIMES = {"cpu": "onnxruntime", "gpu": "onnxruntime-gpu"}


def say(text: str) -> None:
    """Print at once, so that it stands above what the programs called next will print."""
    print(text, flush=True)


class RunError(Exception):
    """Something is missing or went wrong; the message says what to do."""


class Environment:
    """The virtual environment of a clone.

    Attributes:
        root: The clone.
        folder: The environment's folder.
        stamp: Says what was installed, or that an installation was begun and never finished.
    """

    UNFINISHED = "unfinished"

    def __init__(self, root: Path) -> None:
        self.root = root
        self.folder = root / ".venv"
        self.stamp = self.folder / "altervox-setup.txt"
        self.link = self.folder / "typing" / "altervox"

    def program(self, name: str) -> Path:
        """The path of a program inside the environment."""
        return self.folder / ("Scripts" if os.name == "nt" else "bin") / (name + (".exe" if os.name == "nt" else ""))

    def fingerprint(self) -> str:
        """A hash of all that decides what gets installed."""
        digest = hashlib.sha256()
        for part in (
            (self.root / "pyproject.toml").read_bytes(),
            (self.root / "constraints.txt").read_bytes(),
            f"{self.root} {sys.version_info[:2]} {os.environ.get('ALTERVOX_TORCH_INDEX', '')} {onnx_extra()}".encode(),
        ):
            digest.update(hashlib.sha256(part).digest())
        return digest.hexdigest()

    def is_ready(self, extra: str) -> bool:
        """Whether everything is installed. The environment with the extra serves those who need none, too."""
        if not self.stamp.exists() or not self.program("python").exists():
            return False
        done, _, installed = self.stamp.read_text(encoding="utf-8").strip().partition(" ")
        return done == self.fingerprint() and extra in ("", installed)

    def is_usable(self) -> bool:
        """Whether one can install into it: pip works, it is of this Python and this folder, nothing was cut off."""
        if self.stamp.exists() and self.stamp.read_text(encoding="utf-8").strip() == self.UNFINISHED:
            return False
        if not self.program("python").exists():
            return False
        if os.path.lexists(self.link) and not (self.link.exists() and self.link.samefile(self.root)):
            return False  # the clone was moved or copied
        ask = "import sys, pip; print(*sys.version_info[:2])"
        answer = subprocess.run([str(self.program("python")), "-c", ask], capture_output=True, text=True, check=False)
        return answer.stdout.split() == [str(part) for part in sys.version_info[:2]]

    def create(self) -> None:
        """Make it anew, clearing away what was there."""
        try:
            import ensurepip  # noqa: F401
            import venv
        except ImportError:
            raise RunError(
                "This Python lacks its venv module; on Debian and Ubuntu install it with: sudo apt install python3-venv"
            ) from None
        say(f"Making {self.folder}")
        try:
            venv.create(self.folder, clear=True, with_pip=True, symlinks=os.name != "nt")
        except (OSError, subprocess.CalledProcessError) as error:
            reason = error.strerror if isinstance(error, OSError) else "pip does not start in it"
            raise RunError(f"{self.folder} could not be made ({reason}): delete it, then run this again.") from None

    def pip(self, *arguments: str) -> bool:
        """Run pip inside the environment; whether it succeeded."""
        command = [str(self.program("python")), "-m", "pip", "--disable-pip-version-check", *arguments]
        return subprocess.run(command, check=False).returncode == 0

    def install(self, *what: str, replace_torch: bool = False) -> None:
        """Install something, given as to pip, in the pinned versions and with the PyTorch that fits this machine.

        Args:
            what: What to install.
            replace_torch: Whether the PyTorch that is there is to make room, for it fitted another machine.
        """
        constraints = self.root / "constraints.txt"
        index = torch_index()
        if index or replace_torch:
            torch = next(line for line in constraints.read_text("utf-8").splitlines() if line.startswith("torch=="))
            # An index that was named on purpose replaces the torch that is there, too.
            replace = ["--force-reinstall"] if replace_torch or os.environ.get("ALTERVOX_TORCH_INDEX") else []
            place = ["--retries", "1", "--timeout", "15", "--index-url", index] if index else []
            say(f"Installing PyTorch from {index or 'the usual index of pip'}")
            if not self.pip("install", "--no-deps", *replace, *place, torch) and index:
                say(f"{index} has no {torch} for this machine or did not answer: trying pip's usual index.")
        if not self.pip("install", "--constraint", str(constraints), *what):
            raise RunError("pip could not install altervox; its last lines above say why. Then run this again.")

    def remove_other_onnx_runtime(self) -> bool:
        """Make room for the ONNX Runtime that fits: both packages write the same files, so that neither may stay.

        Returns whether the other one was there: what is installed fitted a machine with a GPU, or one without.
        """
        other = ONNX_RUNTIMES["gpu" if onnx_extra() == "cpu" else "cpu"]
        ask = "from importlib.metadata import distributions; print(*(d.metadata['Name'] for d in distributions()))"
        answer = subprocess.run([str(self.program("python")), "-c", ask], capture_output=True, text=True, check=False)
        is_there = other in answer.stdout.split()
        if is_there:
            self.pip("uninstall", "--yes", *ONNX_RUNTIMES.values())
        return is_there

    def compile_kernels(self) -> None:
        """Compile what a session compiles as it starts, so that the first one starts as fast as any other."""
        say("Compiling for this processor, so that sessions start fast")
        command = [str(self.program("python")), "-m", "altervox.realtime.audio"]
        if subprocess.run(command, cwd=self.root, check=False).returncode != 0:
            say("That failed, so the first session takes some seconds longer to start.")

    def link_for_type_checkers(self) -> None:
        """Let `.venv/typing/altervox` be this clone: type checkers do not follow the mapping in pyproject.toml."""
        if self.link.exists():
            return
        try:
            self.link.parent.mkdir(exist_ok=True)
            if os.name == "nt":  # a junction, for a symbolic link asks for rights that a user may not have
                command = ["cmd", "/c", "mklink", "/J", str(self.link), str(self.root)]
                subprocess.run(command, check=True, capture_output=True)
            else:
                self.link.symlink_to(self.root, target_is_directory=True)
        except (OSError, subprocess.CalledProcessError):
            raise RunError(
                f"{self.link} could not be made to lead to {self.root}: move the clone to a local disk of the system's "
                "own format, then run this again."
            ) from None

    def ensure(self, extra: str = "") -> None:
        """Bring it up to date; quick if it is."""
        if self.is_ready(extra):
            return
        if not self.is_usable():
            self.create()
        self.stamp.write_text(self.UNFINISHED, encoding="utf-8")
        is_of_another_machine = self.remove_other_onnx_runtime()
        extras = ",".join(name for name in (onnx_extra(), extra) if name)
        self.install("--editable", f"{self.root}[{extras}]", replace_torch=is_of_another_machine)
        self.link_for_type_checkers()
        self.stamp.write_text(f"{self.fingerprint()} {extra}".strip(), encoding="utf-8")
        self.compile_kernels()


def torch_index() -> str:
    """Where to get PyTorch, empty for pip's usual index.

    The usual index has builds with CUDA for Linux (gigabytes) and without for Windows; each is wrong for half of the
    machines. A name in ALTERVOX_TORCH_INDEX overrules.
    """
    named = os.environ.get("ALTERVOX_TORCH_INDEX", "")
    nvidia = shutil.which("nvidia-smi") is not None
    if named or platform.system() not in ("Linux", "Windows"):
        return named
    if platform.system() == "Linux":
        return "" if nvidia else TORCH_CPU
    return TORCH_CUDA if nvidia else ""


def onnx_extra() -> str:
    """The extra with the ONNX Runtime that fits this machine, "gpu" or "cpu", by what `torch_index` goes by.

    There is one for NVIDIA's GPUs for Linux and Windows on x86-64. Who names an index of PyTorch without CUDA wants
    none.
    """
    has_build = platform.system() in ("Linux", "Windows") and platform.machine().lower() in ("x86_64", "amd64")
    nvidia = shutil.which("nvidia-smi") is not None
    named = os.environ.get("ALTERVOX_TORCH_INDEX", "")
    return "gpu" if has_build and nvidia and not named.rstrip("/").endswith("/cpu") else "cpu"


def install_system_packages() -> None:
    """Install what the tests use beyond Python, only as root and only where that is asked for. Removes nothing."""
    asked = os.environ.get("CI") or os.environ.get("ALTERVOX_SYSTEM_PACKAGES") == "1"
    if not asked or not hasattr(os, "geteuid") or os.geteuid() != 0 or not shutil.which("apt-get"):
        return
    query = ["dpkg-query", "--show", "--showformat=${Status}\n", *SYSTEM_PACKAGES]
    states = subprocess.run(query, capture_output=True, text=True, check=False).stdout
    if states.count("install ok installed") == len(SYSTEM_PACKAGES):
        return
    install = ["apt-get", "install", "--yes", "--no-install-recommends", "--no-remove", *SYSTEM_PACKAGES]
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for command in (["apt-get", "update"], install):
        say(" ".join(command))
        if subprocess.run([*command, "-qq"], env=environment, check=False).returncode != 0:
            say(f"They could not be installed, so tests that need them will fail; by hand: sudo {' '.join(install)}")
            return


def call(*command: str | Path) -> None:
    """Run a command in the clone, showing what it prints."""
    if subprocess.run([str(part) for part in command], cwd=ROOT, check=False).returncode != 0:
        raise RunError(f"{Path(command[0]).stem} failed: see above.")


def demo(environment: Environment) -> None:
    """Convert a recording, with the default voice and into another person, and say where the results are."""
    environment.ensure()
    changed, person = ROOT / "demo" / "another_voice.wav", ROOT / "demo" / "another_person.wav"
    changed.parent.mkdir(exist_ok=True)
    altervox = environment.program("altervox")
    call(altervox, "convert", RECORDING, "-o", changed)
    call(altervox, "convert", RECORDING, "-o", person, "--voice", NEURAL_VOICE)
    command = altervox.relative_to(ROOT)
    say(
        f"\nBefore:         {RECORDING.relative_to(ROOT)}\n"
        f"Another voice:  {changed.relative_to(ROOT)}\n"
        f"Another person: {person.relative_to(ROOT)}\n\n"
        "Listen to them, then try it on a recording of yours:\n"
        f"  {command} voices\n"
        f"  {command} convert yours.wav --voice robot -o robot.wav"
    )


def check(environment: Environment) -> None:
    """Run the linter, the formatter's check and the type checker."""
    environment.ensure("test")
    call(environment.program("ruff"), "check")
    call(environment.program("ruff"), "format", "--check")
    call(environment.program("mypy"))
    call(environment.program("mypy"), "tests", "run.py")


def test(environment: Environment) -> None:
    """Run the checks and the tests: those that compute, those on the sound rig, which wait, those in real time.

    All of them leave some of the processors' time; tests that compute and wait for nothing take what is left. Those
    that count every frame come when all that is over: even a process that gets what is left costs some.
    """
    install_system_packages()
    # The tests start hundreds of processes: each would compile altervox again, and every phase the tests.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    check(environment)
    workers = min(os.cpu_count() or 1, MAX_WORKERS)
    reports: list[Path] = []

    def tests(*options: str) -> list[str]:
        report = environment.folder / f"tests-{len(reports) + 1}.xml"
        report.unlink(missing_ok=True)
        reports.append(report)
        return [str(environment.program("pytest")), *options, f"--junitxml={report}"]

    computing = ["-m", "not rig and not alone", "-n", str(workers), "--dist", "worksteal"]
    most = tests(*computing, *(f"--ignore={path}" for path in LEFT_TIME_TESTS))
    on_rig = tests("-m", "rig", "-n", str(workers + 1), "--dist", "worksteal")
    in_real_time, counting = tests("-m", "alone and not quiet"), tests("-m", "alone and quiet")
    others = tests(*computing, *LEFT_TIME_TESTS)

    def code(command: list[str]) -> int:
        return subprocess.run(command, cwd=ROOT, check=False).returncode

    with tempfile.TemporaryFile("w+", encoding="utf-8") as output:  # shown when all are over
        with subprocess.Popen(others, cwd=ROOT, stdout=output, stderr=subprocess.STDOUT, **in_time_left()) as beside:
            codes = [code(most), code(on_rig), code(in_real_time), beside.wait()]
        output.seek(0)
        say(output.read())
    codes.append(code(counting))
    say(summary([report for report in reports if report.exists()]))
    if any(codes):
        raise RunError("Tests failed: see above.")


def in_time_left() -> dict[str, Any]:
    """Arguments of `subprocess.Popen` for a process that only gets processors which nothing else wants."""
    if sys.platform == "win32":
        return {"creationflags": subprocess.IDLE_PRIORITY_CLASS}
    if sys.platform == "linux":
        return {"preexec_fn": lambda: os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))}
    return {"preexec_fn": lambda: os.nice(19)}


def summary(reports: list[Path]) -> str:
    """What the JUnit reports of all phases say together: how many tests ran, were skipped, and took longest."""
    cases = [case for report in reports for case in ElementTree.parse(report).iter("testcase")]
    skipped = sum(case.find("skipped") is not None for case in cases)
    slowest = sorted(cases, key=lambda case: float(case.get("time", 0)), reverse=True)[:SLOWEST]
    lines = [f"{float(case.get('time', 0)):6.1f} s  {case.get('classname')}::{case.get('name')}" for case in slowest]
    return "\n".join([f"\n{len(cases)} tests, {skipped} of them skipped. The slowest:", *lines])


def setup(environment: Environment) -> None:
    """Set up for development."""
    environment.ensure("test")
    say(f"Ready: {environment.program('altervox').relative_to(ROOT)} --help")


def main() -> None:
    """Run the command that was asked for."""
    jobs = {"demo": demo, "test": test, "check": check, "setup": setup}
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("job", choices=jobs, metavar="{" + ",".join(jobs) + "}")
    try:
        jobs[parser.parse_args().job](Environment(ROOT))
    except RunError as error:
        sys.exit(str(error))
    except KeyboardInterrupt:
        sys.exit("Stopped.")


if __name__ == "__main__":
    main()
