"""Save an encoder as a sentence-transformers folder."""

from __future__ import annotations

from pathlib import Path

from optical.files import written_whole
from optical.models.encoders import Encoder


def save_encoder(encoder: Encoder, folder: Path) -> None:
    """Save a model folder whole; an earlier one stays until then."""
    with written_whole(folder) as unfinished:
        encoder.save(str(unfinished))
