"""`precision=auto` is bf16 where it is native; bf16 asked for by name is told where it is not."""

import platform

import pytest
import torch

from didi_core.cli.command_options import CommonOptions
from didi_core.commands.info import InfoOptions
from didi_core.errors import UserError
from didi_core.training import devices
from didi_core.training.devices import computes_bf16, resolve_precision, settle_precision

CPU = torch.device("cpu")


@pytest.fixture
def processor(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    """A processor of x86 with the flags of the parameter."""
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    monkeypatch.setattr(devices, "_processor_flags", lambda: {"avx2", *request.param})
    devices._say_emulated.cache_clear()


@pytest.mark.parametrize(
    ("processor", "native"),
    [
        ((), False),
        (("avx512f", "avx512bw", "avx512_vnni"), False),
        (("avx512f", "avx512_bf16"), True),
        (("amx_bf16", "amx_tile"), True),
    ],
    indirect=["processor"],
)
@pytest.mark.usefixtures("processor")
def test_auto_is_bf16_where_it_is_native(native: bool, capsys: pytest.CaptureFixture[str]) -> None:
    assert computes_bf16(CPU) is native
    assert resolve_precision("auto", CPU) == ("bf16" if native else "float32")
    assert resolve_precision("float32", CPU) == "float32"
    assert capsys.readouterr().err == ""
    assert [resolve_precision("bf16", CPU, "precision=") for _ in range(2)] == ["bf16", "bf16"]
    said = capsys.readouterr().err.splitlines()
    assert len(said) == (0 if native else 1)
    assert all(line.startswith("precision=bf16: cpu") for line in said)


@pytest.mark.skipif(not hasattr(torch.cpu, "get_capabilities"), reason="torch does not tell yet")
def test_this_processor_is_seen_as_torch_sees_it() -> None:
    known = torch.cpu.get_capabilities()
    if known["architecture"] != "x86_64" or platform.system() != "Linux":
        pytest.skip("names of x86 on Linux")
    assert computes_bf16(CPU) == bool(known["avx512_bf16"] or known["amx_bf16"])


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_gpu_is_asked_by_its_generation() -> None:
    native = torch.cuda.get_device_capability(0) >= (8, 0)
    assert computes_bf16(torch.device("cuda", 0)) is native
    assert resolve_precision("auto", torch.device("cuda")) == ("bf16" if native else "float32")


def test_options_hold_what_auto_comes_to() -> None:
    settled = settle_precision(CommonOptions(precision="auto", device="cpu"))
    assert settled.precision == resolve_precision("auto", CPU)
    plain = CommonOptions(device="no such thing")  # told where devices are checked
    assert settle_precision(plain) is plain


@pytest.mark.parametrize("options", [CommonOptions(precision="fp8"), InfoOptions(precision="fp8")])
def test_an_unknown_precision_is_refused(options: object) -> None:
    with pytest.raises(UserError, match=r"--precision fp8 .*auto"):
        settle_precision(options)
    with pytest.raises(UserError, match=r"precision=fp8 .*auto"):
        settle_precision(options, "")
