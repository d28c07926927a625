"""A lexicon of a bitext small enough to see what each word must mean."""

from __future__ import annotations

import numpy as np
import pytest

from optical.data.bitext import Pair
from optical.vocabulary.lexicon import align_words, bitext_lexicon, translation_probabilities

NOUNS = {"maji": "water", "kitabu": "book", "mto": "river", "samaki": "fish", "nyumba": "house", "mbwa": "dog"}


def bitext() -> list[Pair]:
    """Every noun with every verb, a small word in all sentences, a name that both sides share, and rare words."""
    verbs = {"ninaona": "see", "ninauza": "sell", "ninataka": "want"}
    pairs = [
        Pair(f"I {english} the {thing}, Asha", f"{word} {noun}, Asha")
        for word, english in verbs.items()
        for noun, thing in NOUNS.items()
    ]
    rare = [("see", "moon", "ninaona mwezi"), ("sell", "moon", "ninauza mwezini")]  # either word once, "moon" twice
    rare += [("want", "cup", "ninataka kikombe"), ("see", "mug", "ninaona kikombe")]  # the other way round
    return [*pairs, *(Pair(f"I {verb} the {thing}", foreign) for verb, thing, foreign in rare)]


class TestLexicon:
    def test_words_mean_what_they_occur_with(self):
        found = bitext_lexicon(bitext())
        assert {word: found[word][0] for word in NOUNS} == NOUNS
        assert found["ninaona"][0] in ("see", "I")

    def test_the_other_direction(self):
        found = bitext_lexicon(bitext(), into="foreign")
        assert {thing: found[thing][0] for thing in NOUNS.values()} == {thing: word for word, thing in NOUNS.items()}

    def test_names_rare_words_and_unsure_translations_stay_out(self):
        found = bitext_lexicon(bitext())
        assert "Asha" not in found.get("asha", [])
        assert not {"mwezi", "mwezini", "kikombe"} & found.keys()
        assert bitext_lexicon(bitext(), min_count=1)["mwezi"] == ["moon"]
        assert "the" not in {translation for noun in NOUNS for translation in found[noun]}
        unsure = bitext_lexicon(bitext(), least=1e-6, most=9)
        assert "the" in {translation for noun in NOUNS for translation in unsure[noun]}

    def test_no_more_than_asked_and_surest_first(self):
        cups = [Pair(f"{word} {k}", f"kikombe {k}") for k, word in enumerate(["mug", "mug", "cup", "cup", "cup"])]
        assert bitext_lexicon(cups)["kikombe"] == ["cup", "mug"]
        assert bitext_lexicon(cups, most=1)["kikombe"] == ["cup"]
        many = bitext_lexicon(bitext(), least=1e-6, most=5)
        assert max(map(len, many.values())) > 1
        for word, translations in bitext_lexicon(bitext(), least=1e-6, most=1).items():
            assert translations == many[word][:1]

    def test_the_commonest_spelling_is_taken(self):
        pairs = [
            Pair(f"{spelling} runs {k}", f"mbwa anakimbia {k}") for k, spelling in enumerate(["Dog", "dog", "dog"])
        ]
        assert "dog" in bitext_lexicon(pairs)["mbwa"]
        assert "Dog" not in bitext_lexicon(pairs)["mbwa"]

    def test_nothing_to_learn_from(self):
        assert bitext_lexicon([]) == {}
        assert bitext_lexicon([Pair("?", "123")]) == {}


class TestProbabilities:
    def test_both_directions_count_and_all_sum_to_one(self):
        aligned = align_words(bitext())
        found = translation_probabilities(aligned, mass=1, least=0)
        assert {word: found[word][0][0] for word in NOUNS} == NOUNS
        table, english, foreign = aligned
        word = foreign.spellings.index("samaki")
        own = table.foreign == word
        sure = np.sqrt(table.probability[own] * table.reverse[own])
        expected = dict(zip((english.spellings[e].lower() for e in table.english[own]), sure / sure.sum(), strict=True))
        assert dict(found["samaki"]) == pytest.approx(expected, rel=1e-5)
        assert all(sum(p for _, p in some) == pytest.approx(1) for some in found.values())
        assert all(some == sorted(some, key=lambda one: -one[1]) for some in found.values())
        assert "asha" in dict(found["asha"])

    def test_what_is_improbable_is_cut_and_the_rest_sums_to_one(self):
        pairs = [Pair(f"{word} {k}", f"kikombe {k}") for k, word in enumerate(["mug"] * 6 + ["cup"] * 3 + ["jug"])]
        aligned = align_words(pairs)
        shares = dict(translation_probabilities(aligned, mass=1, least=0)["kikombe"])
        assert shares == pytest.approx({"mug": 0.6, "cup": 0.3, "jug": 0.1}, abs=0.15)
        mug, cup = shares["mug"], shares["cup"]
        cut = translation_probabilities(aligned, mass=mug + 1e-6, least=0)["kikombe"]
        assert cut == [("mug", pytest.approx(mug / (mug + cup))), ("cup", pytest.approx(cup / (mug + cup)))]
        assert translation_probabilities(aligned, mass=mug - 1e-6, least=0)["kikombe"] == [("mug", 1.0)]
        least = translation_probabilities(aligned, mass=1, least=cup - 1e-6)["kikombe"]
        assert [word for word, _ in least] == ["mug", "cup"]
        assert translation_probabilities(aligned, mass=1, least=0.999) == {}

    def test_nothing_to_learn_from(self):
        assert translation_probabilities(align_words([])) == {}
