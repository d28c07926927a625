"""Prompts that a recipe gives a teacher."""

from __future__ import annotations

from pydantic import Field

from optical.config.section import Section


class Prompts(Section):
    """Prompts: words put before the queries and documents that the teacher, and every student of it, reads."""

    query: str | None = Field(
        default=None, description='before a query, as "query: "; "" for nothing; default what the model is saved with'
    )
    document: str | None = Field(
        default=None,
        description='before a document, as "passage: "; "" for nothing; default what the model is saved with',
    )
