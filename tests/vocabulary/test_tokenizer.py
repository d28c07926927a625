"""The student's tokenizer: what it matches, what it leaves alone, and that any transformers reads it the same."""

from __future__ import annotations

from collections import Counter

import pytest
import regex
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoTokenizer

from optical.data.words import split_words
from optical.errors import DataError
from optical.vocabulary import tokenizer as tokenizer_room
from optical.vocabulary.choose_words import choose_words
from optical.vocabulary.fertility import fit
from optical.vocabulary.subwords import choose_pieces
from optical.vocabulary.tokenizer import extend, replace, romanisation, unread_letters

PREFIXES = ("ana", "wana", "tuna", "kina", "mnali", "wali")
VERBS = [p + s for p in PREFIXES for s in ("tengea", "zungumz", "andika")]
FOREIGN = ["Mtoto anakunywa maji ya Nairobi.", "Ng'ombe watatu", "Ọjọ́ ìbí ni", "नरेंद्र मोदी", " ".join(VERBS)]
ENGLISH = ["The child drinks water of Nairobi.", "Three cows", "It is a birthday", "Narendra Modi", ""]
HARD = [
    "Mtoto anakunywa maji",
    "MTOTO, mtoto; mtoto.",
    "Nairobi na Museveni",
    "ng'ombe ng’ombe 'ng'ombe'",
    "Ọjọ́ O\u0323jo\u0301 ojo",
    "alizungumza walizungumza hazungumza",
    "नरेंद्र नरेंद्रमोदी पुणे",
    "maji123 maji-maji (maji)",
    "",
    "  maji   ya ",
    "日本 Москва",
    "?!...",
    "mtotox xmtoto",
]


def words():
    return choose_words(FOREIGN, ENGLISH)


def test_words_are_single_tokens_and_case_folds_as_in_the_teacher(bert):
    tokenizer = extend(bert.tokenizer, words(), romanise="").tokenizer
    assert tokenizer.tokenize("Mtoto ANAKUNYWA maji.") == ["mtoto", "anakunywa", "maji", "."]
    assert tokenizer.tokenize("ng’ombe Ng'ombe") == ["ng'ombe", "ng'ombe"]


def test_a_cased_teacher_gets_every_written_form(mbert):
    extension = extend(mbert.tokenizer, words(), romanise="")
    assert extension.tokenizer.tokenize("Mtoto mtoto") == ["Mtoto", "mtoto"]
    assert len(set(extension.ids["mtoto"])) == 2


def test_words_match_only_as_wholes(teacher):
    tokenizer = extend(teacher.tokenizer, words(), romanise="").tokenizer
    for text in ("mtotox", "xmtoto"):
        assert tokenizer.tokenize(text) == teacher.tokenizer.tokenize(text)


def test_english_and_names_keep_the_teachers_ids(teacher):
    tokenizer = extend(teacher.tokenizer, words(), romanise="", piece_types=3, english=["museveni"]).tokenizer
    for text in ("who wrote the house?", "nairobi kenya", "museveni 1986"):
        assert tokenizer(text)["input_ids"] == teacher.tokenizer(text)["input_ids"]
    theirs, ours = teacher.tokenizer.get_vocab(), tokenizer.get_vocab()
    assert all(ours[token] == i for token, i in theirs.items())
    assert len(ours) == len(tokenizer) == len(set(ours.values())) == max(ours.values()) + 1


def test_the_base_is_not_changed(teacher):
    before = teacher.tokenizer.backend_tokenizer.to_str()
    extend(teacher.tokenizer, words(), romanise="नम", piece_types=2)
    replace(teacher.tokenizer, FOREIGN * 5, 120)
    assert teacher.tokenizer.backend_tokenizer.to_str() == before


