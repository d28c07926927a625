"""Read a DPR checkpoint of transformers, which sentence-transformers does not load, as an encoder.

Question and context encoders are a BERT each, whose vector of a text is that of [CLS], projected where the model was
trained so (Karpukhin et al. 2020).
"""

from __future__ import annotations

from collections.abc import Mapping
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

_PARTS = {"DPRQuestionEncoder": "question_encoder", "DPRContextEncoder": "ctx_encoder"}  # architecture -> its encoder


def is_dpr(config: Mapping[str, Any]) -> bool:
    """Whether a configuration is of one of DPR's two encoders."""
    return (config.get("architectures") or [""])[0] in _PARTS


def load_dpr(name: str, config: Mapping[str, Any], device: str | None = None) -> SentenceTransformer:
    """Load an encoder of DPR.

    Args:
        name: A folder or hub id.
        config: Its configuration, for which :func:`is_dpr`.
        device: Where to; None for what torch finds.
    """
    import transformers
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.base.modules import Dense, Transformer
    from sentence_transformers.sentence_transformer.modules import Pooling

    (architecture,) = config["architectures"]
    read = getattr(getattr(transformers, architecture).from_pretrained(name), _PARTS[architecture])
    settings = {key: value for key, value in read.bert_model.config.to_diff_dict().items() if key != "model_type"}
    bert = transformers.BertModel(transformers.BertConfig(**settings), add_pooling_layer=False)
    bert.load_state_dict(read.bert_model.state_dict())
    with TemporaryDirectory() as folder:
        bert.save_pretrained(folder)
        transformers.AutoTokenizer.from_pretrained(name).save_pretrained(folder)
        modules: list[Any] = [Transformer(folder), Pooling(bert.config.hidden_size, "cls")]
    if read.projection_dim:
        dense = Dense(bert.config.hidden_size, read.projection_dim, activation_function=torch.nn.Identity())
        dense.linear.load_state_dict(read.encode_proj.state_dict())
        modules.append(dense)
    return SentenceTransformer(modules=modules, device=device)
