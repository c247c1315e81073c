"""What the site has beside the pages of docs/: the measurements they link to.

In a checkout the pages link to `../benchmarks/results/`, outside docs/; on the site these files lie
in `results/`.
"""

import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, InclusionLevel

_LINK = re.compile(r"\]\(\.\./benchmarks/results/([^)#]+)")
_RESULTS = Path(__file__).parent.parent / "benchmarks" / "results"


def on_files(files: Any, config: Any) -> Any:
    """Add every measurement that a page links to."""
    pages = [page.read_text(encoding="utf-8") for page in Path(config.docs_dir).glob("*.md")]
    for name in sorted({name for page in pages for name in _LINK.findall(page)}):
        added = File.generated(config, f"results/{name}", abs_src_path=str(_RESULTS / name))
        added.inclusion = InclusionLevel.NOT_IN_NAV
        files.append(added)
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Lead the links to them."""
    return _LINK.sub(r"](results/\1", markdown)
