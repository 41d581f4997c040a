"""The shipped catalogue, read once."""

import pytest

from lincorr.relations.catalogue import Catalogue, load_catalogue


@pytest.fixture(scope="session")
def shipped() -> Catalogue:
    return load_catalogue()
