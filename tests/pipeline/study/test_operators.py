"""Maps on each other's rows, and through few directions, against plain loops over W."""

from dataclasses import dataclass

import numpy as np
import pytest

from lincorr.scores.study import ANSWERS, FAMILY, WORDINGS, OperatorGroup
from pipeline.fit.sources import SourceCache
from pipeline.study import operators
from pipeline.study.operators import Group, groups_of, operators_of
from tests.pipeline.study.planted_study import RELATIONS, TRUTH, Planted, plant
from tests.pipeline.study.toy_study import mean_r


@dataclass(frozen=True, slots=True)
class Fitted:
    """Fitted relations, their groups, and what was found of each."""

    planted: Planted
    groups: dict[tuple[str, str], Group]
    found: dict[tuple[str, str], OperatorGroup]


@pytest.fixture(scope="module", params=["factored", "dual", "tiled"])
def fitted(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Fitted:
    planted = plant(tmp_path_factory.mktemp("operators") / "run.zarr", request.param)
    groups = {(group.kind, group.fit): group for group in groups_of(planted.inputs)}
    shared = SourceCache(planted.store)
    found = {key: operators_of(planted.store, group, shared) for key, group in groups.items()}
    return Fitted(planted, groups, {key: one for key, one in found.items() if one})


def test_groups_have_the_same_targets_or_family_and_exchangeable_sources(fitted: Fitted) -> None:
    members = {key: (group.name, group.relations) for key, group in fitted.found.items()}
    expected = {
        (ANSWERS, "vocabulary-ridge"): ("land", ("home-land", "late-land")),
        (WORDINGS, "vocabulary-ridge"): ("home-land", ("home-land", "home-land.2")),
        (FAMILY, "vocabulary-ridge"): ("places", ("home-land", "late-land", "late-dish")),
        (WORDINGS, "domain"): ("home-land", ("home-land", "home-land.2")),
        (FAMILY, "domain"): ("places", ("late-land", "late-dish")),
    }
    assert members == expected


def test_each_map_on_each_relations_rows(fitted: Fitted) -> None:
    _, test = fitted.planted.rows
    for group in fitted.found.values():
        for i, own in enumerate(group.relations):
            weights = fitted.planted.weights(own, group.fit)
            for j, other in enumerate(group.relations):
                if group.applied is not None:
                    x, y = fitted.planted.problem(other, group.fit)
                    expected = mean_r(x[test] @ weights, y[test])
                    assert group.applied[i][j].r == pytest.approx(expected, abs=1e-4)


def test_w_is_read_against_the_other_relations_truth(fitted: Fitted) -> None:
    group = fitted.found[ANSWERS, "vocabulary-ridge"]
    assert group.applied is not None
    for i, own in enumerate(group.relations):
        weights = fitted.planted.weights(own, group.fit)
        centred = weights - weights.mean(axis=1, keepdims=True)
        for j, other in enumerate(group.relations):
            _, _, sources, targets = RELATIONS[other]
            rows = centred[list(sources)]
            pairs = [(sources.index(s), targets.index(t)) for s, (t,) in TRUTH[other].items()]
            found = group.applied[i][j]
            for k in (1, 3, 5):
                forward = [t in np.argsort(-rows[s])[:k] for s, t in pairs]
                back = [s in np.argsort(-rows[:, t])[:k] for s, t in pairs]
                assert found.hit("influenced target", k) == pytest.approx(np.mean(forward))
                assert found.hit("influencing source", k) == pytest.approx(np.mean(back))


def test_a_map_alone_is_the_truncated_svd_of_its_predictions(fitted: Fitted) -> None:
    fit_rows, test = fitted.planted.rows
    for group in fitted.found.values():
        for i, relation in enumerate(group.relations):
            (x, y), weights = (
                fitted.planted.problem(relation, group.fit),
                fitted.planted.weights(relation, group.fit),
            )
            assert group.joint.r[i] == pytest.approx(mean_r(x[test] @ weights, y[test]), abs=1e-4)
            deviations = y[fit_rows].std(axis=0)
            predicted = x[fit_rows] @ weights / deviations
            right = np.linalg.svd(predicted - predicted.mean(axis=0))[2]
            for point in group.joint.points[:4]:
                kept = right[: point.directions]
                few = x[test] @ (weights / deviations) @ kept.T @ kept
                assert point.alone[i] == pytest.approx(mean_r(few, y[test]), abs=1e-4)


def test_maps_together_see_their_sources_through_the_same_directions(fitted: Fitted) -> None:
    """In the space of rows: NumPy's regression of what a map predicts on what the directions read."""
    fit_rows, test = fitted.planted.rows
    for group in fitted.found.values():
        problems = [fitted.planted.problem(relation, group.fit) for relation in group.relations]
        maps = [fitted.planted.weights(relation, group.fit) for relation in group.relations]
        side = np.concatenate(
            [w / y[fit_rows].std(axis=0) for w, (_, y) in zip(maps, problems, strict=True)], axis=1
        )
        seen = [(x[fit_rows] - x[fit_rows].mean(axis=0)) @ side for x, _ in problems]
        gram = sum(predicted.T @ predicted for predicted in seen)
        right = np.linalg.eigh(gram)[1][:, ::-1]  # of the pooled predictions of all maps side by side
        for point in group.joint.points[:5]:
            basis = side @ right[:, : point.directions]
            for i, ((x, y), w) in enumerate(zip(problems, maps, strict=True)):
                read, asked = (x[rows] - x[fit_rows].mean(axis=0) for rows in (fit_rows, test))
                coefficients = np.linalg.lstsq(read @ basis, read @ w, rcond=None)[0]
                expected = mean_r(asked @ basis @ coefficients, y[test])
                assert point.together[i] == pytest.approx(expected, abs=1e-4)


def test_a_group_is_found_once(fitted: Fitted, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(operators, "joint_rank", None)
    for key, group in fitted.groups.items():
        assert operators_of(fitted.planted.store, group, None) == fitted.found[key]  # type: ignore[arg-type]
