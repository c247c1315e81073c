"""What the site has beside the pages of docs/: the measurements they link to.

In a checkout the pages link to `../benchmarks/results/`, outside docs/; on the site these files lie
in `results/`. Each notebook is a page too: what it says, its code, and what that gave.
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, InclusionLevel

_LINK = re.compile(r"\]\(\.\./benchmarks/results/([^)#]+)")
_NOTEBOOK = re.compile(r"\]\((notebooks/[\w-]+)\.ipynb")
_RESULTS = Path(__file__).parent.parent / "benchmarks" / "results"


def on_files(files: Any, config: Any) -> Any:
    """Add every measurement that a page links to, and a page for every notebook."""
    pages = [page.read_text(encoding="utf-8") for page in Path(config.docs_dir).glob("*.md")]
    for name in sorted({name for page in pages for name in _LINK.findall(page)}):
        added = File.generated(config, f"results/{name}", abs_src_path=str(_RESULTS / name))
        added.inclusion = InclusionLevel.NOT_IN_NAV
        files.append(added)
    for path in sorted((Path(config.docs_dir) / "notebooks").glob("*.ipynb")):
        files.append(File.generated(config, f"notebooks/{path.stem}.md", content=page_of(path)))
    return files


def page_of(path: Path) -> str:
    """Return a notebook as Markdown."""
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return "\n\n".join(part for cell in cells for part in _parts_of(cell)) + "\n"


def _parts_of(cell: dict[str, Any]) -> Iterator[str]:
    source = "".join(cell["source"])
    if cell["cell_type"] == "markdown":
        yield source
        return
    yield f"```python\n{source}\n```"
    for output in cell["outputs"]:
        data = output.get("data", {})
        text = "".join(output.get("text") or data.get("text/plain", ""))
        if "image/png" in data:
            yield f"![What the code draws](data:image/png;base64,{data['image/png'].strip()})"
        elif "text/html" in data:
            # A blank line would end it.
            yield re.sub(r"\n\s*\n", "\n", "".join(data["text/html"]))
        else:
            yield f"```\n{text}\n```"


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Lead the links to them."""
    return _NOTEBOOK.sub(r"](\1.md", _LINK.sub(r"](results/\1", markdown))
