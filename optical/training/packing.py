"""Train without padding: the real tokens of a batch as one row, and as a padded batch in attention alone.

Word dropout makes some sentences of a batch longer than the rest, so that a fifth of it was padding although the batch
is of one length. Nearly all work of an encoder is done token by token, and is left out for padding here; attention is a
twentieth of it. (Unpadding, as Zeng et al. 2022, arXiv 2208.08124, section 3, do for BERT.)
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from optical.models.encoders import Encoder, is_multi_vector, transformer

NAME = "optical_packed"  # of the attention, among those of transformers
SAME = 1e-4  # largest difference of vectors, packed and padded, in units of their largest number


class Layout(NamedTuple):
    """Where the tokens of a packed row stand in the padded batch.

    Attributes:
        at: Place of each real token in the flattened batch, ``(t,)``.
        mask: Which places of the batch are real, ``(b, n)``.
    """

    at: Tensor
    mask: Tensor

    def packed(self, batch: Tensor) -> Tensor:
        """The real tokens, ``(1, t, ...)``, of a batch ``(b, n, ...)``."""
        return batch.flatten(0, 1).index_select(0, self.at).unsqueeze(0)

    def padded(self, row: Tensor) -> Tensor:
        """A batch ``(b, n, ...)`` of the packed tokens ``(1, t, ...)``; 0 where it is padding."""
        empty = row.new_zeros(self.mask.numel(), *row.shape[2:])
        return empty.index_copy(0, self.at, row[0]).unflatten(0, self.mask.shape)


@contextlib.contextmanager
def packed(encoder: Encoder) -> Iterator[None]:
    """Let an encoder work on real tokens alone in training mode, while open.

    With the first batch that has padding both ways are compared; an encoder that does not give the same packed (one
    whose attention is not that of transformers, or knows positions otherwise) goes on padded. Encoders of several
    vectors stay padded too: some read what their mask leaves out.
    """
    model = transformer(encoder).auto_model
    if is_multi_vector(encoder) or encoder.device.type != "cpu" or not hasattr(model, "config"):
        yield
        return
    model.forward = _Packing(model)
    try:
        yield
    finally:
        del model.forward


class _Packing:
    """The forward pass of a transformer that packs its batch where it can."""

    def __init__(self, model: nn.Module) -> None:
        self.model: Any = model
        self.forward = model.forward
        self.first: int | None = None  # position of the first token
        self.tried = False
        _register()

    def __call__(self, input_ids: Tensor | None = None, attention_mask: Tensor | None = None, **given: Any) -> Any:
        plain = given.keys() <= {"inputs_embeds", "token_type_ids", "return_dict"}
        if not self.model.training or not plain or attention_mask is None or bool(attention_mask.all()):
            return self.forward(input_ids=input_ids, attention_mask=attention_mask, **given)
        embedded = given.pop("inputs_embeds", None)
        if embedded is None:
            embedded = self.model.get_input_embeddings()(input_ids)
        if not self.tried:
            self.tried, self.first = True, self._try(embedded.detach(), attention_mask, given)
        if self.first is None:
            return self.forward(inputs_embeds=embedded, attention_mask=attention_mask, **given)
        return self._packed(embedded, attention_mask, given, self.first)

    def _packed(self, embedded: Tensor, mask: Tensor, given: dict[str, Any], first: int) -> Any:
        real = mask.bool()
        layout = Layout(real.flatten().nonzero().squeeze(1), real)
        positions = layout.packed(real.long().cumsum(dim=1)) - 1 + first
        own = {name: layout.packed(value) if isinstance(value, Tensor) else value for name, value in given.items()}
        config = self.model.config
        before, config._attn_implementation = config._attn_implementation, NAME
        try:
            output = self.forward(inputs_embeds=layout.packed(embedded), position_ids=positions, layout=layout, **own)
        finally:
            config._attn_implementation = before
        output.last_hidden_state = layout.padded(output.last_hidden_state)
        if getattr(self.model, "pooler", None) is not None:  # it reads the first token of each row
            output.pooler_output = self.model.pooler(output.last_hidden_state)
        return output

    @torch.no_grad()
    def _try(self, embedded: Tensor, mask: Tensor, given: dict[str, Any]) -> int | None:
        """Return the position of the first token with which a packed batch is as a padded one; None without one."""
        embedded = embedded.to(next(self.model.parameters()).dtype)
        padding = getattr(self.model.config, "pad_token_id", None)
        self.model.eval()
        try:
            with torch.autocast("cpu", enabled=False):
                wanted = self.forward(inputs_embeds=embedded, attention_mask=mask, **given).last_hidden_state
                for first in (0, 1 + (padding or 0)):  # RoBERTa counts from behind the padding
                    try:
                        found = self._packed(embedded, mask, given, first).last_hidden_state
                    except (TypeError, KeyError, IndexError, ValueError, RuntimeError):
                        continue
                    difference = (found - wanted)[mask.bool()].abs().max()
                    if bool(difference <= SAME * wanted.abs().max()):
                        return first
        finally:
            self.model.train()
        return None


def _attention(
    module: nn.Module, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None, **options: Any
) -> tuple[Tensor, None]:
    """Attention of packed tokens ``(1, h, t, e)``, each to those of its own sentence, as transformers calls it."""
    layout: Layout = options["layout"]
    q, k, v = (layout.padded(one.transpose(1, 2)).transpose(1, 2) for one in (query, key, value))  # (b, h, n, e)
    weights = (q @ k.transpose(-1, -2)) * options["scaling"]  # (b, h, n, n)
    weights = weights.masked_fill(~layout.mask[:, None, None, :], -torch.inf).softmax(dim=-1)
    weights = nn.functional.dropout(weights, options.get("dropout", 0.0), module.training)
    return layout.packed((weights.to(v.dtype) @ v).transpose(1, 2)), None


def _register() -> None:
    from transformers import AttentionInterface, AttentionMaskInterface

    AttentionInterface.register(NAME, _attention)
    AttentionMaskInterface.register(NAME, lambda *_, **__: None)
