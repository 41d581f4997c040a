"""`lincorr store`."""

import json
import re
import shutil

import pytest

from pipeline.cli.main import main
from tests.pipeline.cli.toy import TEXTS


def test_store_info(printed, finished):
    facts = json.loads(printed("store", "info", finished, "--json"))
    assert (facts["subjects"], facts["shards"], facts["width"]) == (60, 1, 32)
    assert facts["templates"]["city"] == {"text": TEXTS["city"], "columns": 10, "rows": 60}
    assert facts["relations"] == ["toy"]
    table = printed("store", "info", finished)
    assert "'{} lives in the city of': 10 columns, 60 rows" in table


def test_store_info_cuts_nothing_off_on_a_narrow_terminal(printed, finished, monkeypatch):
    facts = json.loads(printed("store", "info", finished, "--json"))
    monkeypatch.setenv("COLUMNS", "40")
    cells = [line.split("│")[1:3] for line in printed("store", "info", finished).splitlines() if "│" in line]
    names, values = ("".join(part).replace(" ", "") for part in zip(*cells, strict=True))
    assert facts["weights"] in values
    assert facts["source"].replace(" ", "") in values
    assert not {"None", "True", "False", "[", "…"} & {*re.findall(r"None|True|False|\[|…", names + values)}


def test_store_verify_of_a_whole_store(printed, finished):
    assert printed("store", "verify", finished).strip() == "every shard is complete and undamaged"
    assert json.loads(printed("store", "verify", finished, "--json")) == {"faults": []}


def test_store_verify_names_what_is_not_extracted(with_store, capsys, monkeypatch):
    shutil.rmtree("run.zarr/done/city/c")
    assert main(["store", "verify", "run.zarr"]) == 1
    out = capsys.readouterr().out
    assert "template 'city', shard 0: not extracted" in out
    assert "faults: 1" in out


def test_a_damaged_store_is_told_and_the_same_run_mends_it(with_store, capsys, tmp_path):
    """All but tables and head: maps are fitted again, results computed again, descriptions written anew."""
    store = tmp_path / "run.zarr"
    assert main(["evaluate", *with_store, "--json"]) == 0
    before = json.loads(capsys.readouterr().out)["relations"]
    for key in ("done/city", "hidden/country", "logits/city", "columns", "scores/toy", "maps/toy/domain"):
        (store / key / "zarr.json").unlink()
    for key in ("maps/toy/vocabulary", "logits/country", "scores"):
        (store / key / "zarr.json").write_text("{")
    next((store / "maps/toy/domain-ridge").rglob("c/*")).unlink()
    assert main(["store", "verify", str(store), "--json"]) == 1
    faults = json.loads(capsys.readouterr().out)["faults"]
    assert len(faults) == 9  # a result that is gone altogether is no fault
    assert main(["run", *with_store, "--json"]) == 0
    told = capsys.readouterr()
    assert json.loads(told.out)["relations"] == before
    assert main(["store", "verify", str(store)]) == 0


@pytest.mark.parametrize("verb", ["plan", "extract", "fit", "evaluate", "report", "show", "hubs"])
def test_a_root_that_is_damaged_is_one_line(verb, with_store, capsys, tmp_path):
    path = tmp_path / "run.zarr" / "zarr.json"
    for spoilt in (path.read_text()[:200], path.read_text().replace('"n_subjects": 60', '"n_subjects": []')):
        path.write_text(spoilt)
        assert main([verb, *(["Tokyo"] if verb == "show" else []), *with_store]) in (1, 2)
        errors = [line for line in capsys.readouterr().err.splitlines() if "error: " in line]
        assert len(errors) == 1
        assert "run.zarr" in errors[0]
