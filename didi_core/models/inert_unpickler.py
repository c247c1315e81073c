"""An unpickler that can rebuild tensors and containers and can do nothing else.

A pickle is a program. Its dangerous steps are looking up a name (GLOBAL), calling (REDUCE, INST,
OBJ, NEWOBJ), and setting an object's state (BUILD). Here a name is looked up in one table, by
exact match, and becomes an `Unlisted` marker when it is not there; only functions of the table are
called, by identity; calling a marker makes an empty `StandIn`; and no state is ever set except on
name spaces (plain attributes) and stand-ins, which keep it as data under one name. Functions of the
table are ours: they pass no hooks and no code on to torch.

`torch.load(pickle_module=InertPickle())` does the reading of storages. Callers try
`weights_only=True` first, which refuses TorchScript archives and tar files.
"""

import argparse
import io
import pickle
from collections import OrderedDict
from collections.abc import Callable, Iterable
from typing import Any, ClassVar

import torch
from torch import Tensor


class StandIn:
    """What is left of an object whose class is not on the list: the class's name, and its state.

    The state is data such as everything else in the file, in one attribute, whatever it holds;
    configurations of omegaconf are read from it (`didi_core.models.lightning_ckpt`).
    """

    def __init__(self, class_name: str) -> None:
        self.class_name = class_name
        self.state: object = None

    def __repr__(self) -> str:
        return f"<stand-in for {self.class_name}>"

    # A pickle fills subclasses of list, dict and set item by item; a stand-in drops the items.
    def append(self, item: object) -> None: ...

    def extend(self, items: Iterable[object]) -> None: ...

    def add(self, item: object) -> None: ...

    def __setitem__(self, key: object, value: object) -> None: ...


class Unlisted:
    """A name that a pickle asked for and did not get."""

    def __init__(self, class_name: str) -> None:
        self.class_name = class_name


def _rebuild_tensor(storage: Any, offset: int, size: Any, stride: Any, *_ignored: object) -> Tensor:
    """Return a view of `storage`; gradients, hooks and metadata in the file are left out."""
    if not isinstance(storage, torch.storage.TypedStorage):
        raise pickle.UnpicklingError(f"a tensor over a {type(storage).__name__}")
    last = offset + sum((extent - 1) * step for extent, step in zip(size, stride, strict=True))
    elements = storage._untyped_storage.nbytes() // storage.dtype.itemsize
    negative = offset < 0 or min((*size, *stride), default=0) < 0
    if negative or (0 not in size and last >= elements):
        raise pickle.UnpicklingError("a tensor reaches past the end of its storage")
    return torch._utils._rebuild_tensor(storage, offset, size, stride)


def _rebuild_parameter(data: Tensor, *_ignored: object) -> Tensor:
    return data


def _rebuild_subclass(function: Any, _kind: object, arguments: tuple, *_ignored: object) -> Tensor:
    """Return the plain tensor of one with Python attributes, or of a subclass."""
    if function is not _rebuild_tensor and function is not _rebuild_parameter:
        raise pickle.UnpicklingError("a tensor of an unknown kind")
    return function(*arguments)


def _default_dict(*_ignored: object) -> dict:
    """Make a defaultdict without its factory; its items follow one by one."""
    return {}


def _counter(counts: object = None) -> dict:
    return dict(counts) if type(counts) is dict else {}


def _encode(text: str, encoding: str) -> bytes:
    """Return bytes as protocol 2 writes them."""
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"bytes written as {encoding!r}")
    return text.encode(encoding)


_FUNCTIONS: dict[tuple[str, str], Callable] = {
    ("torch._utils", "_rebuild_tensor"): _rebuild_tensor,
    ("torch._utils", "_rebuild_tensor_v2"): _rebuild_tensor,
    ("torch._utils", "_rebuild_parameter"): _rebuild_parameter,
    ("torch._utils", "_rebuild_parameter_with_state"): _rebuild_parameter,
    ("torch._tensor", "_rebuild_from_type_v2"): _rebuild_subclass,
    ("collections", "OrderedDict"): OrderedDict,
    ("collections", "defaultdict"): _default_dict,
    ("collections", "Counter"): _counter,
    ("argparse", "Namespace"): argparse.Namespace,
    ("builtins", "set"): set,
    ("builtins", "frozenset"): frozenset,
    ("builtins", "complex"): complex,
    ("torch", "Size"): torch.Size,
    ("_codecs", "encode"): _encode,
}
_VALUES: dict[tuple[str, str], object] = {
    ("torch.storage", "UntypedStorage"): torch.UntypedStorage,
    **{
        ("torch", name): value
        for name, value in vars(torch).items()
        if isinstance(value, torch.dtype)
    },
}
_CALLABLE = {id(function) for function in _FUNCTIONS.values()}


