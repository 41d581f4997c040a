"""What `lincorr flips` prints of a relation."""

import pytest

from lincorr.scores.experiments import Flips, FlipScores
from pipeline.cli.flips import _print_relation
from pipeline.experiments.flips import CHANGES


def scores(kinds: list[str]) -> FlipScores:
    row = Flips(at=1.0, wanted=dict.fromkeys(kinds, 0.5), changed=dict.fromkeys(kinds, 0.75))
    return FlipScores(
        "toy", "domain-ridge", 9, 0.5, 0.5, 4, readout=(row,), layers=(row,), options={}, maps={}
    )


@pytest.mark.parametrize("left_out", [None, *CHANGES])
def test_every_column_is_explained_and_nothing_else(
    left_out: str | None, capsys: pytest.CaptureFixture[str]
) -> None:
    _print_relation(scores([kind for kind in CHANGES if kind != left_out]))
    printed = " ".join(capsys.readouterr().out.split())
    words = {
        "map": "as long as the stream",
        "map-hidden": "less what the read-out sees",
        "other": "for a third answer",
        "random": "random: a control",
        "direct": "no map at all",
        "subject": "another subject's state",
    }
    assert [kind for kind, text in words.items() if text not in printed] == ([left_out] if left_out else [])
