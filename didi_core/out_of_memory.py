"""Tell a lack of memory from other failures, and make room before trying something smaller."""

import torch

_PHRASES = ("out of memory", "can't allocate memory", "not enough memory")
"""PyTorch has an exception of its own for memory on a GPU, and none on a processor."""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an exception means that memory ran out, on a GPU or a processor."""
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    return any(phrase in str(error).lower() for phrase in _PHRASES)


def release_cached_memory() -> None:
    """Give back what PyTorch keeps on the GPU for reuse: pieces of a large batch may not fit the
    small ones that follow. To be called when no exception holds on to the tensors any more."""
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
