"""A finished run with late interaction."""

from __future__ import annotations

import pytest

from tests.chain import recipe_of, uncased
from tests.cli.conftest import command  # noqa: F401 - a fixture
from tests.runs import distilled


@pytest.fixture(scope="module")
def late(tmp_path_factory, data):
    """The recipe and the report of a finished run with late interaction."""
    folder = tmp_path_factory.mktemp("late")
    uncased(folder / "made").save(str(folder / "teacher"))
    recipe = recipe_of(folder, data, folder / "teacher", late_interaction=True)
    return recipe, distilled(recipe, progress=False)
