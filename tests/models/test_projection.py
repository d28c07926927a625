"""The projection keeps what MaxSim compares: best of its rank, and an ordinary module when saved."""

from __future__ import annotations

import pytest
import torch

from optical.errors import RecipeError
from optical.models import encoders
from optical.models.load import load_encoder
from optical.models.projection import principal_directions, projected
from tests.conftest import ENGLISH

TEXTS = [*ENGLISH.split(" . "), "rice"]


@pytest.fixture
def vectors():
    """Unit vectors of very unequal spread, not centred, in double precision."""
    made = torch.randn(300, 12, dtype=torch.float64) * torch.logspace(1, -2, 12, dtype=torch.float64) + 0.5
    return torch.nn.functional.normalize(made, dim=-1)


def loss_of(directions, vectors):
    small = vectors @ directions.T
    return float((small @ small.T - vectors @ vectors.T).pow(2).sum())


def test_the_directions_are_orthonormal(vectors):
    directions = principal_directions(vectors, 5)
    assert directions.shape == (5, 12)
    torch.testing.assert_close(directions @ directions.T, torch.eye(5, dtype=torch.float64), rtol=1e-6, atol=1e-12)


def test_all_directions_change_no_dot_product(vectors):
    assert loss_of(principal_directions(vectors, 12), vectors) < 1e-18


def test_what_is_lost_is_what_eckart_and_young_say(vectors):
    singular = torch.linalg.svdvals(vectors)
    for k in (1, 4, 11):
        lost = float(singular[k:].pow(4).sum())  # of the Gram matrix, whose singular values are squares
        assert loss_of(principal_directions(vectors, k), vectors) == pytest.approx(lost, rel=1e-6)


def test_no_other_directions_lose_less(vectors):
    best = loss_of(principal_directions(vectors, 4), vectors)
    for _ in range(20):
        other = torch.linalg.qr(torch.randn(12, 4, dtype=torch.float64))[0].T
        assert loss_of(other, vectors) > best


def test_the_first_directions_are_those_of_a_smaller_projection(vectors):
    few, many = principal_directions(vectors, 3), principal_directions(vectors, 7)
    torch.testing.assert_close(few, many[:3], rtol=1e-6, atol=1e-12)


@pytest.mark.parametrize("dimension", [0, 13])
def test_a_dimension_out_of_range_is_one_message(vectors, dimension):
    with pytest.raises(
        RecipeError, match=f"got dimension = {dimension} for vectors of 12; set dimension to 12 or less"
    ):
        principal_directions(vectors, dimension)


def scores(encoder):
    queries = encoders.encode_tokens(encoder, TEXTS[:3], query=True)
    documents = encoders.encode_tokens(encoder, TEXTS, query=False)
    return torch.tensor([[float((q @ d.T).max(axis=1).sum()) for d in documents] for q in queries])


def test_tokens_are_unit_vectors_of_the_dimension_and_full_rank_is_the_raw_encoder(teacher):
    small, whole = projected(teacher, TEXTS, 8), projected(teacher, TEXTS, 32)
    rows = encoders.encode_tokens(small, TEXTS, query=False)
    assert {row.shape[1] for row in rows} == {8}
    assert all(abs((row**2).sum(axis=1) - 1).max() < 1e-5 for row in rows)
    torch.testing.assert_close(scores(whole), scores(encoders.as_multi_vector(teacher)), rtol=1e-4, atol=1e-4)


def test_the_encoder_that_was_given_stays(teacher):
    before = encoders.fingerprint(teacher)
    made = projected(teacher, TEXTS, 8)
    with torch.no_grad():
        next(made.parameters()).zero_()
    assert encoders.fingerprint(teacher) == before
    assert len(teacher) == 3


def test_saved_it_is_read_by_us_and_by_the_library_alone(teacher, tmp_path):
    from sentence_transformers import MultiVectorEncoder

    made = projected(teacher, TEXTS, 8)
    made.save(str(tmp_path / "saved"))
    for read in (load_encoder(tmp_path / "saved", "cpu"), MultiVectorEncoder(str(tmp_path / "saved"), device="cpu")):
        torch.testing.assert_close(scores(read), scores(made), rtol=1e-5, atol=1e-5)


def test_what_objectives_see_are_the_projected_tokens(teacher):
    made = projected(teacher, TEXTS, 8)
    encoded = encoders.encode_batch(made, made.preprocess(TEXTS[:2], task="query"), task="query")
    assert encoded.tokens.vectors.shape[-1] == 8
    assert encoded.sentence.shape == (2, 8)
