"""Write the page: tables are read and compared, then rendered. Slow imports come when needed."""

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from didi_core.cli.run import check_output
from didi_core.errors import UserError, missing_extra
from didi_core.io.files import write_text
from didi_protein.reporting.options import ReportOptions, ReportResult

if TYPE_CHECKING:
    from didi_protein.reporting.tables import ScoreTable


def write_report(
    inputs: Iterable[str | os.PathLike[str]],
    out: str | os.PathLike[str],
    *,
    title: str = ReportOptions.title,
    top: int = ReportOptions.top,
    max_repeat: float = ReportOptions.max_repeat,
    overwrite: bool = False,
    frontiers: Mapping[str, Any] | None = None,
) -> ReportResult:
    """Write a page that compares the score tables in `inputs`.

    Args:
        inputs: score tables and `.rejected.csv` files of filter, or folders searched for them.
            What filter rejected is also found beside a table; the table that a `.rejected.csv`
            is about is read where no table is named.
        out: the page to write.
        title: its heading.
        top: how many designs to show and to offer as FASTA.
        max_repeat: largest repeat fraction of a design that is shown.
        overwrite: replace `out` if it exists.
        frontiers: what `compare` found at several temperatures, of
            `didi_core.evaluation.frontier_record`, by the labels of the tables: each row's place
            at equal diversity, and the curves.

    Raises:
        UserError: no table, an unreadable one, tables without any row, `out` exists, or a package
            is missing.
    """
    require_packages()
    from didi_protein.reporting.cells import at_equal_diversity, cells_of
    from didi_protein.reporting.filters import is_rejections, read_outcomes, tables_filtered
    from didi_protein.reporting.page import PageSettings, render_page
    from didi_protein.reporting.tables import read_tables

    path, inputs = Path(out), list(inputs)
    _check_options(path, top, max_repeat, overwrite)
    tables = read_tables(
        [each for each in inputs if not is_rejections(each)] or tables_filtered(inputs)
    )
    _say_shared_ids([each for each in tables if each.path in map(Path, inputs)])
    cells = at_equal_diversity(cells_of(tables), frontiers)
    if not cells:
        named = ", ".join(str(table.path) for table in tables)
        raise UserError(f"INPUT {named}: no row in it, so there is nothing to report; run score.")
    settings = PageSettings(title, top, max_repeat, frontiers)
    write_text(path, render_page(tables, cells, read_outcomes(inputs, tables), settings))
    num_designs = sum(len(cell.designs) for cell in cells)
    return ReportResult(path, len(tables), len(cells), num_designs)


def _say_shared_ids(tables: "Sequence[ScoreTable]") -> None:
    """Say which ids tables share that were named one by one: those of a comparison are pairs."""
    from didi_core.progress import say_once
    from didi_protein.sequences.design_ids import OTHER_PREFIX, shared_ids

    if shared := shared_ids((each.path, each.rows["id"]) for each in tables):
        say_once(f"INPUT {shared}: the page calls them ID@TABLE; {OTHER_PREFIX}.")


def _check_options(path: Path, top: int, max_repeat: float, overwrite: bool) -> None:
    if top < 0:
        raise UserError(f"--top {top}: give 0 or more designs to show.")
    if not 0 <= max_repeat <= 1:
        raise UserError(f"--max-repeat {max_repeat}: give a fraction from 0 to 1.")
    if path.is_dir():
        raise UserError(f"--out {path} is a folder: name a file, such as {path / 'report.html'}.")
    if path.suffix not in (".html", ".htm"):
        raise UserError(f"--out {path}: the page is plain HTML; give a name that ends in .html.")
    check_output(path, overwrite=overwrite)


def require_packages() -> None:
    """Raises UserError where the extra `report` is not installed."""
    try:
        import jinja2  # noqa: F401
    except ImportError as error:
        raise missing_extra("jinja2", "report") from error
    try:
        import matplotlib  # noqa: F401
    except ImportError as error:
        raise missing_extra("matplotlib", "report") from error
