"""Vocabulary transplant: the words of X, added to the teacher's tokenizer with embeddings that mean what they mean.

Takes a teacher and bitext, gives a student that answers queries in X before any training. Every piece of the teacher's
vocabulary stays, so names, numbers and loans keep their vectors; whole words of X are added, and the embedding of each
starts as the mean of the English pieces it is aligned with in the bitext. A multilingual teacher has pieces of X
already, and of a hundred other languages: those go. Knows tokenizers and embedding matrices; knows no objective, no
trainer and no index.

- :mod:`optical.vocabulary.choose_words`: which words of X are worth a row of their own.
- :mod:`optical.vocabulary.cooccurrence`: which pieces and words stand in one sentence pair.
- :mod:`optical.vocabulary.align_ibm1`: which English pieces a word of X means (IBM model 1), and rows mixed from them.
- :mod:`optical.vocabulary.align_symmetric`: the same by two models that agree;
  :mod:`optical.vocabulary.align_transport`: by transport between the vocabularies.
- :mod:`optical.vocabulary.subwords`: which parts words share, and what the parts mean for rare and unseen words.
- :mod:`optical.vocabulary.tokenizer`: an ordinary fast tokenizer that knows those words; other scripts romanised.
- :mod:`optical.vocabulary.transplant`: the four steps in order, and the report.
- :mod:`optical.vocabulary.trim`: for teachers that read X already, which of their pieces stay.
- :mod:`optical.training.word_dropout`: for training, a tokenization in which some added words fall apart.
"""
