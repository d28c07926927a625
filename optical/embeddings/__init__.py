"""Texts to vectors on disk, made once: of the bitext for learning, of collections for searching.

A collection of any size is written in shards, one at a time, and read as one memory-mapped array. Its folder is::

    shard-00000/  sentences.npy (n, e)             one vector a document, or
                  tokens.npy (t, d), start.npy     one vector a token; document i has the rows start[i] to start[i + 1]
                  scales.npy                       int8 only: what a row of numbers is multiplied by
                  docid                            one id a line
                  documents.npy                    hash of each text, its tokens, whole and as read
                  optical.json                     counts, dimension, encoder, checksums of files and texts, rounding
    shard-00001/  ...
    optical.json                                   written last: the shards that belong together

- :mod:`optical.embeddings.vectors`: the value that learning and search take.
- :mod:`optical.embeddings.cache`: vectors found again by encoder and texts, or made.
- :mod:`optical.embeddings.embedded_collection`: a collection with its vectors.
- :mod:`optical.embeddings.embed`: an encoder and documents to a folder of shards; :mod:`optical.embeddings.encode` runs
  the encoder, :mod:`optical.embeddings.workers` in several processes, :mod:`optical.embeddings.write_shards` writes and
  resumes, :mod:`optical.embeddings.ranks` tells which process of a launch this is.
- :mod:`optical.embeddings.reuse`: texts that an earlier collection had, by their hashes.
- :mod:`optical.embeddings.shards`: all shards of a folder as one array; :mod:`optical.embeddings.shard`: one of them.
"""
