"""Its attention is scaled as in the paper; in the code of MFF-Metal's table it is not."""

import torch
from torch.testing import assert_close

from ml.networks.transunet import _Attention

CHANNELS, HEADS, TOKENS = 512, 4, 20


def _attended(attention, tokens, *, scale):
    """The formula written out, with softmax(scale * query key^T).  Returns the answer and the weights."""
    query, key, value = attention.ask(tokens).chunk(3, dim=-1)
    met, weights = [], []
    for head in range(HEADS):
        part = slice(head * CHANNELS // HEADS, (head + 1) * CHANNELS // HEADS)
        weights.append((scale * query[..., part] @ key[..., part].mT).softmax(dim=-1))
        met.append(weights[-1] @ value[..., part])
    return attention.answer(torch.cat(met, dim=-1)), torch.stack(weights)


def test_queries_meet_keys_divided_by_the_root_of_their_length():
    torch.manual_seed(0)
    attention, tokens = _Attention(CHANNELS, HEADS), torch.randn(2, TOKENS, CHANNELS)

    expected, _ = _attended(attention, tokens, scale=(CHANNELS / HEADS) ** -0.5)

    assert_close(attention(tokens), expected)


def test_multiplied_by_it_as_released_a_token_listens_to_a_single_other():
    torch.manual_seed(0)
    attention, tokens = _Attention(CHANNELS, HEADS), torch.randn(2, TOKENS, CHANNELS)

    _, right = _attended(attention, tokens, scale=(CHANNELS / HEADS) ** -0.5)
    _, released = _attended(attention, tokens, scale=(CHANNELS / HEADS) ** 0.5)

    assert float(right.amax(dim=-1).mean().detach()) < 0.2
    assert float(released.amax(dim=-1).mean().detach()) > 0.9
