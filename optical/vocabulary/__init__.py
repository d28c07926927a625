"""Vocabulary transplant: a student with the words of X, made from a teacher and bitext before any training.

Every piece of the teacher's vocabulary stays, so names, numbers and loan words keep their vectors. Whole words of X are
added; each starts as the mean of the English pieces that it is aligned with in the bitext. A multilingual teacher has
pieces of X already, and of a hundred other languages, which are taken out.

- :mod:`optical.vocabulary.transplant`: the whole transplant, and its report.
- :mod:`optical.vocabulary.choose_words`: which words of X get a row of their own.
- :mod:`optical.vocabulary.student_tokenizer`: the student's tokenizer, from what is counted of the bitext.
- :mod:`optical.vocabulary.tokenizer`: words added to a fast tokenizer; letters of other scripts spelled in Latin.
- :mod:`optical.vocabulary.token_ids`: ids of many texts.
- :mod:`optical.vocabulary.fertility`: fertility of a tokenizer, and on sentences that it was not made from.
- :mod:`optical.vocabulary.subwords`: parts that words share, and what they say of rare and unseen words.
- :mod:`optical.vocabulary.piece_rows`: rows of such parts, fitted to the words that fall into them.
- :mod:`optical.vocabulary.dictionary_prior`: what a dictionary says of words that the bitext lacks or has seldom.
- :mod:`optical.vocabulary.name_prefixes`: names read without the prefixes that a language puts before them.
- :mod:`optical.vocabulary.unseen`: rows composed for words that the bitext never had;
  :mod:`optical.vocabulary.listed_words`: those of a list, as tokens.
- :mod:`optical.vocabulary.trim`: a multilingual teacher without the pieces of other languages.

Word alignment, from sentence pairs to a table of translation probabilities:

- :mod:`optical.vocabulary.cooccurrence`: which tokens occur in the same sentence pair.
- :mod:`optical.vocabulary.align_ibm1`, :mod:`optical.vocabulary.align_symmetric`,
  :mod:`optical.vocabulary.align_transport`: IBM model 1; both directions of it trained to agree; optimal transport.
- :mod:`optical.vocabulary.translation_table`: what each of them returns.
- :mod:`optical.vocabulary.word_links`: how probably two words of a sentence pair translate each other.
- :mod:`optical.vocabulary.rows`: embedding rows of new words, mixed by such a table.
- :mod:`optical.vocabulary.lexicon`: translations of single words, for queries and for training sentences.
- :mod:`optical.vocabulary.line_shifts`: lines of bitext whose translation stands elsewhere, by
  :mod:`optical.vocabulary.line_similarity`, the words of a line and of those around it.
"""
