"""A place for encoded text, and models that tests of several verbs read and none changes."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from text_models import write_tiny_model


@pytest.fixture(scope="session", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep what is encoded out of the user's own place."""
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("DIDI_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_model(tmp_path_factory.mktemp("model") / "tiny")


@pytest.fixture(scope="session")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_model(tmp_path_factory.mktemp("teacher") / "tiny", seed=4)
