"""The page of a run: what it shows, what it leaves out, and that nothing in it is run or fetched."""

from __future__ import annotations

import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import pytest

from optical.config.recipe import load_recipe
from optical.errors import DataError
from optical.evaluation.report import CEILING, STUDENT, TRANSPLANT
from optical.pipeline import html_report
from optical.pipeline.html_report import render, report_runs, sentences
from optical.pipeline.inputs import read_collections
from optical.pipeline.report_sections import chart, read_run_page
from tests.chain import OWN, QUESTIONS
from tests.web.browser import CHROMIUM, browser

EVIL = "<img src=x onerror='window.pwned=1'><script>window.pwned=2</script>"
VOID = {"meta", "link", "img", "br", "rect", "line", "polyline", "polygon"}


class Outline(HTMLParser):
    """Every tag with its attributes, and whether all are closed."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.open, self.text = [], [], ""
        self.feed(html)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self.open += [tag] if tag not in VOID else []

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


@pytest.fixture
def copied(run, tmp_path):
    """A copy of the finished run, whose files may be changed: as of an earlier version, without checksums."""
    folder = shutil.copytree(run[0].folder, tmp_path / "copy")
    manifest = json.loads((folder / "manifest.json").read_text())
    kept = {name: value for name, value in manifest.items() if name not in ("files", "checksum")}
    (folder / "manifest.json").write_text(json.dumps(kept))
    return run[0].model_copy(update={"out": str(folder)})


def results_of(recipe):
    file = recipe.folder / "evaluation" / OWN / "results.json"
    return file, json.loads(file.read_text())


def page_of(recipe):
    return read_run_page(recipe, read_collections(recipe))


def test_distill_leaves_the_page_and_report_writes_the_same_again(run):
    recipe, _, said = run
    path = recipe.folder / "report.html"
    first = path.read_text()
    assert not [line for line in said if "report.html" in line]
    assert report_runs([recipe]) == path
    assert path.read_text() == first


def test_the_page_says_what_was_measured_and_made(run):
    outline = Outline((run[0].folder / "report.html").read_text())
    _, kept = results_of(run[0])
    for system in kept["systems"].values():
        assert f"{system['mean']['AP']:.4f}" in outline.text
    for heading in ("Results", "Training", "Questions won and lost", "Transport plans", "Words and bitext", "Made of"):
        assert heading in outline.text
    manifest = json.loads((run[0].folder / "manifest.json").read_text())
    assert "Tokens per word were not measured" in outline.text, "this bitext is too small"
    assert manifest["text"]["left_out"] == {
        "sw": {"wrong number of columns": 1, "a side is a query of the collection": 2}
    }
    assert "a side is a query of the collection" in outline.text
    assert all(checksum in outline.text for checksum in manifest["bitext"].values())
    assert f"steps = {run[0].training.steps}" in outline.text


def test_tokens_per_word_are_shown(copied):
    manifest = json.loads((copied.folder / "manifest.json").read_text())
    manifest["transplant"] |= {"tokens_per_word_before": 2.4938, "tokens_per_word_after": 1.3191}
    (copied.folder / "manifest.json").write_text(json.dumps(manifest))
    text = Outline(render([page_of(copied)])).text
    assert "2.494" in text
    assert "1.319" in text


def test_every_picture_says_in_words_what_it_shows(run):
    outline = Outline((run[0].folder / "report.html").read_text())
    pictures = [attributes for tag, attributes in outline.tags if tag == "svg" and attributes.get("role") == "img"]
    assert len(pictures) == 3  # bars, losses, development score
    _, kept = results_of(run[0])
    assert f"student: {kept['systems'][STUDENT]['mean']['AP']:.3f}, 95 % interval" in pictures[0]["aria-label"]
    assert all(a.get("role") == "img" or a.get("aria-hidden") for tag, a in outline.tags if tag == "svg")


def test_nothing_is_loaded_or_run(run):
    html = (run[0].folder / "report.html").read_text()
    tags = Outline(html).tags
    assert not [tag for tag, _ in tags if tag in ("script", "img", "iframe", "object", "form")]
    assert [a["href"] for _, a in tags if "href" in a and not a["href"].startswith("#")] == ["data:,"]
    assert "default-src 'none'" in html
    assert "@import" not in html
    assert "url(" not in html


def test_hostile_texts_stay_texts(copied):
    file, kept = results_of(copied)
    kept["systems"][EVIL] = kept["systems"][TRANSPLANT]
    file.write_text(json.dumps(kept))
    collections = read_collections(copied)
    collection = collections["sw"]
    docs = [doc._replace(title=EVIL, text=f"{EVIL} {doc.text}") for doc in collection.docs]
    queries = {lang: [q._replace(text=f"{q.text} {EVIL}") for q in own] for lang, own in collection.queries.items()}
    hostile = {"sw": collection._replace(docs=docs, queries=queries)}
    plans = json.loads((copied.folder / "plans.json").read_text())
    plans[0]["plans"]["after training"]["foreign"][1] = EVIL
    (copied.folder / "plans.json").write_text(json.dumps(plans))
    outline = Outline(render([read_run_page(copied, hostile)._replace(name=EVIL)]))
    assert not [tag for tag, _ in outline.tags if tag in ("script", "img")]
    assert outline.text.count(EVIL) > 10


def test_gains_and_losses_are_the_largest_with_texts_and_first_passages(copied):
    file, kept = results_of(copied)
    own = kept["systems"][STUDENT]["per_query"]["AP"]
    other = dict.fromkeys(own, 0.5)
    kept["systems"][TRANSPLANT]["per_query"]["AP"] = other
    own |= {"q1": 1.0, "q3": 0.75, "q5": 0.1, "q6": 0.5, "q7": 0.5, "q8": 0.5, "q9": 0.5}
    file.write_text(json.dumps(kept))
    (changes, *_) = page_of(copied).results[0].changes
    assert (changes.other, changes.counts) == (TRANSPLANT, (2, 4, 1))
    assert [one.query for one in changes.gains] == ["q1", "q3"]
    (loss,) = changes.losses
    assert (loss.text, loss.english) == (QUESTIONS[5][1], QUESTIONS[5][0])
    first = [line.split() for line in (file.parent / "student.trec").read_text().splitlines() if line.startswith("q5 ")]
    assert [one.id for one in loss.passages[STUDENT]] == [row[2] for row in first[:2]]
    assert [one.id for one in loss.passages["judged relevant"]] == ["d5"]
    assert loss.passages["judged relevant"][0].text == "a dog guards the door ."
    assert page_of(copied).results[0].changes[-1].other == CEILING


def test_a_run_without_parts_leaves_them_out_and_says_so(copied):
    for name in ("evaluation", "transplant"):
        shutil.rmtree(copied.folder / name)
    for name in ("training.json", "plans.json"):
        (copied.folder / name).unlink()
    said = []
    outline = Outline(report_runs([copied], say=said.append).read_text())
    assert len(said) == 3
    assert all(sentence in outline.text for sentence in said)
    assert "Results" not in outline.text
    assert "Words and bitext" in outline.text


def test_a_run_whose_collection_is_gone_shows_ids(copied):
    away = copied.model_copy(update={"collection": str(copied.folder / "nowhere")})
    (copied.folder / "plans.json").write_text("[]")
    said = []
    outline = Outline(report_runs([away], say=said.append).read_text())
    assert "no such collection" in said[0]
    assert QUESTIONS[1][1] not in outline.text
    assert "shown by their ids" in outline.text


@pytest.mark.parametrize("kind", ["single", "late"])
def test_an_old_run_has_a_page(kind, tmp_path, monkeypatch):
    shutil.copytree(Path(__file__).parents[1] / "data" / "old-run", tmp_path / "old-run")
    monkeypatch.chdir(tmp_path / "old-run")
    outline = Outline(report_runs([load_recipe(Path(kind) / "recipe.toml")]).read_text())
    assert "Nani anatoa maziwa?" in outline.text
    assert "does not say what was left out of the bitext" in outline.text
    assert "No transport plans are kept" in outline.text


def test_damaged_results_are_one_message(copied):
    file, kept = results_of(copied)
    del kept["systems"][STUDENT]["per_query"]
    file.write_text(json.dumps(kept))
    with pytest.raises(DataError, match="not as it was written"):
        report_runs([copied])


def test_a_page_of_someone_else_is_not_replaced(copied, tmp_path):
    (copied.folder / "comparison.html").write_text("mine")
    with pytest.raises(DataError, match="did not write it"):
        report_runs([copied, copied.model_copy(update={"out": str(tmp_path)})])
    assert (copied.folder / "comparison.html").read_text() == "mine"


def test_several_runs_are_tested_against_the_first_and_their_options_compared(run, copied):
    file, kept = results_of(copied)
    own = kept["systems"][STUDENT]["per_query"]["AP"]
    kept["systems"][STUDENT]["per_query"]["AP"] = {query: value / 2 for query, value in own.items()}
    file.write_text(json.dumps(kept))
    other = copied.model_copy(update={"seed": 7})
    path = report_runs([run[0], other], copied.folder / "both.html")
    outline = Outline(path.read_text())
    assert f"{-sum(own.values()) / len(own) / 2:+.4f}" in outline.text
    assert f"0 / 0 / {len(own)}" in outline.text
    rows = re.findall(r'<th scope="row">([\w.]+)</th><td>(\w+)</td><td>(\w+)</td>', path.read_text())
    assert ("seed", str(run[0].seed), "7") in rows
    assert "out" not in {name for name, _, _ in rows}


def test_a_failure_to_write_the_page_loses_no_run(run, monkeypatch):
    said = []
    monkeypatch.setattr(html_report, "sentences", lambda *_: 1 / 0)
    html_report.page_after_distill(run[0], None, _Distilled(), {}, said.append)
    assert said == ["no report.html: ZeroDivisionError: division by zero; the run is complete without it"]


class _Distilled:
    start = student = None

    class mixture:
        trained = staticmethod(lambda _: [])


def test_plans_are_of_questions_that_nobody_trained_on_or_else_of_the_bitext(run):
    asked = sentences(read_collections(run[0]), [])
    assert [pair.foreign for pair in asked] == [QUESTIONS[k][1] for k in (0, 1, 2)]
    assert asked[0].english == QUESTIONS[0][0]
    assert sentences({"sw": None}, [asked[0]]) == [asked[0]]


def test_a_chart_has_its_points_between_its_edges():
    made = chart("t", {"a": [(0, 1.0), (10, 3.0)], "b": [(5, 2.0)]}, from_zero=True)
    assert (made.low, made.high, made.steps) == (0.0, 3.0, 10)
    assert made.lines[0].points == "0.00,66.67 100.00,0.00"
    banded = chart("t", {"a": [(0, 1.0), (10, 3.0)]}, [(10, 3.0, 1.0)])
    assert (banded.low, banded.high) == (1.0, 4.0)
    assert banded.lines[0].band == "100.00,0.00 100.00,66.67"
    assert chart("t", {"a": []}) is None
    assert chart("t", {"a": [(1, 2.0)]}).lines[0].points == "100.00,50.00"


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here")
def test_in_a_browser_nothing_is_wider_than_a_telephone(run, tmp_path):
    with browser(tmp_path) as page:
        page("Emulation.setDeviceMetricsOverride", width=360, height=800, deviceScaleFactor=1, mobile=True)
        page.open((run[0].folder / "report.html").absolute().as_uri())
        page.run("document.querySelectorAll('details').forEach((one) => one.open = true)")
        assert page.run("document.documentElement.scrollWidth") <= 360
        assert page.complaints() == []
        assert len(page.requests()) == 1


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here")
def test_on_paper_it_is_light_and_questions_take_a_line_each(run, tmp_path):
    with browser(tmp_path) as page:
        page.open((run[0].folder / "report.html").absolute().as_uri())
        dark = [{"name": "prefers-color-scheme", "value": "dark"}]
        colour = "getComputedStyle(document.body).color"
        page("Emulation.setEmulatedMedia", media="print", features=dark)
        assert page.run(colour) == "rgb(29, 35, 39)"
        heights = "[...document.querySelectorAll('details.change')].map((one) => one.clientHeight)"
        assert max(page.run(heights), default=0) < 60
        page("Emulation.setEmulatedMedia", media="screen", features=dark)
        assert page.run(colour) == "rgb(231, 235, 236)"
