"""Options of the words of X: which of them get a row in the student's tokenizer, and how."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from optical.config.kinds import PathText
from optical.config.section import Section


class Vocabulary(Section):
    """Options of the transplant (:func:`optical.vocabulary.transplant.transplant`)."""

    mode: Literal["extend", "replace", "trim", "trim+extend", "auto", "off"] = Field(
        default="auto",
        description="extend keeps the teacher's pieces and adds words, replace learns other pieces, trim keeps the "
        "pieces in use (multilingual teacher), trim+extend adds words to these, off changes nothing; auto is extend, "
        "and for a multilingual tokenizer that reads X trim, or trim+extend where held-out sentences show that to be "
        "better",
    )
    min_count: int = Field(
        default=1,
        ge=1,
        description="least occurrences of a word of X that gets a row (extend), or of a longer piece that stays (trim)",
    )
    max_words: int = Field(default=100_000, ge=1, description="most words added")
    size: int = Field(default=16_000, ge=100, description="vocabulary size, mode replace only")
    piece_types: int = Field(
        default=2,
        ge=0,
        description="words that share a beginning which becomes a piece, WordPiece only; 0 adds no pieces",
    )
    lean: float = Field(
        default=1.0, ge=0, description="occurrences a word needs before they outweigh the parts it shares with others"
    )
    romanise: bool = Field(
        default=True, description="spell letters that the teacher cannot read in Latin, outside added words"
    )
    prefixes: bool = Field(
        default=True,
        description="read names without the prefixes that X puts before their capital (Zulu eNigeria), where the "
        "bitext shows it (extend)",
    )
    alignment: Literal["ibm1", "symmetric", "ot"] = Field(
        default="ibm1",
        description="of words and pieces: ibm1 (IBM model 1), symmetric (IBM models 1 of both directions, agreed), ot "
        "(transport on co-occurrence)",
    )
    lexicon: PathText | None = Field(
        default=None,
        description="dictionary of English and X, {lang} in it for each language: .tsv (English<TAB>X), FreeDict's "
        ".index or .dict.dz, or a folder; extend only: words that the bitext lacks get a row by it, rare ones lean on "
        "it in the alignment",
    )
    lexicon_weight: float = Field(
        default=3.0, gt=0, description="occurrences that the translations of a word in the lexicon are worth"
    )
    compose: Literal["auto", "on", "off"] = Field(
        default="auto",
        description="a word that the bitext lacks gets one row, mixed from those of the words most alike in spelling, "
        "in place of the teacher's pieces (extend): on, off, or auto, by the development score",
    )
    words: PathText | None = Field(
        default=None,
        description="word list, Hunspell .dic, folder of documents or query log in X, {lang} in it for each language: "
        "its words that the bitext lacks get composed rows in the tokenizer",
    )
    words_from_collection: bool = Field(
        default=False, description="the same of the words of the collection's documents, where they are in X"
    )
    words_min_count: int = Field(
        default=1, ge=1, description="least occurrences, in the list, of a word that gets a row from it"
    )
    max_listed: int = Field(default=50_000, ge=1, description="most words that get a row from the list")
    rows: Literal["aligned", "random"] = Field(
        default="aligned", description="embeddings of new words: aligned (mixed by alignment) or random (ablation)"
    )