@pytest.mark.parametrize("piece_types", [0, 2])
def test_reloaded_by_plain_transformers_with_the_same_ids(teacher, tmp_path, piece_types):
    letters = unread_letters(teacher.tokenizer, FOREIGN)
    tokenizer = extend(teacher.tokenizer, words(), romanise=letters, piece_types=piece_types).tokenizer
    tokenizer.save_pretrained(tmp_path)
    teacher[0].auto_model.config.save_pretrained(tmp_path)
    assert AutoTokenizer.from_pretrained(tmp_path)(HARD)["input_ids"] == tokenizer(HARD)["input_ids"]


@pytest.mark.parametrize("how", ["extended", "replaced"])
def test_drawn_texts_keep_their_ids_when_it_is_saved_and_read_again(teacher, tmp_path, how):
    if how == "extended":
        tokenizer = extend(teacher.tokenizer, words(), romanise="नम", piece_types=2).tokenizer
    else:
        tokenizer = replace(teacher.tokenizer, FOREIGN * 5, 120)
    tokenizer.save_pretrained(tmp_path)
    teacher[0].auto_model.config.save_pretrained(tmp_path)
    again = AutoTokenizer.from_pretrained(tmp_path)
    parts = st.sampled_from([word for text in [*FOREIGN, *HARD] for word in text.split()])
    texts = st.lists(parts | st.text(max_size=5) | st.sampled_from([" ", "  ", "\n", "-", "'"]), max_size=8)

    @settings(max_examples=100, deadline=None, derandomize=True, database=None)
    @given(st.lists(st.tuples(texts, st.sampled_from(["", " "])), min_size=1, max_size=3))
    def read_the_same(drawn):
        asked = [glue.join(one) for one, glue in drawn]
        assert again(asked)["input_ids"] == tokenizer(asked)["input_ids"]

    read_the_same()


def test_unseen_inflections_fall_into_known_parts(bert):
    seen = [w for w in VERBS if w != "wanazungumz"]
    extension = extend(bert.tokenizer, choose_words([" ".join(seen)], [""]), romanise="", piece_types=2)
    assert extension.tokenizer.tokenize("wanazungumz") == ["wana", "##zungumz"]
    assert extension.tokenizer.tokenize("walizungumz") == ["walizungumz"]
    assert extension.pieces["wana"] == extension.tokenizer.convert_tokens_to_ids("wana")


def test_pieces_that_spell_english_are_not_taken(bert):
    seen = choose_words([" ".join(w for w in VERBS if w != "wanazungumz")], [""])
    extension = extend(bert.tokenizer, seen, romanise="", piece_types=2, english=["wanamaker", "analog"])
    assert "wana" not in extension.pieces
    assert extension.tokenizer.tokenize("wanamaker") == bert.tokenizer.tokenize("wanamaker")


def test_pieces_are_for_wordpiece_only(xlmr):
    assert extend(xlmr.tokenizer, words(), romanise="", piece_types=2).pieces == {}


def test_pieces_come_after_tokens_that_the_teacher_had_added(bert, tmp_path):
    """ColBERT's [Q] and [D] lie behind the model's vocabulary and must stay there."""
    bert.tokenizer.save_pretrained(tmp_path)
    base = AutoTokenizer.from_pretrained(tmp_path)
    base.add_tokens(["[Q]", "[D]"], special_tokens=True)
    extension = extend(base, words(), romanise="", piece_types=2)
    ours = extension.tokenizer.get_vocab()
    assert extension.pieces
    assert [ours["[Q]"], ours["[D]"]] == [len(base) - 2, len(base) - 1]
    assert len(set(ours.values())) == len(ours) == max(ours.values()) + 1
    extension.tokenizer.save_pretrained(tmp_path / "out")
    assert (
        AutoTokenizer.from_pretrained(tmp_path / "out")("[Q] maji [D]")["input_ids"]
        == extension.tokenizer("[Q] maji [D]")["input_ids"]
    )


