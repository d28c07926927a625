"""Requests and answers as ``/openapi.json`` describes them."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

MOST = 100  # passages of an answer, at most
MOST_QUESTIONS = 32  # of a batch


class Word(BaseModel):
    """A word and its place, in characters (Unicode code points)."""

    start: int
    end: int
    text: str


class PassageWord(Word):
    """A word of a passage."""

    field: Literal["title", "text"]


class WordMatch(BaseModel):
    """A word of the question and the word of the passage that is nearest to it (late interaction)."""

    query: Word
    passage: PassageWord
    similarity: float


class Passage(BaseModel):
    """A passage that was found."""

    id: str
    title: str
    text: str
    metadata: dict[str, Any] = Field(description="What else the collection says of it: its url, say.")
    score: float = Field(description="A cosine, less a penalty where documents have one; a sum of MaxSim otherwise.")
    matches: list[WordMatch] = Field(description="Empty for single vectors and servers of documents.")


class UnseenWord(Word):
    """A word of the question that the student never saw."""

    like: list[str] = Field(description="The words that it is read as, the nearest first; empty: by its pieces.")


class Words(BaseModel):
    """The words of the question."""

    count: int
    unseen: list[UnseenWord]


class Found(BaseModel):
    """Passages for one question, best first."""

    query: str
    words: Words | None = Field(description="null where the student does not tell unseen words from others.")
    results: list[Passage]


class SearchAnswer(Found):
    """Passages for one question, and how long that took."""

    language: str
    seconds: float = Field(description="Of the model and the search, without waiting.")


class Questions(BaseModel):
    """Several questions at once."""

    model_config = ConfigDict(extra="forbid")
    questions: list[str] = Field(min_length=1, max_length=MOST_QUESTIONS)
    k: int = Field(default=5, ge=1, le=MOST, description="How many passages for each.")


class BatchAnswer(BaseModel):
    """Answers in the order of the questions."""

    language: str
    seconds: float = Field(description="Of the model and the search for all of them, without waiting.")
    answers: list[Found]


class Judgement(BaseModel):
    """Whether a passage answers a question, as somebody who asked it says."""

    model_config = ConfigDict(extra="forbid")
    query: str
    id: str = Field(description="Of the passage.")
    lang: str | None = Field(default=None, description="Of the question; needed where the run has several languages.")
    relevance: Literal[1, 0] | None = Field(description="1: it answers; 0: it does not; null: taken back.")


class Kept(BaseModel):
    """A judgement was kept."""

    kept: bool


class Fault(BaseModel):
    """An error, in one sentence."""

    error: str
