"""Random and mutated files: only a DataError may come out of a reader, whatever a file holds."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from optical.config.recipe import load_recipe
from optical.errors import OpticalError
from tests.hostile.formats import FORMATS

ROOT = Path(__file__).parents[2]
SECONDS = 5  # of coverage-guided fuzzing for each format
PIECES = st.one_of(
    st.binary(max_size=8),
    st.sampled_from(
        [
            b"\0",
            b"\t",
            b"\n",
            b"\r",
            b'"',
            b"'",
            b"<",
            b">",
            b"&",
            b"{",
            b"[",
            b"]]",
            b"\xff",
            b"\xe2\x80\xa8",
            b"\x1b[31m",
        ]
    ),
    st.sampled_from(
        [b"9" * 5_000, b"[" * 2_000, b'{"a":' * 2_000, b"<a>" * 500, b"-1", b"1e999", b"NaN", b"~", b"..", b"%s"]
    ),
)
EDITS = st.lists(st.tuples(st.floats(0, 1), st.integers(0, 40), st.integers(0, 2), PIECES), min_size=1, max_size=5)


def edited(data: bytes, edits) -> bytes:
    """Pieces put in, in place of some bytes, or of what stands there twice."""
    for place, length, twice, piece in edits:
        at = int(place * len(data))
        data = data[:at] + data[at : at + length] * twice + piece + data[at + length :]
    return data


def check_reader(name: str, data: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder, contextlib.suppress(OpticalError):
        FORMATS[name].make(Path(folder), data)()


def options(examples: int, *, again: bool):
    slow = [HealthCheck.too_slow, HealthCheck.data_too_large]
    return settings(max_examples=examples, deadline=None, derandomize=again, database=None, suppress_health_check=slow)


@pytest.mark.parametrize("name", FORMATS)
def test_mutated_files_raise_nothing_but_errors_that_a_user_can_mend(name):
    whole = FORMATS[name].files[FORMATS[name].file].encode()
    options(15, again=True)(given(EDITS)(lambda edits: check_reader(name, edited(whole, edits))))()


@given(
    st.one_of(st.binary(max_size=300), EDITS.map(lambda edits: edited(b'lang = "sw"\n[training]\nsteps = 3\n', edits)))
)
@options(100, again=True)
def test_so_do_recipes(data):
    with tempfile.TemporaryDirectory() as folder, contextlib.suppress(OpticalError):
        file = Path(folder, "recipe.toml")
        file.write_bytes(data)
        load_recipe(file)


@pytest.mark.slow
@pytest.mark.parametrize("name", FORMATS)
def test_so_do_many_more(name):
    whole = FORMATS[name].files[FORMATS[name].file].encode()
    data = st.one_of(st.binary(max_size=500), EDITS.map(lambda edits: edited(whole, edits)))
    options(500, again=False)(given(data)(lambda data: check_reader(name, data)))()


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("atheris") is None, reason="atheris is not installed")
@pytest.mark.parametrize("name", [name for name in FORMATS if name != "web page"])
def test_fuzzing_that_follows_coverage_finds_nothing(name, tmp_path):
    command = [sys.executable, "-m", "tests.hostile.fuzz", name, str(SECONDS), str(tmp_path / "kept")]
    paths = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")]))
    done = subprocess.run(
        command, cwd=ROOT, env={**os.environ, "PYTHONPATH": paths}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout[-1000:] + done.stderr[-3000:]
    assert "Done" in done.stderr, "it ran to its end"
