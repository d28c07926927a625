"""Finding, refusing, loading and reading encoders of both classes."""

from __future__ import annotations

import copy
import json

import numpy as np
import pytest
import torch

from optical.data.bitext import Pair
from optical.errors import DataError
from optical.models import encoders
from optical.models.encoders import (
    as_multi_vector,
    encode_batch,
    encode_sentences,
    encode_tokens,
    fingerprint,
    query_width,
    token_counts,
)
from optical.models.load import load_encoder
from optical.vocabulary.transplant import transplant

TEXTS = ["i drink water .", "the moon", "who built this house ? she cooks rice .", "q"]


class TestMultiVector:
    def test_its_tokens_are_unit_vectors_of_the_same_transformer(self, teacher):
        many = as_multi_vector(teacher)
        single = encode_batch(teacher, teacher.preprocess(TEXTS[:1])).tokens
        rows = encode_tokens(many, TEXTS, query=False)
        expected = torch.nn.functional.normalize(single.vectors[0], dim=-1).detach().numpy()
        np.testing.assert_allclose(rows[0], expected, atol=1e-6)
        assert {row.dtype for row in rows} == {np.dtype(np.float32)}
        plain = many.encode_query(TEXTS, convert_to_numpy=True)  # as whoever has no `optical` calls it
        for row in [*rows, *plain]:
            np.testing.assert_allclose(np.linalg.norm(row, axis=1), 1.0, atol=1e-5)

    def test_it_shares_nothing_with_the_original(self, teacher):
        before = fingerprint(teacher)
        many = as_multi_vector(teacher)
        twice = as_multi_vector(many)
        with torch.no_grad():
            many[0].auto_model.get_input_embeddings().weight.add_(1.0)
        assert fingerprint(teacher) == before
        assert fingerprint(twice) != fingerprint(many)

    def test_each_side_says_which_function_to_call(self, teacher):
        with pytest.raises(ValueError, match="encode_tokens"):
            encode_sentences(as_multi_vector(teacher), TEXTS)
        with pytest.raises(ValueError, match="as_multi_vector"):
            encode_tokens(teacher, TEXTS, query=True)


class TestEncodeBatch:
    @pytest.mark.parametrize("kind", [lambda t: t, as_multi_vector], ids=["single", "multi"])
    def test_padding_changes_nothing(self, teacher, kind):
        model = kind(teacher)
        with torch.no_grad():
            together = encode_batch(model, model.preprocess(TEXTS))
            for k, text in enumerate(TEXTS):
                alone = encode_batch(model, model.preprocess([text]))
                assert alone.tokens.mask.all()
                real = together.tokens.vectors[k][together.tokens.mask[k]]
                torch.testing.assert_close(real, alone.tokens.vectors[0], rtol=1e-4, atol=1e-5)
                torch.testing.assert_close(together.sentence[k], alone.sentence[0], rtol=1e-4, atol=1e-5)
        assert not together.tokens.mask.all(), "nothing was padded"

    def test_gradient_flows_where_it_is_enabled(self, teacher):
        encode_batch(teacher, teacher.preprocess(TEXTS)).sentence.sum().backward()
        assert teacher[0].auto_model.get_input_embeddings().weight.grad.abs().sum() > 0

    def test_the_features_stay_as_they_were(self, teacher):
        features = teacher.preprocess(TEXTS)
        before = copy.deepcopy(dict(features))
        encode_batch(teacher, features)
        assert features.keys() == before.keys()
        assert all(torch.equal(features[k], before[k]) for k in before if isinstance(before[k], torch.Tensor))


class TestEncodeQueries:
    TEXTS = ("the moon", "", "who built this house ?")

    def test_single_vectors_are_unit_sentence_vectors(self, teacher):
        found = encoders.encode_queries(teacher, self.TEXTS)
        np.testing.assert_array_equal(found, encoders.encode_sentences(teacher, self.TEXTS))
        np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, rtol=1e-6)

    def test_late_interaction_gives_tokens_of_the_query_side(self, teacher):
        late = encoders.as_multi_vector(teacher, query_length=12)  # documents are not filled up, queries are
        found = encoders.encode_queries(late, self.TEXTS)
        assert [row.shape for row in found] == [(12, 32)] * 3
        for row, expected in zip(found, encoders.encode_tokens(late, self.TEXTS, query=True), strict=True):
            np.testing.assert_array_equal(row, expected)


class TestFingerprint:
    def test_it_is_the_same_after_saving_loading_and_encoding(self, teacher, tmp_path):
        first = fingerprint(teacher)
        teacher.save(str(tmp_path / "model"))
        again = load_encoder(tmp_path / "model", "cpu")
        assert fingerprint(again) == first
        encode_sentences(teacher, TEXTS)
        assert fingerprint(teacher) == first, "padding of the last call is no part of a model"
        again.save(str(tmp_path / "second"))
        assert fingerprint(load_encoder(tmp_path / "second", "cpu")) == first

    def test_another_pooling_of_the_same_weights_is_another_model(self, teacher):
        """Else one would search the cached vectors of the other."""
        found = [fingerprint(teacher)]
        for mode in ("cls", "lasttoken", ("mean", "cls")):
            teacher[1].pooling_mode = mode
            found.append(fingerprint(teacher))
        assert len(set(found)) == 4

    def test_one_weight_changes_it(self, teacher):
        before = fingerprint(teacher)
        with torch.no_grad():
            next(teacher.parameters()).flatten()[-1] += 1e-3
        assert fingerprint(teacher) != before

    def test_the_vocabulary_changes_it(self, teacher):
        other = copy.deepcopy(teacher)
        backend = json.loads(other.tokenizer.backend_tokenizer.to_str())
        vocabulary = backend["model"]["vocab"]
        vocabulary["water"], vocabulary["milk"] = vocabulary["milk"], vocabulary["water"]
        other.tokenizer._tokenizer = type(other.tokenizer.backend_tokenizer).from_str(json.dumps(backend))
        assert fingerprint(other) != fingerprint(teacher)

    def test_class_and_length_limit_change_it(self, teacher):
        shorter = copy.deepcopy(teacher)
        shorter.max_seq_length = 8
        assert len({fingerprint(m) for m in (teacher, shorter, as_multi_vector(teacher))}) == 3


