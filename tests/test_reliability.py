"""Every test that docs/reliability.md names is there."""

import re
from pathlib import Path

ROOT = Path(__file__).parent


def test_every_test_named_in_the_table_exists():
    table = (ROOT.parent / "docs" / "reliability.md").read_text("utf-8")
    named = set(re.findall(r"`(test_\w+)`", table))
    known = {
        name
        for path in ROOT.rglob("test_*.py")
        for name in re.findall(r"^def (test_\w+)", path.read_text("utf-8"), flags=re.MULTILINE)
    }
    assert len(named) > 10
    assert named - known == set()
