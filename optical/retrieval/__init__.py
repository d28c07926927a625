"""Searching a collection that was embedded once: answers to the question which documents come first.

Takes the vectors of queries and documents, gives for each query a list of ``(document id, score)``, best first, which
:func:`optical.data.trec_run.rank` turns into the query's entry in a run. Scores are inner products: whoever wants
cosines gives unit vectors. An answer holds at most k documents, fewer when the index has fewer, and never a document
without a score. Knows no model and no training; only BM25 reads texts.

- :mod:`optical.retrieval.dense.index`: one vector a text, a faiss index on disk.
- :mod:`optical.retrieval.dense.partitioned`: the same, of a collection too large for one index.
- :mod:`optical.retrieval.lexical.bm25`: words alone, by Lucene (:mod:`optical.retrieval.lexical.lucene`) or in Python.
- :mod:`optical.retrieval.fusion`: several rankings made into one.
- :mod:`optical.retrieval.late.maxsim`: one vector a token, exact MaxSim in memory.
"""
