"""Encoders, of teacher and student: loading them, encoding text, changing their shape, saving them for other programs.

- :mod:`optical.models.load`, :mod:`optical.models.save`: from a folder, a hub id or a package, and to a folder.
- :mod:`optical.models.hub`: whether the model hub answers, asked once.
- :mod:`optical.models.packaged_teachers`: the teachers that packages carry, one of them read by
  :mod:`optical.models.e5_package`, converted by :mod:`optical.models.e5_convert`, its characters replaced by
  :mod:`optical.models.charsmap`.
- :mod:`optical.models.towers`, :mod:`optical.models.dpr`, :mod:`optical.models.router_format`: one encoder of queries
  and another of documents, read as DPR's, and written to a folder that holds both.
- :mod:`optical.models.encoders`: turn text into tokens or vectors, by either class of encoder.
- :mod:`optical.models.tokens`: a batch of token vectors, pooled or compared by MaxSim.
- :mod:`optical.models.layers`: a student of fewer layers.
- :mod:`optical.models.projection`: token vectors of fewer dimensions.
- :mod:`optical.models.precision`: bfloat16 where the processor has it.
- :mod:`optical.models.onnx_export`, :mod:`optical.models.onnx_encoder`: the query side as ONNX, written by torch and
  run without it.
- :mod:`optical.models.colbert_format`: a folder that sentence-transformers, PyLate and Stanford's ColBERT load.
"""
