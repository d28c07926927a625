"""Teachers of 512 tokens and of 8,192 positions in the whole chain; what is cut is counted and said."""

from __future__ import annotations

import json
import shutil

import pytest

from optical.pipeline.embed import embed_collections
from optical.pipeline.index import index_run
from tests.chain import decoder, recipe_of
from tests.conftest import bert
from tests.runs import by_words, distilled, evaluated

LONG = "the farmer plants maize . " * 120  # 600 tokens
TEACHERS = {
    "512 tokens": lambda folder: by_words(bert(folder, positions=512), None),
    "8,192 positions": lambda folder: by_words(bert(folder, positions=8192), None),
    "8,192 positions, causal": decoder,
}


@pytest.mark.parametrize("kind", TEACHERS)
def test_texts_beyond_the_teacher_s_limit(kind, tmp_path, data):
    """A document of 600 words; each command says it, from the cache too."""
    TEACHERS[kind](tmp_path / "made").save(str(tmp_path / "teacher"))
    mine = shutil.copytree(data, tmp_path / "data")
    with (mine / "collection" / "docs.jsonl").open("a") as file:
        file.write(json.dumps({"id": "long", "title": "", "text": LONG}) + "\n")
    more = {"training.steps": 2, "training.evaluate_every": 2}
    recipe, said = recipe_of(tmp_path, mine, tmp_path / "teacher", **more), []
    distilled(recipe, said.append, progress=False)
    cut = [line for line in said if "of the tokens are not read" in line]
    index = json.loads((recipe.folder / "index" / "optical.json").read_text(encoding="utf-8"))["reading"]
    assert index["texts"] == 13
    assert json.loads((recipe.folder / "manifest.json").read_text())["reading"] == {"data/collection": index}
    if "8,192" in kind:
        assert not cut
        assert index["cut"] == index["unread"] == 0
        return
    share = 100 * 90 / index["tokens"]
    documents = "1 of 13 documents are longer than the 512 tokens the teacher reads"
    assert cut == [f"{documents}; {share:.1f} % of the tokens are not read"]
    assert index == {"texts": 13, "cut": 1, "tokens": index["tokens"], "unread": 90, "limit": 512}
    said.clear()
    index_run(recipe, said.append)
    assert said[0] == cut[0]
    said.clear()
    evaluated(recipe, say=said.append)
    assert cut[0] in said
    assert [vectors.reading._asdict() for vectors in embed_collections(recipe)] == [index]
