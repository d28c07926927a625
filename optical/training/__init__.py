"""Training: bitext and a teacher in, a student out; judged passages and an encoder in, a teacher out.

- :mod:`optical.training.distillation`: makes a student of a teacher, from :mod:`optical.training.start`;
  :mod:`optical.training.mixture` draws the pairs of several languages, and :mod:`optical.training.distillation_loss`
  weighs the objectives of :mod:`optical.training.losses`; :mod:`optical.training.plan_terms` gives plans their masses
  and their prior.
- :mod:`optical.training.teacher`: teaches an English encoder; :mod:`optical.training.teacher_data` divides a judged
  collection, and :mod:`optical.training.hard_negatives` mines its wrong passages.
- :mod:`optical.training.pair_classifier`: an encoder with a new head, fine-tuned to classify sentence pairs;
  :mod:`optical.training.robust_classifier`: on perturbed pairs too.
- :mod:`optical.training.trainer`: the loop of both, with :mod:`optical.training.callbacks`,
  :mod:`optical.training.checkpoints`, :mod:`optical.training.choice` (what becomes the student),
  :mod:`optical.training.batches`, :mod:`optical.training.packing` and :mod:`optical.training.memory`;
  :mod:`optical.training.embedding_rows` says how a student's rows are trained, by :mod:`optical.training.row_adam`
  where it can.
- :mod:`optical.training.adversarial`, :mod:`optical.training.smoothing`: shifted embeddings to train on, the worst or a
  random one; :mod:`optical.training.robust`: the loss on them.
- :mod:`optical.training.augmentation`, :mod:`optical.training.word_dropout`: texts and tokens changed while training.
- :mod:`optical.training.unseen`: whether a student composes the rows of unseen words.
"""
