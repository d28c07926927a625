"""The file of seen words, and unseen words found in texts."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import numpy as np
import pytest
from tokenizers import AddedToken, Tokenizer, models, normalizers, pre_tokenizers

from optical.errors import DataError
from optical.models import query_words
from optical.models.query_words import FILE, SLOT, QueryWords, SeenWords, read_seen_words, spelling_of

CASED = [f"{prefix}{c}" for prefix in ("", "##") for c in "aijmnstwßMWS"]


@pytest.fixture
def words():
    letters = {f"{prefix}{c}": k for k, (prefix, c) in enumerate((p, c) for p in ("", "##") for c in "abdeijkmnotuwy")}
    backend = Tokenizer(models.WordPiece({**letters, "[UNK]": len(letters)}, unk_token="[UNK]"))
    backend.normalizer = normalizers.BertNormalizer()
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    seen = ["watoto", "mtoto", "maji", "nyumbani"]
    backend.add_tokens([AddedToken(word, single_word=True, normalized=True) for word in seen])
    backend.add_tokens([AddedToken(SLOT, normalized=True)])
    ids = [backend.token_to_id(word) for word in seen]
    return QueryWords(SeenWords(seen, ids, [3, 2, 2, 1], ["watutu"], [backend.token_to_id(SLOT)]), backend)


def test_unseen_words_get_slots_and_what_they_are_composed_of(words):
    slotted = words.slotted(["Mtotoni, watoto!", "maji", "(majini) mtotoni"])
    assert slotted.texts == [f"{SLOT}, watoto!", "maji", f"({SLOT}) {SLOT}"]
    assert slotted.ids.shape == slotted.weight.shape == (3, 2, words.spellings.neighbours)
    np.testing.assert_allclose(slotted.weight.sum(axis=2), [[1, 0], [0, 0], [1, 1]], atol=1e-6)
    mtoto, maji = words.seen.ids[1], words.seen.ids[2]
    assert [slotted.ids[0, 0, 0], slotted.ids[2, 0, 0], slotted.ids[2, 1, 0]] == [mtoto, maji, mtoto]
    nothing = words.slotted(["watoto maji", ""])
    assert (nothing.texts, nothing.ids.size) == (["watoto maji", ""], 0)


def test_words_of_the_english_side_and_strangers_are_left(words):
    assert words.compositions(["watutu", "Watutu", "bbbb", "a", "mtoto"]) == [None] * 5


def test_the_unseen_words_of_a_question_are_told_with_what_they_are_read_as(words):
    text = "Nd\u2019 watoto: MTOTONI, bbyy watutu maji?"
    known = words.known_of(text)
    assert known.words == 6
    assert [text[one.start : one.end] for one in known.unseen] == ["Nd", "MTOTONI", "bbyy"]
    assert known.unseen[1].like == ["mtoto"], "rows of no weight are no words"
    assert [one.like for one in known.unseen[::2]] == [[], []]
    assert words.known_of("12 ...") == (0, [])


def test_names_are_left_where_they_have_a_capital_and_what_is_like_them_is_composed(words):
    seen = words.seen.with_names(["majini", "watoto", "watutu"])
    assert seen.names == ["majini", "watutu"], "the bitext has the other as a word of X"
    named = QueryWords(seen, words.tokenizer)
    assert named.slotted(["Majini, majini, Majinit"]).texts == [f"Majini, {SLOT}, {SLOT}"]


def test_names_in_small_letters_are_read_with_a_capital_where_that_has_other_tokens(words):
    """People ask for osama and saudi; a tokenizer with cases has one token for Saudi and two for saudi."""
    backend = Tokenizer(models.WordPiece({c: k for k, c in enumerate(["[UNK]", *CASED])}, unk_token="[UNK]"))
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    backend.add_tokens([AddedToken("maji", single_word=True), AddedToken("mama"), AddedToken(SLOT)])
    seen = SeenWords(["maji"], [backend.token_to_id("maji")], [2], ["wata"], [backend.token_to_id(SLOT)])
    names = ["maji", "mama", "wata", "majini", "ssa", "mw"]
    cased = QueryWords(seen.with_names(names), backend)
    text = "mama’ Majini, majini majia maji wata WATA \u00dfa mw"
    read = cased.slotted([text])
    assert read.texts == [f"mama’ Majini, Majini {SLOT} maji Wata WATA \u00dfa Mw"]
    assert len(cased.slotted(["majini"]).texts[0]) == len("majini"), "characters keep their places"
    assert [text[word.start : word.end] for word in cased.known_of(text).unseen] == ["majia", "\u00dfa"]


def test_what_is_remembered_is_bounded_and_shared_by_threads(words, monkeypatch):
    monkeypatch.setattr(query_words, "REMEMBERED", 5)
    texts = [f"mtoto{end} maji{end}" for end in ("ni", "na", "ka", "ku", "wa", "ta")]
    alone = [words.slotted([text]) for text in texts]
    with ThreadPoolExecutor(4) as pool:
        for _ in range(5):
            for one, again in zip(alone, pool.map(lambda text: words.slotted([text]), texts), strict=True):
                assert one.texts == again.texts
                np.testing.assert_array_equal(one.ids, again.ids)
    assert len(words.known) <= 5


def test_threads_that_find_words_at_once_do_not_remember_more_than_there_is_room_for(words, monkeypatch):
    monkeypatch.setattr(query_words, "REMEMBERED", 5)
    both, alike = Barrier(2), words.spellings.alike

    def wait(spelled):
        both.wait(timeout=60)
        return alike(spelled)

    monkeypatch.setattr(words.spellings, "alike", wait)
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(words.compositions, [["mtotoni", "mtotona", "mtotoka"], ["majini", "majina", "majika"]]))
    assert len(words.known) <= 5


def test_the_file_is_read_again_and_damage_is_told(words, tmp_path):
    assert read_seen_words(tmp_path) is None
    words.seen.write(tmp_path)
    assert read_seen_words(tmp_path) == words.seen
    earlier = words.seen._asdict()
    del earlier["names"]
    (tmp_path / FILE).write_text(json.dumps(earlier), encoding="utf-8")
    assert read_seen_words(tmp_path) == words.seen, "students from before there were names"
    for damaged in ("{", "[]", '{"words": []}', json.dumps({**words.seen._asdict(), "ids": [1]})):
        (tmp_path / FILE).write_text(damaged, encoding="utf-8")
        with pytest.raises(DataError, match=rf"{FILE}.*remove the file"):
            read_seen_words(tmp_path)


@pytest.mark.parametrize("harm", [
    {"words": [None]}, {"words": [[]]}, {"ids": ["x"]}, {"ids": [10**30]}, {"ids": [-1]}, {"counts": [None]},
    {"english": None}, {"english": [{}]}, {"names": [3]}, {"slots": -1}, {"slots": ["x"]},
])  # fmt: skip
def test_words_of_a_stranger_that_are_none_are_told(words, tmp_path, harm):
    kept = words.seen._asdict()
    ((name, value),) = harm.items()
    kept[name] = value + kept[name][1:] if isinstance(value, list) else value
    (tmp_path / FILE).write_text(json.dumps(kept))
    with pytest.raises(DataError, match=r"seen-words\.json cannot be read"):
        read_seen_words(tmp_path)


def test_ids_beyond_the_tokenizer_are_told(words):
    with pytest.raises(DataError, match="is of another tokenizer"):
        QueryWords(words.seen._replace(ids=[*words.seen.ids[1:], 10**6]), words.tokenizer)


def test_words_of_another_script_are_compared_as_they_are_written(words):
    words.tokenizer.normalizer = normalizers.Sequence(
        [normalizers.Replace("क", "k"), normalizers.Replace("ा", "a"), normalizers.BertNormalizer()]
    )
    assert spelling_of("काका", words.tokenizer) == "काका"
    assert spelling_of("Mtóto", words.tokenizer) == "mtoto"
    words.tokenizer.normalizer = normalizers.Replace("o", " ")
    assert spelling_of("Mtoto", words.tokenizer) == ""
