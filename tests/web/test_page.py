"""The page in a browser: a question is typed, passages are read, and nothing that was found is run."""

from __future__ import annotations

import json
import threading

import pytest

pytest.importorskip("fastapi", reason="the extra serve is not installed")

from optical.data.feedback import Feedback, read_feedback
from optical.data.records import Doc
from optical.errors import DataError
from optical.models.query_words import Known, UnseenWord
from optical.pipeline import answer
from optical.retrieval.matches import Hit, Match, Span
from optical.web import server
from optical.web.endpoints import create_app
from optical.web.facts import about
from tests.runs import tiny_run
from tests.web.browser import CHROMIUM, browser
from tests.web.each import each

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here")
EVIL = "<img src=x onerror='window.pwned=1'><script>window.pwned=2</script>"
EVIL_ID = "<img/src=x/onerror='window.pwned=4'><script>window.pwned=5</script>"  # ids have no blanks
RAIN = "\U0001f327"  # one character, two in JavaScript
ARABIC = "\u0645\u0627 \u0647\u0648 \u0623\u0637\u0648\u0644 \u0646\u0647\u0631"


judged = []  # where feedback is kept


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    """A server of a late-interaction run; four questions are answered by hand, to see what no run would give."""
    loaded = answer.load_run(tiny_run(tmp_path_factory.mktemp("page"), late=True))

    def find(question, k):
        if question == "broken":
            raise DataError("the index is gone; build it again")
        if question == "nothing":
            return []
        if question == "long":
            return [Hit(Doc("long", "", "word " * 400), 1.0, [], Span(2000, 4000))]
        if EVIL in question or question == ARABIC:
            asked = Match(Span(0, len(question)), Span(5, 5 + len(EVIL)), 0.9)
            first = Doc(EVIL_ID, f"{RAIN} ", f"{RAIN} {EVIL}", json.dumps({"url": "javascript:window.pwned=3"}))
            return [Hit(first, 1.0, [asked]), Hit(Doc("ar", "", ARABIC), 0.5, [])]
        return answer.answer(loaded, question, k)

    own = server.bind("127.0.0.1", 0)
    facts = about(loaded.recipe, loaded.lang, loaded.collection, late=True, engine="qdrant")
    kept = Feedback(tmp_path_factory.mktemp("feedback") / "judged.jsonl", ["sw", "so"], {"d2", EVIL_ID})
    unseen = Known(4, [UnseenWord(0, 3, ["yupi", EVIL]), UnseenWord(4, 10, [])])
    application = create_app(
        each(find), {**facts, "examples": ["milk"], "feedback_languages": ["sw", "so"]}, server.names("127.0.0.1"),
        known=lambda question: unseen if question.startswith("who writes") else None, judge=kept.add,
    )  # fmt: skip
    made = server.make_server(application)
    thread = threading.Thread(target=made.run, kwargs={"sockets": [own]}, daemon=True)
    thread.start()
    judged.append(kept.path)
    yield server.address(own)
    made.should_exit = True
    thread.join(10)


@pytest.fixture(scope="module")
def tab(tmp_path_factory):
    with browser(tmp_path_factory.mktemp("profile")) as page:
        yield page


@pytest.fixture
def page(tab, address):
    """The page as it opens."""
    tab.events.clear()
    tab.open("about:blank#")
    tab.open(f"{address}/")
    tab.wait("document.querySelector('#examples button')")
    return tab


def ask(page, question):
    page.run("document.getElementById('results').replaceChildren(), document.getElementById('q').value = ''")
    page.run("document.getElementById('q').focus()")
    page.type(question)
    page.press("Enter", 13, "\r")
    page.wait("document.getElementById('status').textContent.match(/passage|found/) || "
              "document.getElementById('error').textContent")  # fmt: skip


