"""`lincorr store`."""

import json
import shutil

from pipeline.cli.main import main
from tests.pipeline.cli.toy import TEXTS


def test_store_info(printed, finished):
    facts = json.loads(printed("store", "info", finished, "--json"))
    assert (facts["subjects"], facts["shards"], facts["width"]) == (60, 1, 32)
    assert facts["templates"]["city"] == {"text": TEXTS["city"], "columns": 10, "rows": 60}
    assert facts["relations"] == ["toy"]
    table = printed("store", "info", finished)
    assert "'{} lives in the city of': 10 columns, 60 rows" in table


def test_store_verify_of_a_whole_store(printed, finished):
    assert printed("store", "verify", finished).strip() == "every shard is complete and undamaged"
    assert json.loads(printed("store", "verify", finished, "--json")) == {"faults": []}


def test_store_verify_names_what_is_not_extracted(with_store, capsys, monkeypatch):
    shutil.rmtree("run.zarr/done/city/c")
    assert main(["store", "verify", "run.zarr"]) == 1
    out = capsys.readouterr().out
    assert "template 'city', shard 0: not extracted" in out
    assert "faults: 1" in out
