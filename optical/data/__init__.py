"""Text to learn from and to search: parallel sentences, collections, runs.

Readers take files, folders, hub names and ir_datasets ids, and return NamedTuples of clean strings (Unicode NFC, single
spaces) with a checksum and a count of what was skipped and why. Input that cannot be used at all raises a
:class:`~optical.errors.DataError` with the place and the remedy; a single bad line of bitext is only counted.

Bitext:

- :mod:`optical.data.bitext`: ``Pair`` and ``Bitext``; what is kept of the files, held-out splits.
- :mod:`optical.data.bitext_sources`: which files a path means, and the weights and licences of several sources.
- :mod:`optical.data.in_memory`: pairs given in Python, in lists, tables, paths, and several of these.
- :mod:`optical.data.bitext_languages`: languages and scripts of the two sides, and whether they are swapped.
- :mod:`optical.data.held_out`: pairs held out in strata of unseen words and length.
- :mod:`optical.data.bitext_formats`: a reader for each file format.
- :mod:`optical.data.bitext_download`: public bitext from the hub, written as files that ``read_bitext`` reads.
- :mod:`optical.data.dictionary`: bilingual dictionaries, of columns or of FreeDict, to words and short phrases.

Collections:

- :mod:`optical.data.records`: ``Doc``, ``Query``, ``Qrel``, and what a reader returns.
- :mod:`optical.data.collection`: ``Collection``, from any source; documents one at a time.
- :mod:`optical.data.collection_folder`, :mod:`optical.data.collection_trec`, :mod:`optical.data.collection_irds`:
  readers of folders in the usual layouts, of TREC's topics and documents, and of ir_datasets ids.
- :mod:`optical.data.document_folder`: documents alone, a folder of files or one file; by
  :mod:`optical.data.document_files` (text, Markdown, HTML, PDF), :mod:`optical.data.document_tables` (JSON lines, CSV,
  TSV, Excel) and :mod:`optical.data.document_fields`, which knows ids, titles and texts by their names.
- :mod:`optical.data.document_store`: documents by row, in memory or in a temporary file.
- :mod:`optical.data.feedback`: judgements by those who ask a served run.
- :mod:`optical.data.trec_run`: rankings, written and read as TREC runs.

Labelled pairs:

- :mod:`optical.data.labelled_pairs`: entailment, paraphrase and similarity in several languages (XNLI, PAWS-X, STS).

Text:

- :mod:`optical.data.lines`: text files line by line, plain or gzip.
- :mod:`optical.data.words`: words split, replaced and compared.
- :mod:`optical.data.word_list`, :mod:`optical.data.hunspell`: words of a language, from any text or dictionary.
- :mod:`optical.data.names`: names in English texts.
- :mod:`optical.data.spellings`: which words are alike in their letters.
"""
