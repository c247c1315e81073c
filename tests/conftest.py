"""With DIDI_CHECK_TYPES=1 tests check the packages' signatures, the shapes of tensors among them.

jaxtyping binds the names of axes ("batch length") for the time of one call, beartype checks. The
hook has to stand before the first import of a package, and pytest reads this file before any test.
A process that a test starts runs unchecked, as a user's does.
"""

import os

import jaxtyping
import pytest

pytest.register_assert_rewrite("compare_checks", "quickstart_checks")  # no test files by name

if os.environ.get("DIDI_CHECK_TYPES") == "1":
    jaxtyping.install_import_hook(["didi_core", "didi_protein", "didi_text"], "shape_checks.check")


@pytest.fixture
def unchecked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lift the checks where they cannot hold.

    A test that compiles: torch's tracer does not go through them. A test that gives a network of
    its own to a function whose signature names ours.
    """
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
