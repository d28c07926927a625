from __future__ import annotations

import gzip

import pytest

from optical.data.bitext import Pair
from optical.errors import DataError
from optical.training.augmentation import Augment, in_case_of, lexicon, read_synonyms

SYNONYMS = {"maji": ["chemchemi", "mto"], "ng'ombe": ["fahali"]}


def augmented(rate, seed=0, table=SYNONYMS):
    return Augment(lambda texts, **options: (list(texts), options), table, rate, seed)


class TestSynonyms:
    def test_both_layouts_and_lines_that_add_up(self, tmp_path):
        path = tmp_path / "synonyms.tsv"
        path.write_text("Maji\tchemchemi\n\nmaji\tmto maji ziwa\nNg’ombe\tfahali\n", encoding="utf-8")
        assert read_synonyms(path) == {"maji": ["chemchemi", "mto", "ziwa"], "ng'ombe": ["fahali"]}
        packed = tmp_path / "synonyms.tsv.gz"
        packed.write_bytes(gzip.compress(path.read_bytes()))
        assert read_synonyms(packed) == read_synonyms(path)

    @pytest.mark.parametrize("line", ["maji mto", "maji\tmto\tziwa", "maji\t ", "\tmto", "maji baridi\tmto"])
    def test_a_line_of_another_form_is_refused_with_its_place(self, tmp_path, line):
        path = tmp_path / "synonyms.tsv"
        path.write_text(f"maji\tmto\n{line}\n", encoding="utf-8")
        with pytest.raises(DataError, match=r"synonyms.tsv:2: .*received .*write one word, a tab"):
            read_synonyms(path)

    def test_a_list_without_synonyms_and_a_missing_one(self, tmp_path):
        path = tmp_path / "synonyms.tsv"
        path.write_text("maji\tMaji\n", encoding="utf-8")
        with pytest.raises(DataError, match="no word has a synonym; received 1 words"):
            read_synonyms(path)
        with pytest.raises(DataError, match=r"nowhere.tsv"):
            read_synonyms(tmp_path / "nowhere.tsv")


class TestAugment:
    def test_at_zero_nothing_changes(self):
        texts = ["Maji, ng’ombe  na maji!", ""]
        assert augmented(0.0).texts(texts) == texts

    def test_at_one_every_word_with_a_synonym_is_another_and_all_else_stays(self):
        (text,) = augmented(1.0).texts(["Je, ng’ombe  wanakunywa MAJI?"])
        assert text in {f"Je, fahali  wanakunywa {word}?" for word in ("CHEMCHEMI", "MTO")}

    def test_every_synonym_comes_up_about_evenly_at_the_rate(self):
        words = augmented(0.4).texts(["maji " * 2000])[0].split()
        assert len(words) == 2000
        assert 0.55 < words.count("maji") / 2000 < 0.65
        assert 0.17 < words.count("mto") / 2000 < 0.23

    def test_the_choice_follows_seed_and_batch_alone(self):
        texts = ["maji ng'ombe maji ng'ombe maji"] * 4
        once = augmented(0.5)
        first = once.texts(texts)
        assert once.texts(texts) == augmented(0.5).texts(texts) == first
        assert augmented(0.5, seed=1).texts(texts) != first
        assert len(set(first)) > 1  # alike sentences of one batch are changed apart
        assert augmented(0.5).texts([*texts, "."])[:4] != first

    def test_the_texts_go_to_what_is_wrapped_with_its_options(self):
        assert augmented(1.0)(["ng'ombe"], task="query") == (["fahali"], {"task": "query"})

    @pytest.mark.parametrize("rate", [-0.1, 1.5, float("nan")])
    def test_a_rate_is_a_share(self, rate):
        with pytest.raises(ValueError, match="share of words; received"):
            augmented(rate)

    def test_case_follows_the_word(self):
        assert [in_case_of(w, "water") for w in ("maji", "Maji", "MAJI", "M")] == ["water", "Water", "WATER", "Water"]
        assert in_case_of("kenya", "Kenya") == "Kenya"


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
        found = lexicon(bitext())
        assert {word: found[word][0] for word in NOUNS} == NOUNS
        assert found["ninaona"][0] in ("see", "I")

    def test_the_other_direction(self):
        found = lexicon(bitext(), into="foreign")
        assert {thing: found[thing][0] for thing in NOUNS.values()} == {thing: word for word, thing in NOUNS.items()}

    def test_names_rare_words_and_unsure_translations_stay_out(self):
        found = lexicon(bitext())
        assert "Asha" not in found.get("asha", [])
        assert not {"mwezi", "mwezini", "kikombe"} & found.keys()
        assert lexicon(bitext(), min_count=1)["mwezi"] == ["moon"]
        assert "the" not in {translation for noun in NOUNS for translation in found[noun]}
        assert "the" in {translation for noun in NOUNS for translation in lexicon(bitext(), least=1e-6, most=9)[noun]}

    def test_no_more_than_asked_and_surest_first(self):
        cups = [Pair(f"{word} {k}", f"kikombe {k}") for k, word in enumerate(["mug", "mug", "cup", "cup", "cup"])]
        assert lexicon(cups)["kikombe"] == ["cup", "mug"]
        assert lexicon(cups, most=1)["kikombe"] == ["cup"]
        many = lexicon(bitext(), least=1e-6, most=5)
        assert max(map(len, many.values())) > 1
        for word, translations in lexicon(bitext(), least=1e-6, most=1).items():
            assert translations == many[word][:1]

    def test_the_commonest_spelling_is_taken(self):
        pairs = [
            Pair(f"{spelling} runs {k}", f"mbwa anakimbia {k}") for k, spelling in enumerate(["Dog", "dog", "dog"])
        ]
        assert "dog" in lexicon(pairs)["mbwa"]
        assert "Dog" not in lexicon(pairs)["mbwa"]

    def test_nothing_to_learn_from(self):
        assert lexicon([]) == {}
        assert lexicon([Pair("?", "123")]) == {}
