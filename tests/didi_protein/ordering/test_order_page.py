"""docs/order.md: its command runs as written, and its tables name what the code knows."""

import re
from importlib.util import find_spec
from pathlib import Path

import pandas as pd
import pytest
from doc_commands import ROOT, commands_of, run_commands

from didi_protein.ordering.construct import TAGS
from didi_protein.ordering.hosts import HOSTS
from didi_protein.ordering.run import COLUMNS
from didi_protein.scoring.properties import developability

PAGE = (ROOT / "docs" / "order.md").read_text(encoding="utf-8")


@pytest.mark.skipif(find_spec("dnachisel") is None, reason="needs the extra order")
def test_the_command_works_as_written(tmp_path: Path) -> None:
    [command] = commands_of(PAGE)
    designs = "".join(f">d{number}\nMSEEKLLQEWAK{'GS' * number}\n" for number in range(8))
    (tmp_path / "best.fasta").write_text(designs)
    run_commands([command], tmp_path)
    assert pd.read_csv(tmp_path / "order.csv")["Well"].tolist() == [f"A{n}" for n in range(1, 9)]


def test_its_tables_name_every_tag_host_and_column() -> None:
    named = set(re.findall(r"`(\w+)`", PAGE))
    assert {*TAGS, *HOSTS} <= named
    assert set(COLUMNS) - set(developability("M")) <= named
