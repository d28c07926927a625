"""Cards of saved models: what is to be said of the weights is said once, and inherited."""

from __future__ import annotations

from optical.models.load import load_encoder
from optical.models.save import NOTE, save_encoder
from tests.conftest import bert


def test_the_note_of_the_first_model_is_on_every_card_once(tmp_path):
    encoder = bert(tmp_path / "made")
    setattr(encoder[0].auto_model.config, NOTE, "These weights have 4 bits.")
    save_encoder(encoder, tmp_path / "a")
    save_encoder(load_encoder(tmp_path / "a", "cpu"), tmp_path / "b")
    for name in ("a", "b"):
        card = (tmp_path / name / "README.md").read_text(encoding="utf-8")
        assert card.startswith("---")
        assert card.count("These weights have 4 bits.") == 1


def test_a_card_without_a_note_is_left_as_it_is(tmp_path):
    encoder = bert(tmp_path / "made")
    encoder.save(str(tmp_path / "plain"))
    save_encoder(encoder, tmp_path / "saved")
    assert (tmp_path / "saved" / "README.md").read_bytes() == (tmp_path / "plain" / "README.md").read_bytes()


def test_what_a_tokenizer_was_last_asked_is_not_saved(tmp_path):
    encoder = bert(tmp_path / "made")
    for name, ask in (("a", {}), ("b", {"truncation": True, "max_length": 5}), ("c", {"padding": True})):
        encoder.tokenizer(["the cow gives milk ."], **ask)
        save_encoder(encoder, tmp_path / name)
    saved = {(tmp_path / name / "tokenizer.json").read_text(encoding="utf-8") for name in "abc"}
    assert len(saved) == 1
