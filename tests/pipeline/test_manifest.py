"""The manifest: strict JSON, versions of what is installed."""

from __future__ import annotations

import json

from optical.config.recipe import load_recipe
from optical.pipeline import manifest


def test_the_manifest_is_strict_json_and_names_installed_packages_only(tmp_path, teacher, monkeypatch):
    def version(package):
        if package == "faiss-cpu":
            raise manifest.PackageNotFoundError(package)
        return f"1 of {package}"

    monkeypatch.setattr(manifest, "version", version)
    recipe = load_recipe(None, {"out": str(tmp_path / "run"), "lang": "sw"})
    facts = {"development": {"start": float("nan"), "best": 0.5}, "other": [float("inf"), 1, True, None, "NaN"]}
    manifest.write_manifest(recipe, teacher, facts)

    def refuse(constant):
        raise AssertionError(f"{constant} is no JSON")

    kept = json.loads((tmp_path / "run" / "manifest.json").read_text(encoding="utf-8"), parse_constant=refuse)
    assert kept["development"] == {"start": None, "best": 0.5}
    assert kept["other"] == [None, 1, True, None, "NaN"]
    assert kept["packages"]["faiss-gpu"] == "1 of faiss-gpu"
    assert "faiss-cpu" not in kept["packages"]