class InertUnpickler(pickle._Unpickler):  # the one in Python: its steps can be replaced
    """See the module. `unlisted` collects the names that were asked for and not given."""

    # Set by the class in Python while it loads; its published types do not name them.
    stack: list[Any]
    append: Callable[[object], None]

    def __init__(self, file: io.BufferedIOBase, *, unlisted: list[str], **options: Any) -> None:
        super().__init__(file, **options)
        self._unlisted = unlisted

    def find_class(self, module: str, name: str) -> object:
        # Protocol 2, which torch writes, uses the names of Python 2.
        key = ("builtins" if module == "__builtin__" else module, name)
        if key in _FUNCTIONS:
            return _FUNCTIONS[key]
        if key in _VALUES:
            return _VALUES[key]
        class_name = f"{module}.{name}"
        if class_name not in self._unlisted:
            self._unlisted.append(class_name)
        return Unlisted(class_name)

    def call(self, function: Any, arguments: object, keywords: object = None) -> object:
        if isinstance(function, Unlisted):
            return StandIn(function.class_name)
        if id(function) not in _CALLABLE or not isinstance(arguments, tuple) or keywords:
            raise pickle.UnpicklingError(f"a call of a {type(function).__name__}")
        return function(*arguments)

    def load_reduce(self) -> None:
        arguments = self.stack.pop()
        self.stack[-1] = self.call(self.stack[-1], arguments)

    def load_newobj_ex(self) -> None:
        keywords = self.stack.pop()
        arguments = self.stack.pop()
        self.stack[-1] = self.call(self.stack[-1], arguments, keywords)

    def _instantiate(self, klass: object, args: Iterable[object]) -> None:
        self.append(self.call(klass, tuple(args)))

    def load_build(self) -> None:
        state = self.stack.pop()
        target = self.stack[-1]
        if type(target) is argparse.Namespace and type(state) is dict:
            vars(target).update({str(name): value for name, value in state.items()})
        elif isinstance(target, StandIn):
            target.state = state
        elif not isinstance(target, OrderedDict):
            raise pickle.UnpicklingError(f"a state for a {type(target).__name__}")

    def load_binpersid(self) -> None:
        reference = self.stack.pop()
        # "module" would have torch compare, and write, source code.
        if not isinstance(reference, tuple) or reference[:1] not in (("storage",), (b"storage",)):
            raise pickle.UnpicklingError("a reference to something other than a storage")
        self.append(self.persistent_load(reference))

    def refuse(self) -> None:
        raise pickle.UnpicklingError("a pickle instruction that weights do not need")

    dispatch: ClassVar[dict[int, Any]] = dict(pickle._Unpickler.dispatch) | {
        pickle.REDUCE[0]: load_reduce,
        pickle.NEWOBJ[0]: load_reduce,
        pickle.NEWOBJ_EX[0]: load_newobj_ex,
        pickle.BUILD[0]: load_build,
        pickle.BINPERSID[0]: load_binpersid,
        pickle.PERSID[0]: refuse,
        pickle.EXT1[0]: refuse,
        pickle.EXT2[0]: refuse,
        pickle.EXT4[0]: refuse,
        pickle.NEXT_BUFFER[0]: refuse,
    }


class InertPickle:
    """The `pickle_module` of one `torch.load`; `unlisted` names what the file asked for."""

    __name__ = "inert_pickle"

    def __init__(self) -> None:
        unlisted: list[str] = []
        self.unlisted = unlisted

        class Unpickler(InertUnpickler):
            def __init__(self, file: io.BufferedIOBase, **options: Any) -> None:
                super().__init__(file, unlisted=unlisted, **options)

        self.Unpickler = Unpickler

    def load(self, file: io.BufferedIOBase, **options: Any) -> object:
        """Load one of a legacy file's several pickles; torch reads the first and last by this."""
        return self.Unpickler(file, **options).load()
