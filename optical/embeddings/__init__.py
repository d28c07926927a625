"""Vectors of a collection on disk, in shards: written one at a time and whole, read as one, never held at once.

Takes ids, texts and a function that turns texts into vectors; gives a folder and what reads it. Knows no model, no
index and no torch. A folder is::

    shard-00000/  sentences.npy (n, e)             one vector a document, or
                  tokens.npy (t, d), start.npy     one vector a token; document i has the rows start[i] to start[i + 1]
                  scales.npy                       int8 only: what a row of numbers is multiplied by
                  docid                            one id a line
                  optical.json                     counts, dimension, encoder, checksums of files and texts, loss
    shard-00001/  ...
    optical.json                                   written last: the shards that belong together

- :mod:`optical.embeddings.shard`: one shard, its precision, its files and their checks.
- :mod:`optical.embeddings.shards`: all of them as one memory-mapped array, and the collection's manifest.
- :mod:`optical.embeddings.write_shards`: a stream of documents to a folder, resumed at the shard, split over ranks.
"""
