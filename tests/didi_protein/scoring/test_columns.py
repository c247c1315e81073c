"""The registry of columns agrees with what computes them, with the flags, and with the pages."""

import re
from dataclasses import fields
from pathlib import Path

import pytest

from didi_protein.filtering.options import FilterOptions
from didi_protein.filtering.thresholds import bound_of
from didi_protein.scoring import columns
from didi_protein.scoring.columns import COLUMN, COLUMNS, names_by
from didi_protein.scoring.options import ScoreOptions
from didi_protein.scoring.properties import developability, sequence_properties
from didi_protein.scoring.score_column import ScoreColumn
from docs.column_tables import with_tables

DOCS = Path(__file__).parents[3] / "docs"
PAGES = {name: (DOCS / name).read_text(encoding="utf-8") for name in ("outputs.md", "filter.md")}
ALL = pytest.mark.parametrize("column", COLUMN.values(), ids=lambda each: each.name)


def test_names_are_unique_and_those_of_every_table_are_columns() -> None:
    assert len(COLUMN) == len(columns.ENTRIES)
    assert set(COLUMNS) <= set(COLUMN)


def test_what_computes_columns_computes_those_that_name_it() -> None:
    assert tuple(sequence_properties("MKTAYIAKQR")) == names_by("properties")
    assert tuple(developability("MKTAYIAKQR")) == names_by("motifs")


@ALL
def test_an_entry_names_flags_and_columns_that_exist(column: ScoreColumn) -> None:
    flags = {"--" + field.name.replace("_", "-") for field in fields(ScoreOptions)}
    assert set(re.findall(r"--[a-z-]+", column.score_flag)) <= flags
    options = FilterOptions(table=Path("t.csv"), out=Path("o.fasta"))
    assert bound_of(options, column) is None  # an unknown flag raises
    assert column.compared in ("", *COLUMN)
    assert column.low < column.high


@ALL
def test_an_entry_says_what_those_who_show_it_need(column: ScoreColumn) -> None:
    if column.figure or column.tells or column.on_card:
        assert column.heading
        assert column.type in ("number", "yes_no")
    if column.filter_flag:
        assert column.range
        ends = {"highest": "--min-", "lowest": "--max-"}
        assert column.filter_flag.startswith(ends[column.better])


@pytest.mark.parametrize("name", PAGES)
def test_the_tables_of_the_pages_are_those_of_the_entries(name: str) -> None:
    assert with_tables(PAGES[name]) == PAGES[name], "write them anew with: make tables"


@ALL
def test_every_column_has_its_place_on_a_page(column: ScoreColumn) -> None:
    assert sum(page.count(f"| `{column.name}` |") for page in PAGES.values()) >= 1


def test_a_table_of_a_topic_that_no_column_has_is_an_error() -> None:
    with pytest.raises(ValueError, match="Nothing"):
        with_tables("<!-- columns: Nothing -->\n<!-- end of columns -->")
