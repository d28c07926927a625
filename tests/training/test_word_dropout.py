from __future__ import annotations

from contextlib import nullcontext

import pytest
import torch
from tokenizers import AddedToken

from optical.config.vocabulary import Vocabulary
from optical.data.bitext import Pair
from optical.models.composing import IDS, WEIGHT, compose_unseen, query_words
from optical.models.encoders import as_multi_vector, encode_batch, transformer
from optical.training.row_adam import rows_in_use
from optical.training.word_dropout import WordDropout, pieces_of_words
from optical.vocabulary.transplant import transplant
from tests.conftest import bert

WORDS = ["maji", "vitabu", "kitabu"]


@pytest.fixture
def encoder(tmp_path):
    model = bert(tmp_path / "bert")
    model.tokenizer.add_tokens([AddedToken(word, single_word=True, normalized=True) for word in WORDS])
    return model


def dropped(encoder, probability, seed=0):
    return WordDropout(encoder.preprocess, encoder.tokenizer, probability, seed)


def test_a_word_falls_into_the_pieces_it_would_have_unseen(encoder):
    tokenizer = encoder.tokenizer
    pieces = pieces_of_words(tokenizer)
    assert pieces.keys() == set(tokenizer.convert_tokens_to_ids(WORDS))
    spelled = tokenizer.convert_ids_to_tokens(pieces[tokenizer.convert_tokens_to_ids("maji")])
    assert spelled == ["m", "##a", "##j", "##i"]


def test_special_tokens_never_fall_apart(encoder):
    assert not set(encoder.tokenizer.all_special_ids) & pieces_of_words(encoder.tokenizer).keys()


def test_at_one_every_word_falls_and_the_rest_stays(encoder):
    ids = dropped(encoder, 1.0)(["i drink maji ."])["input_ids"][0]
    tokens = encoder.tokenizer.convert_ids_to_tokens(ids)
    assert tokens == ["[CLS]", "i", "drink", "m", "##a", "##j", "##i", ".", "[SEP]"]


def test_at_zero_nothing_changes(encoder):
    texts = ["maji .", "i drink maji vitabu ."]
    plain, features = encoder.preprocess(texts), dropped(encoder, 0.0)(texts)
    for name in ("input_ids", "attention_mask"):
        assert torch.equal(features[name], plain[name])


def test_padding_and_mask_follow_the_new_lengths(encoder):
    features = dropped(encoder, 1.0)(["maji", "i drink ."])
    ids, mask = features["input_ids"], features["attention_mask"]
    assert ids.shape == mask.shape == (2, 6)
    assert mask.sum(1).tolist() == [6, 5]
    assert (ids[mask == 0] == encoder.tokenizer.pad_token_id).all()
    alone = encoder.preprocess(["i drink ."])
    together = encoder({k: v for k, v in features.items() if isinstance(v, torch.Tensor)})["sentence_embedding"][1]
    torch.testing.assert_close(together, encoder(alone)["sentence_embedding"][0], rtol=1e-4, atol=1e-5)


def test_the_choice_follows_seed_and_batch(encoder):
    texts = ["maji vitabu kitabu maji vitabu kitabu maji vitabu"] * 4
    first, again = dropped(encoder, 0.5)(texts)["input_ids"], dropped(encoder, 0.5)(texts)["input_ids"]
    assert torch.equal(first, again)
    other = dropped(encoder, 0.5, seed=1)(texts)["input_ids"]
    assert first.shape != other.shape or not torch.equal(first, other)


def test_about_the_asked_share_falls(encoder):
    ids = dropped(encoder, 0.25)(["maji " * 20] * 20)["input_ids"]
    whole = int((ids == encoder.tokenizer.convert_tokens_to_ids("maji")).sum())
    assert 0.6 * 400 < whole < 0.9 * 400


def test_a_row_that_would_outgrow_the_encoder_stays(encoder):
    features = dropped(encoder, 1.0)(["maji " * 30])
    assert features["input_ids"].shape[1] == 32


