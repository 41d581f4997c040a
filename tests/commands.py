"""Commands that are run in this process."""

import io
import json
from collections.abc import Mapping
from contextlib import redirect_stdout
from typing import Any

from pipeline.cli.main import main


def flags_of(options: Mapping[str, object]) -> list[str]:
    """The command line's flags for settings, named without their dashes."""
    return [f"--{name}={value}" for name, value in options.items()]


def json_of(*arguments: str) -> Any:
    """What a command prints with --json, having worked."""
    printed = io.StringIO()
    with redirect_stdout(printed):
        assert main([*arguments, "--json"]) == 0
    return json.loads(printed.getvalue())
