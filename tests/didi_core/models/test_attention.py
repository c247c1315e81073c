"""One attention entry point: against softmax written out, and padding that never matters."""

import math

import pytest
import torch
from torch import Tensor

from didi_core.data.batches import padding_mask
from didi_core.models.attention import _attend_plain, attend, attention_backend
from didi_core.models.packed_attention import is_installed

LENGTHS = torch.tensor([7, 3, 1])


def states(dtype: torch.dtype = torch.float64, device: str = "cpu") -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    drawn = torch.randn(3, 3, 2, 7, 8, generator=generator, dtype=torch.float64)
    return [part.to(device=device, dtype=dtype) for part in drawn]


def written_out(query: Tensor, key: Tensor, value: Tensor, scale: float | None = None) -> Tensor:
    """Attention over all positions of one row and head."""
    scale = 1 / math.sqrt(query.shape[-1]) if scale is None else scale
    rows = []
    for one in query:
        weights = [math.exp(scale * float(one @ other)) for other in key]
        rows.append(sum(w * v for w, v in zip(weights, value, strict=True)) / sum(weights))
    return torch.stack(rows)


@pytest.mark.parametrize("scale", [None, 0.5])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-9), (torch.bfloat16, 3e-2)])
def test_attention_is_a_softmax_over_real_tokens(
    scale: float | None, dtype: torch.dtype, tolerance: float
) -> None:
    query, key, value = states(dtype)
    found = attend(query, key, value, padding_mask(LENGTHS, 7), scale).double()
    for row, length in enumerate(LENGTHS.tolist()):
        for head in range(2):
            parts = (part[row, head, :length].double() for part in (query, key, value))
            torch.testing.assert_close(
                found[row, head, :length], written_out(*parts, scale), rtol=0, atol=tolerance
            )


def test_backends_agree() -> None:
    query, key, value = states()
    for keep in (padding_mask(LENGTHS, 7), None):
        plain = _attend_plain(query, key, value, keep, None)
        torch.testing.assert_close(plain, attend(query, key, value, keep), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_what_stands_in_padding_does_not_matter(dtype: torch.dtype) -> None:
    query, key, value = states(dtype)
    keep = padding_mask(LENGTHS, 7)
    before = attend(query, key, value, keep)
    padding = ~keep[:, None, :, None]
    other = attend(query, key.masked_fill(padding, 50.0), value.masked_fill(padding, -9.0), keep)
    real = keep[:, None, :, None].expand_as(before)
    assert torch.equal(before[real], other[real])
    # The control: without the mask it does matter.
    assert not torch.allclose(attend(query, key, value, None)[real], before[real], atol=1e-3)
    whole = attend(query[:1], key[:1], value[:1], None)
    tolerance = 1e-9 if dtype == torch.float64 else 3e-2
    torch.testing.assert_close(whole, before[:1], rtol=0, atol=tolerance)


def test_the_backend_is_named() -> None:
    cpu = torch.device("cpu")
    assert attention_backend(cpu, torch.float32) == "sdpa"
    assert attention_backend(cpu, torch.bfloat16) == "plain"
    assert attention_backend(torch.device("cuda"), torch.float32) == "sdpa"
    fast = [name for name in ("flash", "varlen") if is_installed(name)]
    on_gpu = attention_backend(torch.device("cuda"), torch.bfloat16)
    assert on_gpu in ([*fast, "sdpa"] if torch.cuda.is_available() else ["sdpa"])
