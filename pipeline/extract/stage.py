"""Make every forward pass that the store lacks."""

from lincorr.store.identity import Passes

# What a user is told of the way that a model takes.
_HOW: dict[Passes, str] = {
    "trunk": "Prompts are merged where they begin alike",
    "trees": "Prompts are merged where they begin alike; a constant beginning is computed for every subject",
    "plain": "Prompts that begin alike cannot be merged for this model; slower",
    "whole": "Hidden states do not lead to this model's logits; every pass computes all of them",
}
