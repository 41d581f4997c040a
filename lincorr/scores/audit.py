"""What asking a sample of stored prompts again, plainly, has shown."""

from dataclasses import dataclass

import numpy as np

# The largest difference that rounding explains, by the precision that the model computes in.
_BOUNDS = {"float32": 1e-3, "float16": 5e-2, "bfloat16": 0.5}


@dataclass(frozen=True, slots=True)
class Audit:
    """Stored logits compared with those of the same prompts, asked one by one without mask and cache.

    Attributes:
        prompts: how many were asked again.
        difference: the largest in a stored logit, in standard deviations of its prompt's logits over the
            whole vocabulary.
    """

    prompts: int = 0
    difference: float = 0.0

    def __add__(self, other: "Audit") -> "Audit":
        worst = np.maximum(self.difference, other.difference)  # NaN if one is
        return Audit(self.prompts + other.prompts, float(worst))

    def verdict(self, compute: str) -> str:
        """Return a phrase about logits that were computed in a precision."""
        if not self.prompts:
            return "not audited; an earlier version made the store"
        return (
            f"{self.prompts:,} prompts asked again plainly: largest difference {self.difference:.1e} "
            f"standard deviations ({audit_bound(compute):g} is rounding in {compute})"
        )


NOT_AUDITED = Audit()


def audit_bound(compute: str) -> float:
    """Return the largest difference that rounding explains in a model that computes in this precision.

    A wrong mask or position makes one of several standard deviations.
    """
    return _BOUNDS.get(compute, _BOUNDS["float32"])
