"""`didi-text info`: what is installed and what ships."""

import json

import pytest
from typer.testing import CliRunner

from didi_core.errors import UserError
from didi_core.models.bundled import BundledModels
from didi_text.app import app
from didi_text.info import InfoOptions, info


def test_info_says_what_is_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(BundledModels, "ships", lambda _, name: name == "tiny")
    done = CliRunner().invoke(app, ["info", "--json", "--device", "cpu"])
    assert done.exit_code == 0
    shown = json.loads(done.stdout)
    assert shown["bundled_models"] == {"tiny": True, "tiny-student": False, "tiny-judge": False}
    assert shown["versions"]["torch"] and shown["device"].startswith("cpu")
    assert shown["attention"] == "sdpa" and "datasets" in shown["extras"]
    printed = CliRunner().invoke(app, ["info", "--device", "cpu"]).stdout
    assert "bundled models   tiny (yes), tiny-student (no), tiny-judge (no)" in printed
    with pytest.raises(UserError, match="abacus"):
        info(InfoOptions(device="abacus"))
