"""Raw texts of the zero-shot sets' files, plain or `.gz`, split as their publishers' loaders do."""

import csv
from pathlib import Path

from didi_core.errors import UserError
from didi_text.corpora_documents import open_text, read_json_records


def read_stripped_lines(path: Path) -> list[str]:
    """Lines without surrounding space (PTB, LM1B)."""
    with open_text(path) as stream:
        return [line.strip() for line in stream]


def read_lines(path: Path) -> list[str]:
    """Lines with their ends; a blank one is empty (WikiText)."""
    with open_text(path) as stream:
        return [line if line.strip() else "" for line in stream]


def read_jsonl(path: Path) -> list[str]:
    """Texts under the key `text`, else `article` (LAMBADA; PubMed and arXiv)."""
    with open_text(path) as stream:
        first = stream.readline()
    key = "text" if '"text"' in first else "article"
    return [record[key] for record in read_json_records(path, needs=key)]


def read_csv(path: Path) -> list[str]:
    """Title and description, joined by a space, of rows `label,title,description` (AG News).

    Raises:
        UserError: a row has another number of fields, or cannot be parsed.
    """
    texts = []
    with open_text(path) as stream:
        rows = csv.reader(stream)
        try:
            for number, row in enumerate(rows, 1):
                if len(row) != 3:
                    raise UserError(f"{path}, row {number}: {len(row)} fields; 3 were expected.")
                texts.append(" ".join(row[1:]))
        except csv.Error as error:
            raise UserError(f"{path}, line {rows.line_num}: no CSV ({error}).") from error
    return texts
