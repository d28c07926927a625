"""A finished run in Python: questions, vectors, plans, measures, and what notebooks show."""

from __future__ import annotations

import re
import threading

import numpy as np
import pytest

import optical
from optical.errors import DataError, OpticalError, RecipeError
from optical.models import encoders
from optical.pipeline.answer import answer, load_run
from tests.runs import QUESTIONS, tiny_run

PLANTS, WRITES = (text for _, text in QUESTIONS)


@pytest.fixture(scope="module", params=[False, True], ids=["single", "late"])
def recipe(request, tmp_path_factory):
    return tiny_run(tmp_path_factory.mktemp("searched"), late=request.param)


@pytest.fixture(scope="module")
def searcher(recipe):
    return optical.load(recipe.folder)


def test_a_question_is_answered_as_the_command_answers_it(recipe, searcher):
    found = searcher.search(PLANTS, k=3)
    expected = answer(load_run(recipe), PLANTS, 3)
    assert list(found) == expected
    assert found.question == PLANTS
    assert found[0].doc.id == "d0"
    assert found[0].doc.metadata == {"url": "https://example.org/d0"}
    several = searcher.search(iter([PLANTS, WRITES]), k=1)
    assert [[hit.doc.id for hit in hits] for hits in several] == [["d0"], ["d2"]]
    assert searcher.search([]) == []
    assert len(searcher.search(PLANTS)) == 5


def test_vectors_are_those_of_the_student(recipe, searcher):
    expected = encoders.encode_queries(load_run(recipe).student, [PLANTS, WRITES])
    for one, other in zip(searcher.encode((PLANTS, WRITES)), expected, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)
    assert len(searcher.encode(PLANTS)) == 1


def test_a_notebook_shows_hits_as_a_table_in_which_text_stays_text(searcher):
    found = searcher.search("who helps the sick ?", k=9)
    page = found._repr_html_()
    assert page.count("<tr>") == 1 + len(found)
    assert "&lt;script&gt;alert(1)&lt;/script&gt; &amp;" in page
    assert not re.search(r"<(?!/?(table|caption|tr|td|th)\b)", page)
    assert repr(found).splitlines()[0] == f"{len(found)} passages for 'who helps the sick ?'"
    assert f"{found[0].doc.id}  {found[0].score:.4f}" in repr(found)
    assert "sw, 9 documents of" in repr(searcher)


def test_it_closes_itself(recipe):
    with optical.load(str(recipe.folder), lang="sw") as run:
        assert run.search(PLANTS, 1)[0].doc.id == "d0"
    for call in (lambda: run.search(PLANTS), lambda: run.encode("maji"), run.report):
        with pytest.raises(DataError, match="is closed; load it again by optical.load"):
            call()
    assert repr(run).endswith("closed")


def test_threads_share_it(searcher):
    found = {}
    asked = [PLANTS, WRITES] * 4
    threads = [
        threading.Thread(target=lambda k=k, text=text: found.update({k: searcher.search(text, 1)[0].doc.id}))
        for k, text in enumerate(asked)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {k: "d0" if text == PLANTS else "d2" for k, text in enumerate(asked)}


@pytest.mark.parametrize("questions", ["", "  ", ["maize", ""], 5, [5], None, b"maize", "a" * 1_001])
def test_no_question_is_refused(searcher, questions):
    with pytest.raises(DataError, match="question"):
        searcher.search(questions)


@pytest.mark.parametrize("k", [0, -1, "5", 2.5, None, True])
def test_a_wrong_number_of_passages_is_refused(searcher, k):
    with pytest.raises(RecipeError, match="k = .*give the number of passages"):
        searcher.search(PLANTS, k)
    assert len(searcher.search(PLANTS, np.int64(2))) == 2


@pytest.mark.parametrize(
    ("given", "told"),
    [({"run": 5}, "run = 5"), ({"run": None}, "run = None"), ({"run": ""}, "run = ''"), ({"lang": 5}, "lang = 5"),
     ({"collection": 5}, "collection = 5"), ({"run": "nowhere"}, "nowhere: no recipe.toml"),
     ({"collection": "nowhere"}, "no such collection: nowhere")],
)  # fmt: skip
def test_what_cannot_be_loaded_is_refused(recipe, given, told):
    with pytest.raises(OpticalError, match=told):
        optical.load(**{"run": recipe.folder, **given})


def test_measures_are_those_of_the_last_evaluation(run):
    recipe, reported, _ = run
    with optical.load(recipe.folder) as loaded:
        report = loaded.report()
        assert report == reported
        page = report._repr_html_()
        assert f'<th style="text-align:right;vertical-align:top">{report.scores["student"].mean["AP"]:.4f}</th>' in page
        plans = loaded.align("Ninakunywa maji.", "I drink water.")
        assert list(plans) == ["before training", "after training"]
        page = plans._repr_html_()
        assert page.count("<table>") == 2
        assert "rgba(" in page
        assert "maji" in page
        with pytest.raises(OpticalError, match="foreign = 5"):
            loaded.align(5, "I drink water.")


def test_a_run_that_was_never_measured_says_so(searcher):
    with pytest.raises(DataError, match="no measures .* `optical evaluate"):
        searcher.report()
