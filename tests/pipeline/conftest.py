"""The bitext and the collection that the chain is walked through on, and finished runs."""

from __future__ import annotations

import pytest
import torch

from tests.chain import MUCH_TO_LEARN, recipe_of, uncased
from tests.cli.conftest import command, data  # noqa: F401 - fixtures
from tests.runs import distilled


@pytest.fixture(scope="module")
def run(tmp_path_factory, data):
    """The recipe of one finished run, its report, and what it said."""
    folder = tmp_path_factory.mktemp("chain")
    torch.manual_seed(0)
    uncased(folder / "made").save(str(folder / "teacher"))
    recipe, said = recipe_of(folder, data, folder / "teacher", **MUCH_TO_LEARN), []
    return recipe, distilled(recipe, said.append, progress=False), said


@pytest.fixture(scope="module")
def late(tmp_path_factory, data):
    """The recipe and the report of a finished run with late interaction."""
    folder = tmp_path_factory.mktemp("late")
    uncased(folder / "made").save(str(folder / "teacher"))
    recipe = recipe_of(folder, data, folder / "teacher", late_interaction=True)
    return recipe, distilled(recipe, progress=False)
