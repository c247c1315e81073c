"""Samples of an autoregressive model, token by token with its key-value cache: the baseline."""

import torch
from jaxtyping import Int
from torch import Tensor, nn

from didi_core.diffusion.draws import Stream, draw_categorical, keyed_uniform


@torch.no_grad()
def draw_autoregressive(
    network: nn.Module,
    start_id: int,
    num_ids: int,
    records: Int[Tensor, "records"],
    length: int,
    seed: int,
) -> Int[Tensor, "records length"]:
    """Samples of a causal LM at temperature 1 from the whole distribution: no top-k, no top-p.

    Draws are exact, in float64, and keyed by record and position, so that a sample does not depend
    on its batch. The cache makes each call one token wide, and nothing waits for the device
    between calls.

    Args:
        network: a Hugging Face causal LM: `network(input_ids=..., past_key_values=...)`.
        start_id: the first token of every sample; it is given, not drawn.
        num_ids: only ids below are drawn; the network may have more outputs than its tokenizer
            has ids.
        records: key of each sample's random numbers.
        length: tokens of a sample, the first included.

    Returns:
        Ids, on the network's device, made by `length - 1` calls.
    """
    device = next(network.parameters()).device
    position = torch.arange(length, device=device)
    uniform = keyed_uniform(
        seed, Stream.TOKEN, records.to(device)[:, None], position, device=device
    )
    tokens = torch.full((len(records), length), start_id, device=device)
    cache = None
    for place in range(1, length):
        output = network(
            input_ids=tokens[:, place - 1 : place], past_key_values=cache, use_cache=True
        )
        cache = output.past_key_values
        log_probs = output.logits[:, -1, :num_ids].float().log_softmax(-1)
        tokens[:, place] = draw_categorical(log_probs, uniform[:, place])
    return tokens