@pytest.mark.parametrize("attend", [False, True])
@pytest.mark.parametrize("strategy", ["fixed", "min"])
def test_expanded_queries_fall_apart_and_are_expanded_again(encoder, strategy, attend):
    many = as_multi_vector(encoder)
    many[0].query_expansion = {"strategy": strategy, "attend": attend, "length": 9}
    texts = ["maji", "i drink maji .", "i drink milk where is the market ?"]
    features = dropped(many, 1.0)(texts, task="query")
    spelled = ["m", "##a", "##j", "##i"]
    expected = [["[CLS]", *spelled, "[SEP]"], ["[CLS]", "i", "drink", *spelled, ".", "[SEP]"]]
    width = features["input_ids"].shape[1]
    assert width == (9 if strategy == "fixed" else 10)
    for k, tokens in enumerate(expected):
        mask, ids = features["query_expansion_positions"][k], features["input_ids"][k]
        found = many.tokenizer.convert_ids_to_tokens(ids)
        padding = ["[PAD]"] * (width - 9)
        assert found == [*tokens, *["[MASK]"] * (9 - len(tokens)), *padding]
        assert mask.tolist() == [t == "[MASK]" for t in found]
        assert features["attention_mask"][k].bool().tolist() == [
            t != "[PAD]" and (attend or t != "[MASK]") for t in found
        ]
    plain = many.preprocess(texts, task="query")
    assert torch.equal(features["input_ids"][2], plain["input_ids"][2])


def test_an_expanded_query_that_would_outgrow_its_length_stays(encoder):
    many = as_multi_vector(encoder, 8)
    texts = ["maji maji maji"]
    plain, features = many.preprocess(texts, task="query"), dropped(many, 1.0)(texts, task="query")
    for name in ("input_ids", "attention_mask", "query_expansion_positions"):
        assert torch.equal(features[name], plain[name])


def test_the_words_of_a_prompt_stay_whole(encoder):
    features = dropped(encoder, 1.0)(["i drink maji ."], prompt="kitabu : ")
    tokens = encoder.tokenizer.convert_ids_to_tokens(features["input_ids"][0])
    assert tokens[:3] == ["[CLS]", "kitabu", "[UNK]"]
    assert "maji" not in tokens


class TestComposing:
    """A student that composes reads a dropped word by the words most alike."""

    @pytest.fixture
    def student(self, tmp_path):
        words = ("maji", "vitabu", "kitabu", "mtoto")
        pairs = [Pair(f"the children {k} drink", f"{w} {k} ni") for k, w in enumerate(words)]
        made = transplant(bert(tmp_path / "bert"), pairs, Vocabulary(mode="extend"))
        compose_unseen(made.student, made.seen)
        return made.student

    def dropped(self, student, probability):
        return WordDropout(student.preprocess, student.tokenizer, probability, 0, query_words(student))

    def test_a_dropped_word_is_a_slot_composed_of_others(self, student):
        features = self.dropped(student, 1.0)(["i kitabu", "i kitabu vitabu i"])
        vocab, slots = student.tokenizer.get_vocab(), query_words(student).seen.slots
        assert [[i in slots for i in row] for row in features["input_ids"][:, 1:5].tolist()] == [
            [False, True, False, False], [False, True, True, False]
        ]  # fmt: skip
        assert features[IDS][:, :, 0].tolist() == [[vocab["vitabu"], 0], [vocab["vitabu"], vocab["kitabu"]]]
        torch.testing.assert_close(features[WEIGHT].sum(2), torch.tensor([[1.0, 0.0], [1.0, 1.0]]))

    def test_a_word_like_no_other_falls_into_pieces(self, student):
        features = self.dropped(student, 1.0)(["i maji"])
        assert IDS not in features
        assert len(features["input_ids"][0]) == 3 + len("maji")

    def test_unseen_words_keep_what_they_are_composed_of(self, student):
        plain = student.preprocess(["mtotoni kitabu", "kitabu"])
        features = self.dropped(student, 1.0)(["mtotoni kitabu", "kitabu"])
        assert features[IDS].shape[:2] == (2, 2)
        assert torch.equal(features[IDS][0, 0], plain[IDS][0, 0])
        unchanged = self.dropped(student, 0.0)(["mtotoni kitabu", "kitabu"])
        assert torch.equal(unchanged[IDS], plain[IDS])
        assert torch.equal(unchanged["input_ids"], plain["input_ids"])

    @pytest.mark.parametrize("rows", [False, True])
    def test_the_rows_that_it_is_composed_of_learn(self, student, rows):
        features = self.dropped(student, 1.0)(["i kitabu"])
        model, at = transformer(student).auto_model, int(features[IDS][0, 0, 0])
        with rows_in_use(model, student.parameters(), lr=0.1, embedding_lr=0.1) if rows else nullcontext():
            embedding = model.get_input_embeddings()
            encode_batch(student, features).sentence[0, 0].backward()
            gradient = dict(zip(*(x.tolist() for x in embedding.take_gradient()), strict=True)) if rows else None
            row = torch.tensor(gradient[at]) if rows else embedding.weight.grad[at]
        assert row.abs().sum() > 0
