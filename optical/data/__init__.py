"""Text as the other rooms want it: pairs of sentences to learn from, collections to search.

Takes files, folders, hub names and ir_datasets ids; gives NamedTuples of clean strings (Unicode NFC, single spaces)
that carry what was skipped and why, and a checksum. What cannot be used at all stops with a
:class:`~optical.errors.DataError` that names the place and the remedy; a single bad line of bitext is counted. Knows no
model, no tokenizer and no measure, and never imports torch.

- :mod:`optical.data.bitext`: ``Pair`` and ``Bitext``; which files a path means, what is kept of them, held-out splits.
- :mod:`optical.data.bitext_formats`: one reader for each file format, each giving rows with line numbers.
- :mod:`optical.data.bitext_download`: public bitext from the hub, written as files that ``bitext`` reads.
- :mod:`optical.data.records`: ``Doc``, ``Query``, ``Qrel``, and what a reader gives of a collection.
- :mod:`optical.data.collection_folder`, :mod:`optical.data.collection_trec`, :mod:`optical.data.collection_irds`:
  readers of folders in the usual layouts, of TREC's topics and documents, and of ir_datasets ids.
- :mod:`optical.data.document_store`: documents at random, in memory or in a temporary file.
- :mod:`optical.data.collection`: ``Collection``, from any of these; documents one at a time.
"""
