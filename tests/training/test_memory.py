"""Memory between the steps of training."""

from __future__ import annotations

import os
import platform
import subprocess
import sys

import pytest

STEPS = """
import resource
import numpy as np
from optical.training.memory import keep_freed_memory

def step():
    kept = [np.ones(1 << 18, dtype=np.float32) for _ in range(40)]

def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

keep_freed_memory()
step()
before = faults()
step()
print(faults() - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other C libraries have no mallopt")
@pytest.mark.parametrize("own", [{}, {"MALLOC_TRIM_THRESHOLD_": "131072"}], ids=["kept", "as the user set it"])
def test_a_step_takes_the_memory_of_the_step_before(own):
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("MALLOC_", "GLIBC_"))}
    done = subprocess.run([sys.executable, "-c", STEPS], capture_output=True, text=True, env=clean | own)
    pages = (40 << 20) // os.sysconf("SC_PAGE_SIZE")
    assert (int(done.stdout) > pages / 2) == bool(own), done.stderr
