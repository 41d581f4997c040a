"""Where a test's store lies."""

from pathlib import Path
from typing import Any

import pytest

from lincorr.store.locations import _Explained


@pytest.fixture
def url(tmp_path: Path) -> Path:
    return tmp_path / "run.zarr"


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every file that is read from now on: of an object store, each is a request."""
    keys, get = list[str](), _Explained.get

    async def noted(self: _Explained, key: str, *rest: Any, **more: Any) -> Any:
        keys.append(key)
        return await get(self, key, *rest, **more)

    monkeypatch.setattr(_Explained, "get", noted)
    return keys
