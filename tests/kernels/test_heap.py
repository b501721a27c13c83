"""Freed memory stays with the process: large arrays that come again bring no new pages."""

from __future__ import annotations

import subprocess
import sys

import pytest

SCRIPT = """
import resource, sys
import numpy as np
from altervox.kernels.heap import keep_freed_memory
if sys.argv[1] == "keep":
    assert keep_freed_memory()
def pages():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(20):
        arrays = [np.ones(6 << 20, dtype=np.uint8) for _ in range(5)]
        del arrays
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
pages()
print(pages())
"""


def pages(how: str) -> int:
    done = subprocess.run([sys.executable, "-c", SCRIPT, how], capture_output=True, text=True, check=True)
    return int(done.stdout)


@pytest.mark.skipif(sys.platform != "linux", reason="linux: glibc's malloc")
def test_freed_memory_is_kept() -> None:
    assert pages("keep") < 100
    assert pages("return") > 100
