"""Search by words: BM25 on English documents, and queries translated into English for it.

- :mod:`optical.retrieval.lexical.bm25`: BM25 by Lucene or by bm25s.
- :mod:`optical.retrieval.lexical.lucene`: Lucene through Anserini's jar.
- :mod:`optical.retrieval.lexical.translate`: queries in English, from translations or word by word from a lexicon.
- :mod:`optical.retrieval.lexical.psq`: probabilistic structured queries, all translations of a word at once.
"""
