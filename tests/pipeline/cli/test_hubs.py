"""`lincorr hubs`."""

import json

from lincorr.testing import COUNTRIES


def test_hubs_are_those_of_the_targets_strongest_sources(printed, with_store):
    (found,) = json.loads(printed("hubs", *with_store, "--within", 3, "--json"))
    counts: dict[str, int] = {}
    right: dict[str, int] = {}
    for country in COUNTRIES:
        (shown,) = json.loads(printed("show", country, *with_store, "--target", "--top", 3, "--json"))
        for link in shown["links"]:
            counts[link["token"]] = counts.get(link["token"], 0) + 1
            right[link["token"]] = right.get(link["token"], 0) + link["right"]
    assert {hub["token"]: hub["targets"] for hub in found["hubs"]} == counts
    assert {hub["token"]: hub["right"] for hub in found["hubs"]} == right
    assert (found["relation"], found["map"], found["among"]) == ("toy", "vocabulary-ridge", "the answers")
    assert (found["sources"], found["targets"], found["top"], found["expected"]) == (10, 10, 3, 3.0)


def test_hubs_among_every_token(printed, with_store):
    (found,) = json.loads(printed("hubs", *with_store, "--all-sources", "--top", 4, "--json"))
    assert (found["sources"], len(found["hubs"]), found["among"]) == (376, 4, "every token")
    targets = [hub["targets"] for hub in found["hubs"]]
    assert targets == sorted(targets, reverse=True)
    every = ("hubs", *with_store, "--all-sources", "--within", 376, "--top", 376, "--json")
    assert len({hub["token"] for hub in json.loads(printed(*every))[0]["hubs"]}) == 376


def test_hubs_prints_a_table(printed, with_store):
    (first, *_) = json.loads(printed("hubs", *with_store, "--json"))[0]["hubs"]
    assert repr(first["token"]) in printed("hubs", *with_store)
