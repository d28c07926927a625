"""Save an encoder as a sentence-transformers folder."""

from __future__ import annotations

from pathlib import Path

from optical.files import written_whole
from optical.models.encoders import Encoder, transformer

NOTE = "optical_weights_note"  # key of config.json: what the card has to say of the weights; students inherit it


def save_encoder(encoder: Encoder, folder: Path) -> None:
    """Save a model folder whole; an earlier one stays until then."""
    with written_whole(folder) as unfinished:
        write_encoder(encoder, unfinished)


def write_encoder(encoder: Encoder, folder: Path) -> None:
    """Write the files of a model into a folder; its README says what there is to say of the weights it began with."""
    encoder.save(str(folder))
    note = getattr(getattr(transformer(encoder).auto_model, "config", None), NOTE, "")
    card = folder / "README.md"
    text = card.read_text(encoding="utf-8") if card.is_file() else ""
    if note not in text:
        card.write_text(f"{text}\n\n## Weights\n\n{note}\n", encoding="utf-8")
