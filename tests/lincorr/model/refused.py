"""What is refused, and how."""

from collections.abc import Callable
from typing import Any

import pytest

from lincorr.errors import BadInput


def refusal(act: Callable[[], Any]) -> str:
    """The message of the refusal that `act` runs into, which must be one line."""
    with pytest.raises(BadInput) as problem:
        act()
    message = str(problem.value)
    assert "\n" not in message
    return message
