"""The layout of a network without its weights, to be filled from a file."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch.overrides import TorchFunctionMode


class _NoInitialisation(TorchFunctionMode):
    """Leaves tensors as they are where `torch.nn.init` would draw their values.

    Drawing on the meta device gives nothing, and loads torch's compiler, which takes seconds.
    """

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        given = kwargs or {}
        if getattr(func, "__module__", None) == "torch.nn.init":
            return given["tensor"] if "tensor" in given else args[0]
        return func(*args, **given)


@contextmanager
def without_weights() -> Iterator[None]:
    """Build modules on the meta device while the context lasts: names and shapes alone."""
    with torch.device("meta"), _NoInitialisation():
        yield