def test_a_question_is_typed_and_passages_are_read(page, address):
    assert page.run("document.activeElement.id") == "q", "one can type at once"
    assert page.run("document.getElementById('title').textContent") == "Ask in Swahili, read in English"
    assert page.run("document.getElementById('lead').textContent").startswith("9 English passages")
    assert " in Qdrant \u00b7 optical" in page.run("document.getElementById('about').textContent")
    ask(page, "who writes a letter ?")
    assert page.run("document.querySelectorAll('article').length") == 5
    assert page.run("document.querySelector('article h2').textContent") == "letter"
    assert page.run("document.querySelector('article .text').textContent") == "the teacher writes a letter ."
    assert "writes" in page.run("[...document.querySelectorAll('article:first-child mark')].map(m => m.textContent)")
    assert page.run("document.querySelector('.pairs').innerText").startswith("who \u2192 ")
    near = page.run("[...document.querySelectorAll('article:first-child mark')].map("
                    "m => [m.textContent, +m.style.getPropertyValue('--s')])")  # fmt: skip
    shades = dict(near)
    assert shades["writes"] == max(shades.values()), "the nearer, the stronger"
    assert page.run("location.search") == "?q=who+writes+a+letter+%3F&k=5"
    assert page.complaints() == []
    assert {url.split("/api")[0].split("?")[0].rstrip("/") for url in page.requests()} == {address}


def test_the_address_holds_the_question_and_back_goes_back(page, address):
    ask(page, "milk")
    ask(page, "rain falls")
    page.run("history.back()")
    page.wait("document.querySelector('article')?.textContent.includes('milk')")
    assert page.run("document.getElementById('q').value") == "milk"
    page.open(f"{address}/?q=rain&k=3")
    page.wait("document.querySelectorAll('article').length === 3")
    assert page.run("document.getElementById('k').value") == "3"


def test_an_example_asks_itself_and_then_makes_room(page):
    page.run("document.querySelector('#examples button').click()")
    page.wait("document.querySelector('article')")
    assert page.run("document.getElementById('examples').hidden")


@pytest.mark.parametrize("question", [EVIL, ARABIC])
def test_mark_up_is_shown_not_run(page, question):
    scripts = page.run("document.scripts.length")
    ask(page, question)
    assert page.run("document.querySelector('article .text').textContent") == f"{RAIN} {EVIL}"
    assert page.run("document.querySelector('article mark').textContent") == EVIL
    assert page.run("document.querySelector('article h2').textContent") == f"{RAIN} "
    assert page.run("document.querySelectorAll('img').length") == 0
    assert page.run("document.scripts.length") == scripts
    assert page.run("window.pwned") is None
    assert page.complaints() == []


def test_right_to_left_runs_right_to_left(page):
    ask(page, ARABIC)
    assert page.run("getComputedStyle(document.getElementById('q')).direction") == "rtl"
    texts = "[...document.querySelectorAll('article .text')].map(t => getComputedStyle(t).direction)"
    assert page.run(texts) == ["ltr", "rtl"]


def test_what_went_wrong_is_said_where_a_reader_hears_it(page):
    ask(page, "broken")
    assert page.run("document.querySelector('[role=alert]').textContent") == "the index is gone; build it again"
    ask(page, "nothing")
    assert page.run("document.querySelector('[role=alert]').textContent") == ""
    assert page.run("document.querySelector('[role=status]').textContent") == "Nothing was found."


def test_a_long_passage_folds(page):
    ask(page, "long")
    assert page.run("document.querySelector('.id').textContent") == "long \u00b7 characters 2000 to 4000"
    height = "document.querySelector('.text').clientHeight"
    folded = page.run(height)
    page.run("document.querySelector('.more').click()")
    assert page.run(height) > 2 * folded
    assert page.run("document.querySelector('.more').getAttribute('aria-expanded')") == "true"


def test_fields_have_labels_and_a_phone_needs_no_sideways_scrolling(page, tmp_path):
    labels = "[...document.querySelectorAll('input, select')].map(f => f.labels[0].textContent)"
    assert page.run(labels) == ["Your question", "Passages", "Language"]
    ask(page, "the river is long")
    shown = {}
    for scheme in ("light", "dark"):
        page.look(tmp_path / f"{scheme}.png", 360, 700, scheme)
        shown[scheme] = page.run("getComputedStyle(document.body).backgroundColor")
        assert page.run("document.documentElement.scrollWidth") == 360
        assert (tmp_path / f"{scheme}.png").stat().st_size > 5000
    assert shown["light"] != shown["dark"]


def test_the_words_that_the_student_never_saw_are_told_and_what_they_are_read_as(page):
    ask(page, "who writes a letter ?")
    told = "document.getElementById('words').textContent"
    assert page.run(told) == (
        f"New to the student: 2 of 4 words (50 %). who read as yupi, {EVIL}; writes read by its pieces"
    )
    assert page.run("window.pwned") is None
    ask(page, "milk")
    assert page.run("document.getElementById('words').hidden")


