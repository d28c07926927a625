"""Encoders, teacher and student alike: loading, reading as tokens, changing shape, saving for other programs.

- :mod:`optical.models.encoders`: find and load an encoder, and turn text into tokens or vectors.
- :mod:`optical.models.tokens`: the token matrix, pooled or compared by MaxSim.
- :mod:`optical.models.layers`: a student of fewer layers.
- :mod:`optical.models.projection`: token vectors of fewer dimensions.
- :mod:`optical.models.precision`: bfloat16 where the processor has it.
- :mod:`optical.models.onnx_export`, :mod:`optical.models.onnx_encoder`: the student as ONNX, written and run without
  torch.
- :mod:`optical.models.colbert_format`: a folder that sentence-transformers, PyLate and ColBERT load.
"""
