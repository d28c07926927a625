"""Files of an installation and their places, built by setuptools itself: no network, no virtual environment."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

pytest.importorskip("setuptools", minversion="77")

ROOT = Path(__file__).parents[1]
FIND = "import importlib.util as i; spec = i.find_spec('optical'); print(spec and spec.origin)"


@pytest.fixture(scope="module")
def clone(tmp_path_factory) -> Path:
    """A copy of what is packaged, in a folder that is called like the package, as a clone is."""
    folder = tmp_path_factory.mktemp("parent") / "optical"
    shutil.copytree(ROOT / "optical", folder / "optical", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder)
    return folder


def built(clone: Path, hook: str, where: Path) -> zipfile.ZipFile:
    """The wheel that a hook of the build backend makes, in a process of its own."""
    where.mkdir()
    script = f"import sys, setuptools.build_meta as b; print(b.{hook}(sys.argv[1]))"
    done = subprocess.run(
        [sys.executable, "-c", script, str(where)], cwd=clone, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return zipfile.ZipFile(where / done.stdout.splitlines()[-1])


def found_from(folder: Path, site: Path) -> str:
    """Which file ``import optical`` takes in a folder, with nothing but one folder of packages installed."""
    script = f"import site, sys; sys.path.insert(0, ''); site.addsitedir({str(site)!r}); {FIND}"
    done = subprocess.run(
        [sys.executable, "-S", "-c", script], cwd=folder, capture_output=True, text=True, check=True, env={}
    )
    return done.stdout.strip()


@pytest.mark.parametrize("hook", ["build_editable", "build_wheel"])
def test_the_folder_of_a_clone_does_not_hide_the_installed_package(clone, tmp_path, hook):
    """From the parent of a clone, Python also sees the clone's folder, which is called ``optical`` and has no
    ``__init__.py``. A package on the path wins over such a folder; a finder that is asked after the path, as setuptools
    makes of most editable installs, does not."""
    site = tmp_path / "site"
    with built(clone, hook, tmp_path / "wheel") as wheel:
        wheel.extractall(site)
    expected = (clone if hook == "build_editable" else site) / "optical" / "__init__.py"
    assert found_from(clone.parent, site) == str(expected)
    assert found_from(tmp_path, site) == str(expected)


def test_without_an_installation_the_folder_of_a_clone_is_an_empty_namespace(clone, tmp_path):
    assert found_from(clone.parent, tmp_path) == "None"


def test_a_wheel_holds_the_package_alone_with_its_page_its_types_and_its_licence(clone, tmp_path):
    with built(clone, "build_wheel", tmp_path / "wheel") as wheel:
        names = wheel.namelist()
        (metadata,) = [wheel.read(name).decode() for name in names if name.endswith("/METADATA")]
    assert {"optical/py.typed", "optical/web/page.html"} <= set(names)
    assert {name.split("/")[0] for name in names if ".dist-info/" not in name} == {"optical"}
    assert any(name.endswith("/LICENSE") for name in names)
    for line in ("License-Expression: Apache-2.0", "Classifier: Typing :: Typed", "Keywords: cross-lingual"):
        assert line in metadata