def test_a_thumb_is_kept_as_a_judgement_and_taken_back_by_a_second_press(page):
    ask(page, "who writes a letter ?")
    first = "document.querySelector('article .judge')"
    pressed = f"[...{first}.querySelectorAll('button')].map(b => b.getAttribute('aria-pressed'))"
    for press, state, kept in (
        ("up", ["true", "false"], {"d2": 1}), ("down", ["false", "true"], {"d2": 0}), ("down", ["false", "false"], {})
    ):  # fmt: skip
        page.run(f"{first}.querySelector('.{press}').click()")
        page.wait(f"JSON.stringify({pressed}) === '{json.dumps(state, separators=(',', ':'))}'")
        assert {doc_id: value for (_, doc_id), value in read_feedback(judged[0]).get("sw", {}).items()} == kept
    page.run("document.querySelectorAll('article .judge')[1].querySelector('.up').click()")  # no document of this file
    page.wait("document.querySelectorAll('article .judge span')[1].textContent.startsWith('no document')")
    ask(page, EVIL)
    page.run(f"{first}.querySelector('.up').click()")
    page.wait(f"{first}.querySelector('span').textContent === 'Thank you'")
    assert read_feedback(judged[0])["sw"] == {(EVIL, EVIL_ID): 1}
    page.run("document.getElementById('lang').value = 'so'")
    page.run(f"{first}.querySelector('.down').click()")
    page.wait(f"{first}.querySelector('.down').getAttribute('aria-pressed') === 'true'")
    assert read_feedback(judged[0])["so"] == {(EVIL, EVIL_ID): 0}
    assert page.run("window.pwned") is None


def test_keys_ask_and_move_from_passage_to_passage(page):
    ask(page, "who writes a letter ?")
    at = "[...document.querySelectorAll('article')].indexOf(document.activeElement)"
    page.press("ArrowDown", 40)
    assert page.run(at) == 0
    for key, code, place in (("j", 74, 1), ("ArrowDown", 40, 2), ("k", 75, 1), ("ArrowUp", 38, 0)):
        page.press(key, code)
        assert page.run(at) == place
    page.press("k", 75)
    assert page.run("document.activeElement.id") == "q"
    page.press("j", 74, "j")
    assert page.run("document.getElementById('q').value").endswith("j"), "in the field a key is a letter"
    page.run("document.activeElement.blur()")
    page.press("/", 191, "/")
    assert page.run("document.activeElement.id") == "q"
    assert "/" not in page.run("document.getElementById('q').value")
    page.press("ArrowDown", 40)
    page.press("Escape", 27)
    assert page.run("document.activeElement.id") == "q"


def test_a_link_keeps_the_question_and_only_an_address_of_the_web_becomes_one(page, address):
    ask(page, "who writes a letter ?")
    assert page.run("document.getElementById('link').href") == f"{address}/?q=who+writes+a+letter+%3F&k=5"
    assert page.run("document.querySelector('article .id a').href") == "https://example.org/d2"
    assert page.run("document.querySelector('article .id a').rel") == "noopener noreferrer"
    ask(page, EVIL)
    assert page.run("document.querySelectorAll('article .id a').length") == 0


def test_empty_and_broken_answers_say_what_to_do(page):
    ask(page, "nothing")
    assert page.run("document.getElementById('empty').hidden") is False
    assert page.run("document.getElementById('empty').innerText").startswith("No passage came back.")
    ask(page, "broken")
    assert page.run("getComputedStyle(document.getElementById('again')).display") != "none"
    assert page.run("document.getElementById('empty').hidden")
    page.run("window.real = fetch, window.fetch = () => Promise.reject(new TypeError('no network'))")
    page.run("document.getElementById('again').click()")
    page.wait("document.getElementById('error').textContent === 'The server does not answer.'")
    page.run("window.fetch = window.real")
    ask(page, "milk")
    assert page.run("document.getElementById('again').hidden")
    page.run("document.getElementById('q').value = '   '")
    page.run("document.getElementById('form').requestSubmit()")
    assert page.run("document.querySelector('[role=alert]').textContent") == "Write a question."


def test_the_icon_is_the_pages_own(page):
    drawn = "new Promise(done => {const i = new Image(); i.onload = () => done(i.width); i.onerror = () => done(0);"
    assert page.run(f"{drawn} i.src = document.querySelector('link[rel=icon]').href}})") > 0
