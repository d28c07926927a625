from __future__ import annotations

import gzip

import pytest

from optical.errors import DataError
from optical.training.augmentation import Augment, read_synonyms

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
