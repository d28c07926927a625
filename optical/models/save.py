"""Save an encoder as a sentence-transformers folder."""

from __future__ import annotations

import json
from pathlib import Path

from optical.files import written_whole
from optical.models.composing import query_words
from optical.models.encoders import Encoder
from optical.progress import quiet_libraries

NOTE = "optical_weights_note"  # key of config.json: what the card has to say of the weights; students inherit it


def save_encoder(encoder: Encoder, folder: Path) -> None:
    """Save a model folder whole; an earlier one stays until then."""
    with written_whole(folder) as unfinished:
        write_encoder(encoder, unfinished)


@quiet_libraries()
def write_encoder(encoder: Encoder, folder: Path) -> None:
    """Write the files of a model into a folder; its README says what there is to say of the weights it began with."""
    backend = getattr(encoder.tokenizer, "backend_tokenizer", None)
    if backend is not None:  # it keeps padding and truncation of its last call, which are nothing of the model's
        backend.no_truncation()
        backend.no_padding()
    encoder.save(str(folder))
    words = query_words(encoder)
    if words is not None:
        words.seen.write(folder)
    networks = (module.auto_model for module in encoder.modules() if hasattr(module, "auto_model"))
    notes = {getattr(getattr(network, "config", None), NOTE, "") for network in networks}
    card = folder / "README.md"
    for note in sorted(notes):
        text = card.read_text(encoding="utf-8") if card.is_file() else ""
        if note not in text:
            card.write_text(f"{text}\n\n## Weights\n\n{note}\n", encoding="utf-8")


def notes_of(folder: Path) -> list[str]:
    """Notes on the weights of a saved model, from the configurations of its networks."""
    found = (json.loads(file.read_text(encoding="utf-8")).get(NOTE) for file in sorted(folder.rglob("config.json")))
    return sorted({note for note in found if note})
