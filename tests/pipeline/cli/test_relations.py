"""`lincorr relations`."""

import json

from tests.pipeline.cli.toy import TEXTS, write_catalogue


def test_relations_list_names_every_relation(printed):
    table = printed("relations", "list")
    assert "city-country" in table
    assert "{} lives in the country of" in table


def test_relations_list_has_ones_own(printed, tmp_path):
    own = write_catalogue(tmp_path / "own.yaml")
    listed = json.loads(printed("relations", "list", "--catalogue", own, "--json"))
    assert listed[-1] == {
        "name": "toy",
        "family": "custom",
        "source": TEXTS["city"],
        "target": TEXTS["country"],
        "wordings": 7,  # the templates are the catalogue's own
    }


def test_several_catalogues_are_named_with_commas_or_again(printed, tmp_path):
    paths = [write_catalogue(tmp_path / name) for name in ("a.yaml", "b.yaml")]
    paths[1].write_text(paths[1].read_text().replace("toy:", "other:"))
    for flags in (["--catalogue", ",".join(map(str, paths))], [f"--catalogue={path}" for path in paths]):
        listed = json.loads(printed("relations", "list", *flags, "--json"))
        assert {"toy", "other"} <= {relation["name"] for relation in listed}
