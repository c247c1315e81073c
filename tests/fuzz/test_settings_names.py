"""Names and paths among settings are text: nothing between the command line and the run reads them.

Only a leading `~/`, `${...}`, and commas under --multirun mean something. The readers are Hydra's
own; its composition of files, which takes a hundred times longer, has the names that look like
something else.
"""

import shlex
from dataclasses import replace
from pathlib import Path

import pytest
from fuzzing import CASES
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import given
from hypothesis import strategies as st
from omegaconf import OmegaConf

from didi_core.cli.hydra_app import compose_settings, run_hydra, settings_from
from didi_core.cli.settings_arguments import as_given, flags_as_settings, quoted
from didi_core.commands.training.model_card import command_line
from didi_protein.settings import PretrainSettings

PLAIN = compose_settings("pretrain", PretrainSettings, ["data=d", "out=o"])
PARSER = OverridesParser.create()
LOOKALIKES = (
    *("2024_11_30", "1.10", "1e5", "007", "0x1F", "0b1", "1_000", "true", "False", "yes", "on"),
    *("null", "Null", "None", "nan", ".inf", "a,b=c (1).fasta", "a b", "it's", '"quoted"', "'x'"),
    *("#x", "a #b", "[a]", "[1,2", "{a: b}", "a:b", "a: b", "k=v", "choice(a,b)", "range(1,3)"),
    *("glob(*)", "*", "~", "~user/x", "a~/x", "$HOME", "$x", "@a", "!x", "%d", "a\\", "a\\'b"),
    *("-x", "--out", "a\tb", " a ", "é", "\udce8", "tiny", "..", "C:\\x", "2310009E13", "1e999"),
)
PIECES = st.sampled_from(LOOKALIKES) | st.text(st.characters(exclude_characters="\0"), max_size=8)
NAMES = st.lists(PIECES, min_size=1, max_size=3).map("".join)
NAMES = NAMES.filter(lambda x: x not in ("", "???") and "${" not in x and not x.startswith("~/"))


def read(*arguments: str) -> PretrainSettings:
    """What Hydra's parser and OmegaConf make of arguments."""
    overrides = PARSER.parse_overrides(quoted(flags_as_settings(arguments), PretrainSettings))
    values = {each.key_or_group: each.value() for each in overrides}
    return settings_from(OmegaConf.merge(PLAIN, values), PretrainSettings)


@CASES
@given(data=NAMES, out=NAMES, valid=NAMES)
def test_a_name_is_the_text_that_was_given(data: str, out: str, valid: str) -> None:
    found = read(f"data={data}", f"out={out}", f"valid={valid}", "steps=3")
    assert found == replace(PLAIN, data=data, out=out, valid=valid, steps=3)
    assert read(f"--data={data}", f"--out={out}", f"--valid={valid}", "--steps", "3") == found


@CASES
@given(data=NAMES, out=NAMES)
def test_another_process_is_given_the_same_names(data: str, out: str) -> None:
    overrides = quoted([f"data={data}", f"out={out}", "valid=", "seed=5"], PretrainSettings)
    found = read(f"data={data}", f"out={out}", "seed=5")
    assert read(*(each for each in as_given(overrides, found) if each[:6] != "valid=")) == found


@CASES
@given(data=NAMES, out=NAMES)
def test_the_command_on_a_model_s_card_gives_the_same_names(data: str, out: str) -> None:
    settings = replace(PLAIN, data=data, out=out, seed=3)
    line = command_line("p", "pretrain", settings, "pretrain", {"model": ["tiny"]})
    assert read(*shlex.split(line)[2:]) == settings


@CASES
@given(names=st.lists(NAMES.filter(lambda name: "," not in name), min_size=1, max_size=3))
def test_commas_sweep_under_multirun_alone(names: list[str]) -> None:
    row = f"data={','.join(names)}"
    assert read(row).data == row[5:]
    (swept,) = PARSER.parse_overrides(quoted([row, "--multirun"], PretrainSettings)[:1])
    each = (
        swept.sweep_string_iterator()
        if swept.is_sweep_override()
        else [quoted([row], PretrainSettings)[0][5:]]
    )
    assert [PARSER.parse_override(f"data={one}").value() for one in each] == names


@CASES
@given(name=NAMES, seed=st.integers(0, 99))
def test_home_and_references_keep_their_meaning(name: str, seed: int) -> None:
    found = read(f"data=~/{name}", "out=runs/s-${seed}", f"seed={seed}")
    assert found.data == str(Path.home() / name.lstrip("/"))
    assert found.out == f"runs/s-{seed}"


@pytest.mark.parametrize("at", range(0, len(LOOKALIKES), 9))
def test_the_whole_of_hydra_keeps_them_too(at: int) -> None:
    names = (LOOKALIKES * 2)[at : at + 9]
    for data, out, valid in zip(names[::3], names[1::3], names[2::3], strict=True):
        seen: list[PretrainSettings] = []
        given_as_both = [f"data={data}", f"--out={out}", f"valid={valid}", "--resume"]
        run_hydra("pretrain", PretrainSettings, seen.append, given_as_both, "p pretrain")
        assert seen == [replace(PLAIN, data=data, out=out, valid=valid, resume=True)]
