"""Prompts that a recipe gives an encoder."""

from __future__ import annotations

from pydantic import Field

from optical.config.section import Section


class Prompts(Section):
    """Prompts: words put before the queries and documents that an encoder, and every student made of it, reads."""

    query: str | None = Field(
        default=None, description='before a query, as "query: "; "" for nothing; default what the model is saved with'
    )
    document: str | None = Field(
        default=None,
        description='before a document, as "passage: "; "" for nothing; default what the model is saved with',
    )
