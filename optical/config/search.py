"""Options of retrieval and measures: indexes, precision, BM25, fusion."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from optical.config.kinds import PathText, Split
from optical.config.section import Section


class Search(Section):
    """Options of indexing, search and evaluation."""

    depth: int = Field(default=1000, ge=1, description="documents retrieved for a query")
    factory: str = Field(
        default="auto",
        pattern=r"^[\w,.:()+-]{1,200}$",
        description="faiss index, single vectors only, as Flat, HNSW32 or IVF1024,SQ8; auto by size",
    )
    index_size: int | None = Field(
        default=None,
        ge=1,
        description="documents of one faiss index, single vectors only; a larger collection becomes several, searched "
        "as one; default 50,000,000",
    )
    mapped: bool = Field(
        default=False, description="single vectors: leave the index on disk, which opens at once and is read as needed"
    )
    shard_size: int | None = Field(
        default=None, ge=1, description="documents of a shard on disk; default 50,000, late interaction 10,000"
    )
    late_index: Literal["auto", "on", "off"] = Field(
        default="auto",
        description="late interaction: on looks in lists of tokens, then takes exact MaxSim of what they propose; off "
        "compares all; auto is off below 10,000 documents",
    )
    late_precision: Literal["int8", "float16", "int4"] = Field(
        default="int8",
        description="late index: tokens are stored as int8, float16 or int4, which takes half the disk of int8 and "
        "finds a little less",
    )
    pool_factor: float = Field(
        default=1.0, ge=1, description="late index: a document keeps about one token in so many, means of similar ones"
    )
    probe: int | None = Field(
        default=None,
        ge=1,
        description="clusters (IVF), or lists for each query token, that a query visits; default by the number of "
        "clusters, 16 lists",
    )
    candidates: int | None = Field(
        default=None,
        ge=1,
        description="late index: documents that are scored exactly; default 200 + 3 * depth, or fewer",
    )
    precision: Literal["auto", "float32", "float16", "int8"] = Field(
        default="auto",
        description="of the documents' vectors on disk: float32, float16 or int8; auto is float32 for single vectors, "
        "float16 for tokens",
    )
    compute: Literal["auto", "float32", "bfloat16"] = Field(
        default="float32",
        description="documents are encoded in float32, or in bfloat16: faster on a GPU or processor that has it; auto "
        "takes the faster by a probe of a second, if its vectors are near those of float32",
    )
    passages: Literal["auto", "off"] | Annotated[int, Field(ge=16)] = Field(
        default="off",
        description="documents of more tokens than the encoder reads (auto), or than a number, are split at sentences; "
        "passages are searched, documents answered by their best one; off cuts them",
    )
    hubness: Literal["auto", "none", "csls", "sinkhorn", "centre"] = Field(
        default="none",
        description="single vectors: take off a document's scores how near it is to every question of a bank from the "
        "bitext: to its 10 nearest (csls), to the mean (centre), or by transport (sinkhorn); none takes nothing off, "
        "auto what the development score gains by",
    )
    hubness_bank: int = Field(
        default=500, ge=20, description="most questions of the bank, for each language; sentences where they are few"
    )
    bm25: Literal["auto", "lucene", "bm25s", "off"] = Field(
        default="auto", description="baseline on words: lucene (needs Java 21), bm25s or off; auto takes what is there"
    )
    translations: PathText | None = Field(
        default=None,
        description="file of the queries in English, id<TAB>text, {lang} in it for each language; BM25 only",
    )
    fusion: Literal["auto", "off", "reciprocal", "min-max", "z-score"] = Field(
        default="auto",
        description="student and BM25 as one more row: by ranks (reciprocal), by scores (min-max, z-score), or off; "
        "auto is what is best on judgements called dev, reciprocal where there are none",
    )
    bm25_weight: float = Field(
        default=0.5, ge=0, le=1, description="of BM25 in fusion by scores; the student has the rest"
    )
    split: Split = Field(default="test", description="judgements that the table reports")
