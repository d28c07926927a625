"""The model card of a student: valid metadata, lines that work as pasted, measures that are put in and kept apart."""

from __future__ import annotations

import contextlib
import io
import json
import re
import shutil

import pytest
from huggingface_hub import ModelCard

from optical.files import strict_json, write_text, written_whole
from optical.models.save import NOTE
from optical.pipeline import card
from tests.runs import tiny_run

LANGUAGE = re.compile("[a-z]{2,3}")
README = "README.md"


@pytest.fixture
def kept(run, tmp_path):
    """The small files of the finished run in a folder of its own, its recipe, and a function that changes a fact."""
    recipe = run[0].model_copy(update={"out": str(tmp_path / "run")})
    shutil.copytree(run[0].folder / "evaluation", recipe.folder / "evaluation")
    shutil.copy(run[0].folder / "manifest.json", recipe.folder)
    with written_whole(recipe.folder / "student") as student:
        for name in (README, "config.json", "config_sentence_transformers.json"):
            shutil.copy(run[0].folder / "student" / name, student)

    def change(**facts) -> None:
        file = recipe.folder / "manifest.json"
        file.write_text(strict_json(json.loads(file.read_text()) | facts))

    return recipe, change


def pasted(text: str) -> str:
    """Run the first Python of a card and return what it prints."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(re.search(r"```python\n(.*?)```", text, re.DOTALL)[1], {})
    return printed.getvalue()


def check_metadata(text: str) -> dict:
    """What a hub demands of metadata, as far as it can be told without one."""
    data = ModelCard(text).data.to_dict()
    assert all(LANGUAGE.fullmatch(code) for code in data["language"])
    assert data["pipeline_tag"] == "sentence-similarity"
    assert data["library_name"] == "sentence-transformers"
    assert all(isinstance(tag, str) for tag in data["tags"])
    assert data["license"] != "other" or (data["license_name"] == "see-the-card" and data["license_link"] == README)
    return data


def test_a_run_has_a_card_with_its_measures(run):
    recipe, report, _ = run
    text = (recipe.folder / "student" / README).read_text(encoding="utf-8")
    assert check_metadata(text)["language"] == ["sw", "en"]
    assert "base_model" not in check_metadata(text), "a folder of this machine is no model of a hub"
    assert f"| student | sw | {report.scores['student'].mean['AP']:.4f} |" in text
    assert "Unknown" not in text
    assert "| sw | bitext | not stated | `" in text
    assert not list((recipe.folder / "student").glob(".README*"))


def test_its_lines_of_use_work_as_pasted(run):
    assert re.search(r"tensor\(\[\[-?[\d.]+\]\]\)", pasted((run[0].folder / "student" / README).read_text()))


def test_lines_of_use_of_late_interaction_work_as_pasted(tmp_path):
    recipe = tiny_run(tmp_path, late=True)
    text = card.card(recipe)
    assert "MultiVectorEncoder" in text
    assert "tensor(" in pasted(text)
    assert "ColBERT" in check_metadata(text)["tags"]


def test_a_prompt_of_documents_is_written_out(kept):
    recipe, _ = kept
    config = recipe.folder / "student" / "config_sentence_transformers.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "prompts": {"document": 'a "passage": '}}))
    assert r'encode_document(documents, prompt="a \"passage\": ")' in card.card(recipe)


def test_models_of_the_hub_are_named_as_it_names_them(kept):
    recipe = kept[0].model_copy(update={"teacher": "all-MiniLM-L6-v2"})
    text = card.card(recipe)
    assert check_metadata(text)["base_model"] == ["sentence-transformers/all-MiniLM-L6-v2"]
    assert 'SentenceTransformer("sentence-transformers/all-MiniLM-L6-v2")' in text
    pair = card.card(recipe.model_copy(update={"teacher": "a/questions,b/passages", "student": "c/body"}))
    assert check_metadata(pair)["base_model"] == ["c/body"]
    assert 'load_towers("a/questions,b/passages").documents' in pair


def test_a_folder_that_is_called_like_a_model_of_the_hub_is_not_named_as_one(kept, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own" / "teacher").mkdir(parents=True)
    assert "base_model" not in check_metadata(card.card(kept[0].model_copy(update={"teacher": "own/teacher"})))


def test_languages_and_their_bitext_are_named_with_licences(kept):
    recipe, change = kept
    source = {"path": "p", "weight": 0.5, "checksum": "ab" * 32}
    change(text={"sources": [
        {"lang": "zh_Hant", "name": "one", "pairs": 1200, "licence": "CC BY 4.0", **source},
        {"lang": "so", "name": "two", "pairs": 30, "licence": None, **source},
    ]})  # fmt: skip
    text = card.card(recipe.model_copy(update={"lang": "zh_Hant,so"}))
    assert check_metadata(text)["language"] == ["zh", "so", "en"]
    assert "| zh_Hant | one | CC BY 4.0 | `abababababababab` | 1,200 | 0.5 |" in text
    assert "| so | two | not stated |" in text


def test_limits_are_those_of_the_run(kept):
    recipe, change = kept
    change(development={"share": 0.0}, reading={"help": {"texts": 9, "cut": 2}, "unread": None})
    config = recipe.folder / "student" / "config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), NOTE: "These weights have 4 bits."}))
    text = card.card(recipe)
    for limit in ("did not raise", "cut: 2 of 9 documents of help.", "- These weights have 4 bits.", "tokens on"):
        assert limit in text
    change(development={"share": 0.5}, reading={})
    assert "did not raise" not in card.card(recipe)
    assert "were cut" not in card.card(recipe)


def test_without_measures_the_card_says_so(kept):
    shutil.rmtree(kept[0].folder / "evaluation")
    assert "Nothing was measured" in card.card(kept[0])


def test_results_of_another_student_are_not_the_runs(kept):
    recipe, _ = kept
    other = recipe.folder / "evaluation" / "sample-collection-test-theirs"
    shutil.copytree(recipe.folder / "evaluation" / "sample-collection-test", other)
    (other / "table.md").write_text("of another")
    assert "of another" not in card.measures(recipe)
    assert card.measures(recipe).count("share of ceiling") == 1


def test_new_measures_leave_what_somebody_else_wrote(kept):
    recipe, _ = kept
    file = recipe.folder / "student" / README
    file.write_text(file.read_text().replace("# Limits", "# Limits\n\nMine."))
    table = recipe.folder / "evaluation" / "sample-collection-test" / "table.md"
    table.write_text("the new table")
    card.write_measures(recipe)
    text = file.read_text()
    assert "\n\nthe new table\n\n" in text
    assert "Mine." in text
    assert text.count(card.BEGIN) == text.count(card.END) == 1


def test_a_card_without_a_place_for_measures_is_left_and_that_is_said(kept):
    recipe, _ = kept
    file, said = recipe.folder / "student" / README, []
    file.write_text("all mine")
    card.write_measures(recipe, said.append)
    assert file.read_text() == "all mine"
    assert "has no place for measures" in said[0]


def test_the_librarys_own_card_of_an_older_run_is_written_anew(kept):
    recipe, _ = kept
    file = recipe.folder / "student" / README
    file.write_text("<!-- - **License:** Unknown -->")
    (recipe.folder / "manifest.json").unlink()
    card.write_measures(recipe)
    assert "older than the record" in file.read_text()


def test_a_card_that_is_not_ours_is_not_replaced(kept):
    recipe, _ = kept
    said = []
    (recipe.folder / "student" / ".optical.json").unlink()
    before = (recipe.folder / "student" / README).read_text()
    card.write_card(recipe, said.append)
    assert "in the way" in said[0]
    assert (recipe.folder / "student" / README).read_text() == before


def test_a_card_that_goes_to_a_hub_has_its_address_and_licence(kept):
    text = card.named(card.card(kept[0]), "me/swahili", "cc-by-4.0")
    assert check_metadata(text)["license"] == "cc-by-4.0"
    assert "license_name" not in check_metadata(text)
    assert 'student = SentenceTransformer("me/swahili")' in text
    assert str(kept[0].folder) not in text
    write_text(kept[0].folder / "student" / README, text)
    card.write_measures(kept[0])
    assert check_metadata((kept[0].folder / "student" / README).read_text())["license"] == "cc-by-4.0"


def test_foreign_names_and_notes_stay_text(kept):
    recipe, change = kept
    name = "<script>|\n---\nlicense: mit\n`"
    one = {"lang": "sw", "name": name, "path": "x", "licence": name, "checksum": "0" * 64, "pairs": 1, "weight": 1}
    change(text={"sources": [one]}, reading={name: {"cut": 1, "texts": 2}}, dictionary={f"/a/{name}": "0"})
    text = card.card(recipe)
    assert check_metadata(text)["license"] == "other"
    assert "<script>" not in re.sub(r"`[^`\n]*`", "", text)
    assert [line for line in text.splitlines() if line.startswith(("license", "---"))] == ["---", "license: other"] + [
        line for line in text.splitlines() if line.startswith("license_")
    ] + ["---"]
