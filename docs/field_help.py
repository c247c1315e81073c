"""Fields of options on the pages of docs/api: the help of a flag is what its field means.

A field `num: Annotated[int, Option(help="Designs to make.")]` has no docstring of its own: this
extension of mkdocstrings gives it the help.
"""

import re
from importlib import import_module
from typing import Any, get_type_hints

import griffe


class FieldHelp(griffe.Extension):
    """Take the docstrings of options' fields from their help."""

    def on_class_members(self, *, cls: griffe.Class, **_: Any) -> None:
        """Give every field that a flag is made of its help."""
        fields = {name: each for name, each in cls.members.items() if each.is_attribute}
        if not any("Option(" in str(getattr(each, "annotation", "")) for each in fields.values()):
            return
        live = getattr(import_module(cls.module.path), cls.name)
        for name, hint in get_type_hints(live, include_extras=True).items():
            info = next(iter(getattr(hint, "__metadata__", ())), None)
            text = getattr(info, "help", None)
            if name in fields and text and not fields[name].has_docstring:
                plain = re.sub(r"([_*<])", r"\\\1", text)  # it is no Markdown
                fields[name].docstring = griffe.Docstring(plain, parent=fields[name])