def test_a_piece_begins_where_words_part_and_ends_as_five_do():
    pieces = choose_pieces(VERBS, set(), min_types=2)
    assert "wana" in pieces  # of three verbs; every longer beginning has one
    assert "##zungumz" in pieces
    assert "wanaz" not in pieces
    assert "ana" not in pieces  # too short to be shared by more than accident
    assert choose_pieces(VERBS[:6], set(), min_types=99) == []  # ends of four words at most
    assert "wana" not in choose_pieces(VERBS, set(), min_types=4)
    assert "##zungumz" not in choose_pieces(VERBS, {"##zungumz"}, min_types=2)


def test_the_most_shared_pieces_come_first():
    pieces = choose_pieces(VERBS, set(), min_types=2, most=3)
    assert len(pieces) == 3
    assert {"##a"} < set(pieces)  # of twelve words


def test_names_in_another_script_meet_the_teachers_spelling(bert):
    letters = unread_letters(bert.tokenizer, FOREIGN + ["पुणे महाराष्ट्र"])
    empty = choose_words([], [])
    tokenizer = extend(bert.tokenizer, empty, romanise=letters).tokenizer
    for text, latin in (("नरेंद्र मोदी", "narendra modi"), ("मोदी।", "modi।"), ("Nairobi", "nairobi")):
        assert tokenizer(text)["input_ids"] == bert.tokenizer(latin)["input_ids"]


def test_an_added_word_of_another_script_is_not_romanised(bert):
    letters = unread_letters(bert.tokenizer, FOREIGN)
    tokenizer = extend(bert.tokenizer, words(), romanise=letters).tokenizer
    assert tokenizer.tokenize("मोदी नरेंद्र") == ["मोदी", "नरेंद्र"]


def test_scripts_the_teacher_reads_and_guests_are_left_alone(bert, xlmr):
    assert "म" in unread_letters(bert.tokenizer, FOREIGN)
    assert unread_letters(bert.tokenizer, ["maji " * 3, "mtoto"]) == ""
    guests = [" ".join(f"w{a}{b}" for a in "abcdefghijklm" for b in "abcdefghijklm"), "Д"]
    assert unread_letters(bert.tokenizer, guests) == ""


@pytest.mark.parametrize(
    ("letters", "text", "latin"),
    [("नम", "नमन", "naman"), ("Дом", "Дом", "dom"), ("", "abc", "abc"), ("नरदशच्", "नरद्र शच", "naradra shach")],
)
def test_rules_spell_letters(letters, text, latin):
    for pattern, replacement in romanisation(letters + ("ा" if "न" in letters else "")):
        text = regex.sub(pattern, replacement, text)
    assert text == latin


def test_consonants_behind_the_signs_in_unicode_still_see_them():
    text = "ॻि"
    for pattern, replacement in romanisation("िॻ"):
        text = regex.sub(pattern, replacement, text)
    assert text == romanisation("ॻ")[0][1] + "i"


def test_fit_counts_running_words(bert):
    measured = fit(bert.tokenizer, ["the cat, the zq 12", "日"])
    # the, cat, the: one token each; zq: two; 日: unknown.
    assert measured.words == 5
    assert measured.tokens_per_word == pytest.approx(6 / 5)
    assert measured.unknown_rate == pytest.approx(1 / 6)
    assert fit(bert.tokenizer, ["1 2 3"]).words == 0


def slowly_without_english(backend, pieces, mine, theirs):
    """The pieces that hardly any English word has, every word read again in both rounds."""
    for _ in range(2):
        trial = tokenizer_room._with_pieces(backend, pieces)
        x, other = (Counter(piece for w in side for piece in {*trial.encode(w).tokens}) for side in (mine, theirs))
        pieces = [piece for piece in pieces if other[piece] <= tokenizer_room.ENGLISH_SHARE * x[piece]]
    return pieces


