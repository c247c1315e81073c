"""Weights of others are read; code in them never runs."""

import argparse
import collections
import contextlib
import io
import os
import pickle
import struct
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest
import torch

from didi_core.errors import UserError
from didi_core.models.inert_unpickler import InertPickle, InertUnpickler, StandIn
from didi_core.models.safe_reader import read_checkpoint, read_weights

WEIGHTS = {"a.weight": torch.arange(6.0).view(2, 3), "a.bias": torch.tensor([1.5, -2.0])}


class HyperParameters:
    """A class of the writer's own, as Lightning stores them."""

    def __init__(self) -> None:
        self.learning_rate = 0.1


class ListOfMine(list):
    pass


class Reduced:
    """Pickles as a call of `function`, then the optional state."""

    def __init__(self, function: object, *arguments: object, state: object = None) -> None:
        self.parts = (function, arguments, state)

    def __reduce__(self) -> tuple:
        function, arguments, state = self.parts
        return (function, arguments) if state is None else (function, arguments, state)


BROKEN = (AttributeError, TypeError, ValueError, LookupError)


def lightning(**extra: object) -> dict[str, object]:
    return {"pytorch-lightning_version": "2.5.0", "state_dict": dict(WEIGHTS), **extra}


def same(found: dict[str, torch.Tensor]) -> bool:
    return list(found) == list(WEIGHTS) and all(torch.equal(found[n], WEIGHTS[n]) for n in WEIGHTS)


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
class TestHonestFiles:
    def write(self, content: object, path: Path, zipped: bool) -> Path:
        torch.save(content, path, _use_new_zipfile_serialization=zipped)
        return path

    def test_state_dict(self, tmp_path: Path, zipped: bool) -> None:
        path = self.write(collections.OrderedDict(WEIGHTS), tmp_path / "w.bin", zipped)
        assert same(read_weights(path))

    def test_parameters_views_and_shared_storage(self, tmp_path: Path, zipped: bool) -> None:
        base = torch.arange(12.0).view(3, 4)
        content = {"p": torch.nn.Parameter(base), "view": base[1:, ::2], "half": base.half()}
        path = self.write(
            lightning(state_dict=content, o=HyperParameters()), tmp_path / "w", zipped
        )
        found = read_weights(path)
        assert all(torch.equal(found[name], content[name]) for name in content)
        assert found["half"].dtype == torch.float16

    def test_name_space_beside_the_weights(self, tmp_path: Path, zipped: bool) -> None:
        content = {"model": WEIGHTS, "args": argparse.Namespace(lr=0.1)}
        path = self.write(content, tmp_path / "w.pt", zipped)
        assert same(read_weights(path))
        assert read_checkpoint(path)["args"].lr == 0.1

    def test_lightning_with_foreign_objects(self, tmp_path: Path, zipped: bool) -> None:
        content = lightning(
            hyper_parameters=HyperParameters(),
            names=argparse.Namespace(lr=0.1, net=HyperParameters()),
            counts=collections.Counter("aab"),
            table=collections.defaultdict(list, {"k": [1]}),
            several=ListOfMine([1, 2]),
            kinds={torch.float16, 3},
            size=torch.Size([2, 3]),
            raw=b"bytes",
            number=1 + 2j,
        )
        path = self.write(content, tmp_path / "w.ckpt", zipped)
        assert same(read_weights(path))
        found = read_checkpoint(path)
        assert isinstance(found["hyper_parameters"], StandIn)
        assert found["hyper_parameters"].class_name.endswith(".HyperParameters")
        assert not hasattr(found["hyper_parameters"], "learning_rate")
        assert isinstance(found["names"].net, StandIn) and found["names"].lr == 0.1
        assert found["counts"] == {"a": 2, "b": 1} and found["table"] == {"k": [1]}
        assert found["kinds"] == {torch.float16, 3} and found["size"] == (2, 3)
        assert found["raw"] == b"bytes" and found["number"] == 1 + 2j

    def test_other_files_are_refused_by_the_class(self, tmp_path: Path, zipped: bool) -> None:
        path = self.write({"model": WEIGHTS, "x": HyperParameters()}, tmp_path / "w.pt", zipped)
        with pytest.raises(UserError, match=r"test_safe_reader\.HyperParameters"):
            read_weights(path)

    def test_foreign_object_among_the_weights(self, tmp_path: Path, zipped: bool) -> None:
        content = lightning(state_dict={**WEIGHTS, "odd": HyperParameters()})
        path = self.write(content, tmp_path / "w.ckpt", zipped)
        with pytest.raises(UserError, match=r"odd \(.*HyperParameters\)"):
            read_weights(path)

    def test_not_tensors(self, tmp_path: Path, zipped: bool) -> None:
        with pytest.raises(UserError, match="list"):
            read_weights(self.write([1, 2], tmp_path / "a.pt", zipped))
        with pytest.raises(UserError, match=r"n \(int\)"):
            read_weights(self.write({"n": 1}, tmp_path / "b.pt", zipped))
        sparse = {"s": torch.eye(2).to_sparse()}
        with pytest.raises(UserError, match=r"s \(Tensor\)"):
            read_weights(self.write(sparse, tmp_path / "c.pt", zipped))

    def test_damaged(self, tmp_path: Path, zipped: bool) -> None:
        path = self.write(lightning(o=HyperParameters()), tmp_path / "w.ckpt", zipped)
        data = path.read_bytes()
        for share in (0, 10, 50, 90):
            path.write_bytes(data[: len(data) * share // 100])
            with pytest.raises(UserError, match=r"w\.ckpt"):
                read_weights(path)


# Attacks. Each program, were it obeyed, would leave the file `mark`.


def named(name: str) -> bytes:
    module, _, attribute = name.rpartition(".")
    return b"c" + f"{module}\n{attribute}\n".encode()


def text(words: str) -> bytes:
    data = words.encode()
    return b"X" + struct.pack("<I", len(data)) + data


def stacked(module: str, name: str) -> bytes:
    return text(module) + text(name) + b"\x93"


def attack_pickles(mark: Path) -> dict[str, bytes]:
    """Programs for the pickle machine, each ends with its result and STOP."""
    shell = text(f"touch {mark}")
    python = text(f"open({str(mark)!r}, 'w').close()")
    call = b"\x85R."
    honest = pickle.dumps(argparse.Namespace(), 2)[:-1]
    system, space = named("os.system"), named("argparse.Namespace")
    through = stacked("collections", "OrderedDict.__init__.__globals__")
    told = b"]" + text("touch") + b"a" + text(str(mark)) + b"a\x85}"
    own = text("__setstate__") + system + b"sb"
    return {
        "os.system": system + shell + call,
        "posix.system": named("posix.system") + shell + call,
        "eval": named("builtins.eval") + python + call,
        "eval of Python 2": named("__builtin__.eval") + python + call,
        "exec": named("builtins.exec") + python + call,
        "dotted name": b"\x80\x04" + stacked("tarfile", "os.system") + shell + call,
        "dotted module": b"\x80\x04" + stacked("tarfile.os", "system") + shell + call,
        "through an allowed class": b"\x80\x04" + through + shell + call,
        "INST": b"(" + shell + b"iposix\nsystem\n.",
        "OBJ": b"(" + named("posix.system") + shell + b"o.",
        "NEWOBJ": named("subprocess.Popen") + b"(" + shell + b"t\x81.",
        "NEWOBJ_EX": b"\x80\x04" + named("subprocess.Popen") + told + b"\x92.",
        "getattr": named("builtins.getattr")
        + named("os.path")
        + text("os")
        + b"\x86R"
        + shell
        + call,
        "state with __setstate__": honest + b"}" + own + shell + b"b.",
        "state of a stand-in": named("x.Y") + b")R}" + own + shell + b"b.",
        "state of an allowed function": (
            named("torch._utils._rebuild_tensor_v2")
            + b"N}"
            + text("__defaults__")
            + b"N\x85s\x86b."
        ),
        "state of an allowed class": space + b"N}" + text("__init__") + system + b"s\x86b.",
        "factory of a defaultdict": (
            named("collections.defaultdict") + system + b"\x85R" + shell + b"Ns."
        ),
        "tensor rebuilt by a function of the file": (
            named("torch._tensor._rebuild_from_type_v2")
            + (b"(" + system + named("torch.Tensor") + b"(" + shell + b"tNtR.")
        ),
        "storage class called": named("torch.storage.UntypedStorage") + b"I4\n" + call,
        "extension": b"\x82\x01.",
        "source of a module": b"(" + text("module") + space + shell + shell + b"tQ.",
        "persistent id as text": b"Pstorage\n.",
        "load again": named("torch.load") + text(str(mark)) + call,
    }


NAMES = list(attack_pickles(Path("mark")))
OBEYED_BY_PICKLE = [
    "os.system", "posix.system", "eval", "eval of Python 2", "exec", "dotted name", "INST", "OBJ",
]  # fmt: skip
OBEY = "import pickle, sys; pickle.loads(open(sys.argv[1], 'rb').read())"


@pytest.mark.parametrize("attack", OBEYED_BY_PICKLE)
def test_the_attacks_are_real(tmp_path: Path, attack: str) -> None:
    """The plain unpickler runs them: the tests below would notice."""
    (tmp_path / "program").write_bytes(attack_pickles(tmp_path / "mark")[attack])
    command = [sys.executable, "-c", OBEY, str(tmp_path / "program")]
    subprocess.run(command, check=False, stderr=subprocess.DEVNULL)
    assert (tmp_path / "mark").exists()


def zip_file(program: bytes, path: Path, **records: bytes) -> None:
    """A torch zip archive whose `data.pkl` is `program`."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", program)
        archive.writestr("archive/version", b"3\n")
        archive.writestr("archive/byteorder", b"little")
        for name, data in records.items():
            archive.writestr(f"archive/{name}", data)


def legacy_file(
    program: bytes, path: Path, *, first: bytes | None = None, last: bytes = b"]."
) -> None:
    """The older format: magic number, version and system pickles, content, list of storages."""
    buffer = io.BytesIO()
    torch.save({}, buffer, _use_new_zipfile_serialization=False)
    buffer.seek(0)
    for _ in range(3):
        pickle.load(buffer)
    head = buffer.getvalue()[: buffer.tell()]
    path.write_bytes((head if first is None else first) + program + last)


@pytest.mark.parametrize("attack", NAMES)
class TestAttacks:
    """The marked file never appears, whatever else comes of it."""

    def check(self, path: Path, mark: Path) -> None:
        with pytest.raises(UserError):
            read_weights(path)
        with pytest.raises(UserError):
            read_checkpoint(path)
        assert not mark.exists()

    def test_zip(self, tmp_path: Path, attack: str) -> None:
        zip_file(attack_pickles(tmp_path / "mark")[attack], tmp_path / "w.ckpt")
        self.check(tmp_path / "w.ckpt", tmp_path / "mark")

    def test_legacy(self, tmp_path: Path, attack: str) -> None:
        legacy_file(attack_pickles(tmp_path / "mark")[attack], tmp_path / "w.ckpt")
        self.check(tmp_path / "w.ckpt", tmp_path / "mark")

    def test_legacy_first_and_last_pickle(self, tmp_path: Path, attack: str) -> None:
        program = attack_pickles(tmp_path / "mark")[attack]
        legacy_file(b"}.", tmp_path / "first", first=program)
        self.check(tmp_path / "first", tmp_path / "mark")
        legacy_file(
            pickle.dumps(lightning(state_dict={}, x=HyperParameters()), 2),
            tmp_path / "last",
            last=program,
        )
        self.check(tmp_path / "last", tmp_path / "mark")

    def test_inside_a_lightning_checkpoint(self, tmp_path: Path, attack: str) -> None:
        """Beside real weights: they are read, or the file is refused; nothing runs."""
        program = attack_pickles(tmp_path / "mark")[attack]
        stream = io.BytesIO(program)
        module = InertPickle()
        with contextlib.suppress(pickle.UnpicklingError, *BROKEN):
            module.load(stream)
        assert not (tmp_path / "mark").exists()
        assert argparse.Namespace(a=1).a == 1
        assert torch._utils._rebuild_tensor_v2.__defaults__ == (None,)


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
@pytest.mark.parametrize("function", [os.system, eval, exec, os.popen], ids=lambda f: f.__name__)
def test_lightning_checkpoint_with_a_call_is_read_without_it(
    tmp_path: Path, zipped: bool, function: object
) -> None:
    """The plain unpickler obeys this very file; ours reads the weights and leaves the rest."""
    mark = tmp_path / "mark"
    code = f"touch {mark}" if function in (os.system, os.popen) else f"open({str(mark)!r}, 'w')"
    content = lightning(callbacks=Reduced(function, code))
    torch.save(content, tmp_path / "w.ckpt", _use_new_zipfile_serialization=zipped)
    assert same(read_weights(tmp_path / "w.ckpt"))
    assert not mark.exists()
    opened = torch.load(tmp_path / "w.ckpt", weights_only=False)
    if function is os.popen:
        opened["callbacks"].close()
    assert mark.exists(), "the attack must be a real one"


def test_state_of_a_foreign_object_is_kept_as_data_and_never_set(tmp_path: Path) -> None:
    state = {"class_name": "y", "append": "z"}
    torch.save(lightning(x=Reduced(HyperParameters, state=state)), tmp_path / "w.ckpt")
    stand_in = read_checkpoint(tmp_path / "w.ckpt")["x"]
    assert stand_in.class_name.endswith("HyperParameters")
    assert vars(stand_in) == {"class_name": stand_in.class_name, "state": state}


def test_tensor_past_its_storage_is_refused() -> None:
    class Reader(InertUnpickler):
        def persistent_load(self, _reference: object) -> object:
            raw = torch.arange(4.0).untyped_storage()
            return torch.storage.TypedStorage(wrap_storage=raw, dtype=torch.float32, _internal=True)

    def tensor(*view: object) -> bytes:
        storage = b"(" + text("storage") + b"tQ"
        head = b"\x80\x02" + named("torch._utils._rebuild_tensor") + b"(" + storage
        numbers = b"".join(pickle.dumps(part, 2)[2:-1] for part in view)
        return head + numbers + b"tR."

    def read(*view: object) -> torch.Tensor:
        return Reader(io.BytesIO(tensor(*view)), unlisted=[]).load()

    assert torch.equal(read(1, (3,), (1,)), torch.tensor([1.0, 2.0, 3.0]))
    for view in [(2, (3,), (1,)), (0, (2, 2), (3, 1)), (-1, (1,), (1,)), (0, (5,), (1,))]:
        with pytest.raises(pickle.UnpicklingError, match="past the end"):
            read(*view)


def test_tar_format_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "w.pt"
    with tarfile.open(path, "w") as archive:
        link = tarfile.TarInfo("storages")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/hostname"
        archive.addfile(link)
    with pytest.raises(UserError, match="tar format"):
        read_weights(path)


def test_torchscript_is_refused(tmp_path: Path) -> None:
    script = torch.jit.trace(torch.nn.Linear(2, 2), torch.zeros(1, 2))
    torch.jit.save(script, tmp_path / "w.pt")
    with pytest.raises(UserError, match="TorchScript"):
        read_weights(tmp_path / "w.pt")
    zip_file(
        attack_pickles(tmp_path / "mark")["os.system"], tmp_path / "x", **{"constants.pkl": b"."}
    )
    with pytest.raises(UserError, match="TorchScript"):
        read_weights(tmp_path / "x")


def test_broken_safetensors(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    path.write_bytes(b"no tensors here")
    with pytest.raises(UserError, match=r"w\.safetensors .*damaged"):
        read_weights(path)
