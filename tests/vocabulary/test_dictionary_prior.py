"""A dictionary gives rows to words that the bitext lacks, and a prior that fades where a word is seen often."""

from __future__ import annotations

import numpy as np
import pytest

from optical.config.vocabulary import Vocabulary
from optical.data.bitext import Pair
from optical.data.dictionary import Entry
from optical.vocabulary.align_ibm1 import align_ibm1
from optical.vocabulary.choose_words import choose_counted, count_words
from optical.vocabulary.dictionary_prior import add_entries, prior_of
from optical.vocabulary.subwords import letters, parts_of
from optical.vocabulary.translation_table import Hints, Prior, TranslationTable, with_prior
from optical.vocabulary.transplant import transplant

PAIRS = [
    Pair("the child drinks water", "mtoto anakunywa maji"),
    Pair("the cat drinks milk", "paka anakunywa maziwa"),
    Pair("the dog drinks water", "mbwa anakunywa maji"),
    Pair("the house in Nairobi", "nyumba ya Nairobi"),
]


def matrix(encoder) -> np.ndarray:
    return encoder[0].auto_model.get_input_embeddings().weight.detach().numpy()


def test_words_that_the_bitext_lacks_are_added_and_names_are_not():
    english, foreign = zip(*PAIRS, strict=True)
    found = count_words(foreign, english)
    words = choose_counted(found)
    entries = [Entry("born", "-Zaliwa"), Entry("water", "maji"), Entry("Nairobi", "nairobi"), Entry("the", "child")]
    entries += [Entry("twice", "mara mbili"), Entry("who", "nani")]
    more = add_entries(words, entries, found)
    assert more.forms.keys() - words.forms.keys() == {"zaliwa", "nani"}
    assert more.forms["zaliwa"] == ["Zaliwa", "zaliwa"]
    assert (more.counts["zaliwa"], more.counts["maji"]) == (0, 2)
    assert "zaliwa" not in words.forms
    assert add_entries(words, entries, found, max_words=len(words.forms) + 1).counts.keys() == {
        *words.counts, "zaliwa",
    }  # fmt: skip


def test_shares_of_translations_and_of_their_pieces(bert):
    entries = [Entry("house", "nyumba"), Entry("drinks milk", "nyumba"), Entry("cat", "paka"), Entry("dog", "x y")]
    prior = prior_of(entries, {"nyumba": 7, "paka": 9}, bert.tokenizer, 2.0)
    vocab = bert.tokenizer.get_vocab()
    house, drinks, milk, cat = (vocab[word] for word in ("house", "drinks", "milk", "cat"))
    f = np.array([7, 7, 7, 9, 9, 8])
    np.testing.assert_allclose(prior.of(f, np.array([house, drinks, milk, cat, milk, cat])), [0.5, 0.25, 0.25, 1, 0, 0])
    np.testing.assert_allclose(prior.occurrences(11)[[7, 8, 9]], [2, 0, 2])


def test_a_prior_outweighs_few_sentences_and_not_many():
    prior = Prior(np.array([0, 1]), np.array([5, 6]), np.ones(2, np.float32), 1.0)
    counts = np.array([1.0, 99.0])
    table = TranslationTable(np.array([0, 1]), np.array([3, 4]), counts, np.ones(2), np.ones(2))
    both = with_prior(table, prior)
    assert both.foreign.tolist() == [0, 0, 1, 1]
    found = {(f, e): p for f, e, p in zip(both.foreign, both.english, both.probability, strict=True)}
    assert found == pytest.approx({(0, 3): 0.5, (0, 5): 0.5, (1, 4): 0.99, (1, 6): 0.01})
    known = with_prior(table, prior._replace(english=np.array([3, 4])))
    np.testing.assert_allclose(known.counts, counts + 1)
    np.testing.assert_allclose(known.probability, 1)
    empty = Prior(*(np.zeros(0, np.int64) for _ in range(2)), np.zeros(0, np.float32), 1.0)
    assert [values.tolist() for values in with_prior(table, empty)[:3]] == [values.tolist() for values in table[:3]]


def test_a_known_translation_decides_what_one_sentence_leaves_open():
    nothing = letters(["", "", "", ""])
    prior = Prior(np.array([2]), np.array([1]), np.ones(1, np.float32), 1.0)
    hints = Hints(parts_of([], 4), (nothing, nothing), prior=prior)
    table = align_ibm1([[0, 1, 2]], [[1, 2, 3]], hints=hints)
    best = {int(f): int(e) for f, e in zip(table.foreign[::-1], table.english[::-1], strict=True)}
    assert best[2] == 1
    assert table.probability[(table.foreign == 2) & (table.english == 1)] > 0.8
    assert table.counts[(table.foreign == 1) & (table.english == 1)] < 0.1  # and the others leave it alone


@pytest.mark.parametrize("alignment", ["ibm1", "symmetric", "ot"])
def test_rows_of_words_that_only_the_dictionary_has(bert, alignment):
    options = Vocabulary(mode="extend", alignment=alignment)
    entries = [
        Entry("who", "nani"),
        Entry("children", "Watoto"),
        Entry("how many", "ngapi"),
        Entry("is", "kitabu sana"),
    ]
    done = transplant(bert, PAIRS, options, entries=entries)
    old, new, vocab = matrix(bert), matrix(done.student), done.student.tokenizer.get_vocab()
    ids = bert.tokenizer.get_vocab()
    np.testing.assert_allclose(new[vocab["nani"]], old[ids["who"]], rtol=1e-5)
    np.testing.assert_allclose(new[vocab["ngapi"]], (old[ids["how"]] + old[ids["many"]]) / 2, rtol=1e-5)
    assert done.student.tokenizer("Watoto watoto")["input_ids"][1:-1] == [vocab["watoto"]] * 2
    assert "kitabu" not in vocab
    assert (done.looked_up, done.report()["words_from_lexicon"]) == (3, 3)
    plain = transplant(bert, PAIRS, options)
    assert plain.looked_up == 0
    theirs = matrix(plain.student)[plain.student.tokenizer.get_vocab()["maji"]]
    np.testing.assert_allclose(new[vocab["maji"]], theirs, rtol=1e-5)  # what the dictionary lacks is as it was


def test_words_are_not_looked_up_where_none_are_added(bert):
    done = transplant(bert, PAIRS, Vocabulary(mode="trim"), entries=[Entry("who", "nani")])
    assert (done.looked_up, done.added) == (0, 0)
