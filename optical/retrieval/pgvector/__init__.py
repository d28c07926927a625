"""Documents in PostgreSQL with pgvector: texts, metadata and one vector each, in one table, with the same answers.

A table is written in one transaction, by what has changed since it was written last; whoever searches it meanwhile
finds what was there before. Late interaction has many vectors a document, for which Qdrant is the place.

- :mod:`optical.retrieval.pgvector.table`: which table of which database, and one message for what goes wrong there.
- :mod:`optical.retrieval.pgvector.write`: documents with their vectors, written to it.
- :mod:`optical.retrieval.pgvector.search`: one question, as a vector.

Which vectors a run writes, and who asks, is in :mod:`optical.pipeline.pgvector`.
"""
