"""Search: vectors or words of a question in, ``(document id, score)`` out, best first.

Scores are inner products; unit vectors make them cosines. A query gets at most k documents, fewer when the index has
fewer, and never one without a score. :func:`optical.data.trec_run.rank` turns an answer into an entry of a run.

- :mod:`optical.retrieval.search`: the door to single vectors and late interaction, with an index or without.
- :mod:`optical.retrieval.exhaustive`: compares every document; :mod:`optical.retrieval.recall`: the share of that which
  an index finds.
- :mod:`optical.retrieval.margin`: sentence pairs that are likelier paired by chance than translations.
- :mod:`optical.retrieval.hubness`: a penalty for documents that are near every question.
- :mod:`optical.retrieval.dense`: one vector a document, faiss indexes.
- :mod:`optical.retrieval.late`: one vector a token, compared by MaxSim.
- :mod:`optical.retrieval.lexical`: BM25, and translations of queries for it.
- :mod:`optical.retrieval.qdrant`, :mod:`optical.retrieval.pgvector`: the same vectors on a server.
- :mod:`optical.retrieval.fusion`: several runs made into one.
- :mod:`optical.retrieval.matches`: a passage that was found, and which words matched.
"""