class TestQueryLength:
    """[MASK] expansion: queries of one length, in search, in training, and after reloading."""

    def test_every_query_has_the_length_and_only_words_are_attended_to(self, teacher):
        many = as_multi_vector(teacher, 12)
        features = many.preprocess(TEXTS, task="query")
        tokens = many.tokenizer.convert_ids_to_tokens(features["input_ids"][3])
        assert tokens == ["[CLS]", "q", "[SEP]", *["[MASK]"] * 9]
        assert features["attention_mask"].sum(1).tolist() == [6, 4, 11, 3]
        assert {len(rows) for rows in encode_tokens(many, TEXTS, query=True)} == {12}
        assert [len(rows) for rows in encode_tokens(many, TEXTS, query=False)] == [6, 4, 11, 3]
        assert query_width(many) == 12
        assert token_counts(many, TEXTS).tolist() == [12] * 4
        assert query_width(as_multi_vector(teacher)) is None

    def test_vectors_of_words_are_those_of_the_query_alone(self, teacher):
        """No token attends to [MASK], so expansion adds vectors and changes none."""
        plain, many = as_multi_vector(teacher), as_multi_vector(teacher, 12)
        for short, long in zip(*(encode_tokens(m, TEXTS, query=True) for m in (plain, many)), strict=True):
            np.testing.assert_allclose(long[: len(short)], short, atol=1e-5)

    def test_expansion_is_real_in_a_batch_as_the_trainer_has_it(self, teacher):
        many = as_multi_vector(teacher, 12)
        tokens = encode_batch(many, many.preprocess(TEXTS, task="query")).tokens
        assert tokens.mask.all()
        assert tokens.mask.shape == (4, 12)
        alone = encode_tokens(many, TEXTS, query=True)
        np.testing.assert_allclose(tokens.vectors.detach().numpy(), np.stack(alone), atol=1e-5)

    def test_a_wrapped_model_reads_its_batch_as_queries_too(self, teacher):
        class Wrapper(torch.nn.Module):
            def __init__(self, module):
                super().__init__()
                self.module = module

            def forward(self, *args, **kwargs):
                return self.module(*args, **kwargs)

        many = as_multi_vector(teacher, 12)
        assert encode_batch(Wrapper(many), many.preprocess(TEXTS, task="query")).tokens.mask.all()

    def test_longer_queries_are_cut(self, teacher):
        many = as_multi_vector(teacher, 5)
        features = many.preprocess(TEXTS, task="query")
        assert many.tokenizer.convert_ids_to_tokens(features["input_ids"][0]) == [
            "[CLS]",
            "i",
            "drink",
            "water",
            "[SEP]",
        ]
        assert {len(rows) for rows in encode_tokens(many, TEXTS, query=True)} == {5}

    def test_it_is_kept_by_saving_and_changes_the_teacher_of_queries_only(self, teacher, tmp_path):
        plain, many = as_multi_vector(teacher), as_multi_vector(teacher, 12)
        many.save(str(tmp_path / "model"))
        again = load_encoder(tmp_path / "model", "cpu")
        assert query_width(again) == 12
        for a, b in zip(*(encode_tokens(m, TEXTS, query=True) for m in (many, again)), strict=True):
            np.testing.assert_allclose(a, b, atol=1e-5)
        assert len({fingerprint(m) for m in (plain, many, as_multi_vector(teacher, 13))}) == 3
        assert len({fingerprint(m, "document") for m in (plain, many)}) == 1
        assert fingerprint(plain) == fingerprint(plain, "document")

    def test_a_model_of_another_length_takes_the_new_one(self, teacher):
        capped = as_multi_vector(teacher)
        capped[0].query_length = 6
        assert query_width(as_multi_vector(as_multi_vector(capped, 12), 9)) == 9

    def test_a_transplanted_student_has_the_teachers_mask_token(self, teacher):
        many = as_multi_vector(teacher, 8)
        pairs = [Pair("i drink water .", "nakunywa maji"), Pair("the moon", "mwezi")]
        student = transplant(many, pairs).student
        features = student.preprocess(["mwezi"], task="query")
        assert student.tokenizer.convert_ids_to_tokens(features["input_ids"][0])[:3] == ["[CLS]", "mwezi", "[SEP]"]
        assert (features["input_ids"][0, 3:] == many.tokenizer.mask_token_id).all()

    def test_lengths_that_cannot_be(self, teacher):
        with pytest.raises(DataError, match="limit is 64 tokens; lower query_length"):
            as_multi_vector(teacher, 65)
        teacher.tokenizer.mask_token = None
        with pytest.raises(DataError, match="mask token is None"):
            as_multi_vector(teacher, 12)
