"""Attention to prompts: keys and values made once, prompts of any lengths in one call."""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping, Sequence
from typing import Any

import torch
from torch.utils.weak import WeakTensorKeyDictionary

#: Key and value, (R, heads, 77 N, C / heads) each.
_Pair = tuple[torch.Tensor, torch.Tensor]
#: Prompt -> attention of the UNet -> its pair, of one row.
_Known = MutableMapping[torch.Tensor, dict[Any, _Pair]]


class TextMemory:
    """Keys and values of prompts, each made alone, for as long as anybody has the prompt.

    They depend on nothing but the prompt, so its row's bits do not depend on the others here, and
    no step makes them anew.
    """

    def __init__(self) -> None:
        """Nothing is known yet."""
        self._known: _Known = WeakTensorKeyDictionary()
        self._last: Texts | None = None

    def texts(self, rows: Sequence[torch.Tensor]) -> Texts:
        """What is kept of the rows of the call before, if these are the same.

        Args:
            rows: (1, 77 N, C) each.
        """
        last = self._last
        if last is None or not last.are(rows):
            self._last = last = Texts(rows, self._known)
        return last


class Texts:
    """The prompts of a UNet call's rows.

    Attributes:
        rows: (1, 77 N, C) each.
        groups: places of the rows of each length.
        back: for each row, its place when the groups lie one after the other.
    """

    def __init__(self, rows: Sequence[torch.Tensor], known: _Known) -> None:
        """Nothing is made of them yet, but what is known."""
        self.rows = tuple(rows)
        by_length: dict[int, list[int]] = {}
        for place, row in enumerate(rows):
            by_length.setdefault(row.shape[1], []).append(place)
        self.groups = [torch.tensor(places) for places in by_length.values()]
        self.back = torch.cat(self.groups).argsort()
        # Not the memory, which has these: a circle would keep the model until some garbage
        # collection.
        self._known = known
        self._pairs: dict[Any, list[_Pair]] = {}

    def are(self, rows: Sequence[torch.Tensor]) -> bool:
        """Whether these are the same tensors."""
        same = zip(self.rows, rows, strict=False)
        return len(self.rows) == len(rows) and all(own is other for own, other in same)

    def pairs(self, attention: Any) -> list[_Pair]:
        """Of each group, for one of the UNet's attentions."""
        if attention not in self._pairs:
            self._pairs[attention] = list(self._together(attention))
        return self._pairs[attention]

    def _together(self, attention: Any) -> Iterator[_Pair]:
        for places in self.groups:
            pairs = [self._pair(self.rows[place], attention) for place in places]
            keys, values = zip(*pairs, strict=True)
            yield (torch.cat(keys), torch.cat(values)) if len(pairs) > 1 else pairs[0]

    def _pair(self, text: torch.Tensor, attention: Any) -> _Pair:
        own = self._known.setdefault(text, {})
        if attention not in own:
            layers = attention.to_k, attention.to_v
            key, value = (in_heads(layer(text), attention.heads) for layer in layers)
            own[attention] = key, value
        return own[attention]


def in_heads(tokens: torch.Tensor, heads: int) -> torch.Tensor:
    """(R, T, C) -> (R, heads, T, C / heads)."""
    rows, length, _ = tokens.shape
    return tokens.view(rows, length, heads, -1).transpose(1, 2)


def text_attentions(unet: Any) -> list[Any]:
    """A UNet's attentions to prompts."""
    return [m.attn2 for m in unet.modules() if getattr(m, "attn2", None) is not None]


def text_bytes(attentions: Sequence[Any]) -> int:
    """Of the keys and values of 77 tokens."""
    weights = [weight for each in attentions for weight in (each.to_k.weight, each.to_v.weight)]
    return sum(77 * len(weight) * weight.element_size() for weight in weights)
