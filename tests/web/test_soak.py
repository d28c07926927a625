"""`make soak`: a served run bears everything at once, for some seconds here."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("fastapi", reason="the extra serve is not installed")

from tests.runs import tiny_run


@pytest.mark.slow
def test_a_served_run_bears_it(tmp_path):
    run = tiny_run(tmp_path / "tiny").folder
    command = [sys.executable, "-m", "benchmarks.soak", str(run), "0.4"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[2])
    assert done.returncode == 0, done.stdout + done.stderr
    assert "| answers a second | " in done.stdout
    assert "good question 200" in done.stdout
    assert "slow connection closed" in done.stdout
