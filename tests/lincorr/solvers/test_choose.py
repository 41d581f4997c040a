"""Which solver is chosen, why, and what is refused before anything starts."""

from typing import Any

import pytest

from lincorr.errors import BadInput
from lincorr.solvers.choose import Choice, choose, largest_tile, tile_bytes


def chosen(n: int, p: int, q: int = 100, **changes: Any) -> Choice:
    known: dict[str, Any] = {"width": 576, "hidden": False, "memory_bytes": 10**10} | changes
    return choose(n, p, q, **known)


@pytest.mark.parametrize(
    ("n", "p", "changes", "method"),
    [
        (5_000, 220, {}, "direct"),
        (5_000, 220, {"hidden": True}, "direct"),
        (24_576, 49_152, {"hidden": True}, "factored"),
        (500, 49_152, {"hidden": True, "linear": False}, "direct"),
        (1_000_000, 2_000, {}, "gram"),
        (2_500, 49_152, {}, "direct"),
        (2_500, 131_072, {}, "dual"),
        (24_576, 49_152, {}, "lowrank"),
        (10_000, 49_152, {"linear": False}, "dual"),
        (24_576, 49_152, {"linear": False}, "tiled"),
        (24_576, 49_152, {"memory_bytes": 700_000_000}, "tiled"),
    ],
)
def test_the_choice_follows_the_sizes(n, p, changes, method):
    choice = chosen(n, p, **changes)
    assert choice.method == method, choice.reason
    assert choice.out_of_core == (method not in ("direct", "factored"))
    assert choice.reason.startswith(f"{n:,} x {p:,} -> 100: ")


def test_a_user_is_told_why_a_soft_capped_head_is_not_factored():
    assert "soft-capped" in chosen(500, 49_152, hidden=True, linear=False).reason
    with pytest.raises(
        BadInput, match=r"fit\.method: factored cannot solve .*: the model's head is soft-capped"
    ):
        chosen(500, 49_152, hidden=True, linear=False, method="factored")


@pytest.mark.parametrize(
    ("n", "p", "changes", "words"),
    [
        (100, 200, {"method": "factored"}, r"keeps no hidden states \(store\.hidden\)"),
        (100_000, 49_152, {"method": "gram"}, "eigendecomposition of 49,152 columns takes too long"),
        (20_000, 49_152, {"method": "dual"}, "eigendecomposition of 20,000 rows takes too long"),
        (100, 200, {"method": "lowrank", "linear": False}, "more directions than the model is wide"),
        (100, 200, {"method": "tiled", "root_penalty": 0.0}, r"it needs λ > 0, and fit\.penalty is 0"),
        (50_000, 50_000, {"method": "direct"}, r"needs 270\.24 GB of memory and has 10\.00 \(fit\.memory\)"),
        (100, 49_152, {"method": "tiled", "memory_bytes": 10**8}, r"GB of memory and has 0\.10"),
    ],
)
def test_a_method_that_cannot_be_taken_is_refused_in_one_line(n, p, changes, words):
    with pytest.raises(
        BadInput, match=rf"^fit\.method: {changes['method']} cannot solve .*{words}"
    ) as caught:
        chosen(n, p, **changes)
    assert "\n" not in str(caught.value)


def test_what_fits_nowhere_is_refused_with_what_stands_in_the_way():
    with pytest.raises(
        BadInput, match=r"fit: no method solves .*tiled: it needs .*raise fit\.memory"
    ) as caught:
        chosen(24_576, 131_072, memory_bytes=10**8)
    assert "\n" not in str(caught.value)


def test_the_cost_is_told():
    choice = chosen(16_384, 8_192, 8_192, method="tiled")
    assert choice.flops == pytest.approx(16_384 * 8_192**2 * 3 + 8_192**3 * (1 / 3 + 2))
    assert choice.seconds(1e11) == pytest.approx(choice.flops / 1e11)
    assert "operations" in choice.reason
    assert "GB of scratch" in choice.reason
    assert chosen(5_000, 220).scratch_bytes == 0


@pytest.mark.parametrize("columns", [300, 8_192, 49_152, 131_072])
def test_tiles_fit_into_memory_and_are_nearly_equal(columns):
    memory = 700_000_000
    tile = largest_tile(columns, memory)
    assert tile_bytes(columns, tile) <= memory or tile <= 256
    last = columns % tile or tile
    assert last > tile // 2
    assert largest_tile(columns, 10 * memory) >= tile
