"""Documents found by their words: BM25, and queries put into English for it.

- :mod:`optical.retrieval.lexical.bm25`: BM25 by Lucene or in Python.
- :mod:`optical.retrieval.lexical.lucene`: the former.
- :mod:`optical.retrieval.lexical.translate`: queries in English, by translations or by a lexicon.
"""
