"""The JSON files of a model: mappings, or one line on what is wrong."""

import json
from pathlib import Path
from typing import Any

from lincorr.errors import BadInput


def read_json(path: Path) -> dict[str, Any]:
    """Return the mapping in a JSON file.

    Raises:
        BadInput: it cannot be read, or is not valid JSON, or no mapping.
    """
    try:
        found = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError, RecursionError) as problem:
        raise BadInput(f"model: {str(path)!r} is not valid JSON ({problem}); download it again") from None
    if not isinstance(found, dict):
        raise BadInput(f"model: {str(path)!r} must hold a mapping; download it again")
    return found