def test_pieces_of_english_words_are_found_as_when_every_word_is_read_again(bert):
    mine = sorted({verb + end for verb in VERBS for end in ("", "ni", "wa")} | {"children", "museveni"})
    theirs = ["wanamaker", "analog", "tunafish", "kinase", "kenyan", "childrenni"]
    pieces = choose_pieces(mine, set(bert.tokenizer.get_vocab()), min_types=2)
    found = tokenizer_room._without_english(bert.tokenizer.backend_tokenizer, pieces, mine, theirs)
    assert found == slowly_without_english(bert.tokenizer.backend_tokenizer, pieces, mine, theirs)
    assert 0 < len(found) < len(pieces)


def test_fit_reads_a_word_as_it_stands_in_a_sentence(modernbert):
    """Byte-level pieces contain the space, and so do added words."""
    tokenizer = extend(modernbert.tokenizer, words(), romanise="").tokenizer
    assert fit(tokenizer, ["ya maji ya"]).tokens_per_word == 1


def test_a_slow_tokenizer_is_refused():
    with pytest.raises(DataError, match="not a fast tokenizer"):
        extend(object(), words(), romanise="")


@pytest.mark.parametrize("teacher", ["bert", "mbert", "xlmr"])
def test_words_that_no_needed_word_is_read_as_are_left_out(teacher, request):
    """The texts that the tokenizer is for are read as with all words."""
    base, texts = request.getfixturevalue(teacher).tokenizer, [*HARD[:4], *HARD[5:9], "eNairobi ng'ombe'maji OJO"]
    all_words = choose_words([*FOREIGN, "nairobi ng ombe ng'ombe", *VERBS], [""] * (len(FOREIGN) + 1 + len(VERBS)))
    needed = frozenset(word for text in texts for word in split_words(text))
    whole, less = (
        extend(base, words, romanise="नरेंद्रमोदी", prefixes=True).tokenizer
        for words in (all_words, all_words._replace(needed=needed))
    )
    for text in {*texts, *needed}:
        assert less.tokenize(text) == whole.tokenize(text)
    assert len(base) < len(less) < len(whole)


class TestPrompts:
    PROMPTS = ("query: ", "Passage of the house: ")
    SAID = ["query passage Quéry hapa query Passage", *(f"que{a} pass{a} {a}{a}ry {a}{a}ge" for a in "abcd")]

    def extended(self, teacher, prompts=PROMPTS):
        words = choose_words([*FOREIGN, *self.SAID], [""] * (len(FOREIGN) + len(self.SAID)))
        return extend(teacher.tokenizer, words, romanise="", piece_types=2, prompts=prompts)

    def test_are_read_by_the_teacher_s_tokens(self, teacher):
        """Words of X that a prompt has too get no token, nor do parts of words that a prompt could fall into."""
        free, kept = self.extended(teacher, ()), self.extended(teacher)
        for prompt in self.PROMPTS:
            for text in (prompt, prompt.lower(), f"{prompt}who"):
                assert kept.tokenizer(text)["input_ids"] == teacher.tokenizer(text)["input_ids"]
        assert any(free.tokenizer(p)["input_ids"] != teacher.tokenizer(p)["input_ids"] for p in self.PROMPTS)
        assert not {"query", "passage"} & kept.ids.keys()
        assert {"query", "passage", "maji", "hapa"} <= free.ids.keys()
        assert {"maji", "hapa"} <= kept.ids.keys()

    def test_the_first_word_is_found_after_a_prompt_that_ends_without_a_space(self, teacher):
        """As in Qwen3-Embedding, whose prompt ends in "Query:"."""
        ids = self.extended(teacher, ("Instruct: who\nQuery:",)).tokenizer("Query:Mtoto ni", add_special_tokens=False)
        prompt = teacher.tokenizer("Query:", add_special_tokens=False)["input_ids"]
        assert len(ids["input_ids"]) == len(prompt) + 2
        assert ids["input_ids"][: len(prompt)] == prompt
