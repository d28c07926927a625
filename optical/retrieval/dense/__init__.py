"""One vector a document, searched by faiss: an index on disk in the layout of pyserini's ``FaissSearcher``.

- :mod:`optical.retrieval.dense.index`: one faiss index, built, loaded and searched; its names are exported here.
- :mod:`optical.retrieval.dense.factory`: which kind of index suits how many documents, and how it is trained.
- :mod:`optical.retrieval.dense.penalised`: a penalty for each document, one more dimension of its vector.
- :mod:`optical.retrieval.dense.partitioned`: build and open an index of any size, in one part or in several.
"""

from optical.retrieval.dense.index import (
    MANIFEST,
    DenseIndex,
    Nearest,
    build,
    check_documents,
    check_teacher,
    load,
    nearest,
    read_manifest,
    search,
    write_manifest,
    writing,
)

__all__ = [
    "MANIFEST", "DenseIndex", "Nearest", "build", "check_documents", "check_teacher", "load",
    "nearest", "read_manifest", "search", "write_manifest", "writing",
]  # fmt: skip
