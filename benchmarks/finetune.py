"""Train a copy of a small language model briefly on English prose, for `lincorr resilience`.

    python benchmarks/finetune.py MODEL OUT [--lora]

The prose is Python's own documentation, which comes with every Python (`pydoc_data.topics`, 0.7 MB): another
domain than the model's, as post-training is. The copy is a model folder, or with --lora an adapter's.
"""

import argparse
import time
import warnings
from pathlib import Path
from pydoc_data import topics
from typing import Any

import numpy as np
import torch

from lincorr.model.files import ModelSpec
from lincorr.model.load import load_model


def main() -> None:
    """Train, tell the loss, save."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("out", type=Path)
    parser.add_argument("--lora", action="store_true")
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--rate", type=float, help="default: 5e-5, with --lora 1e-3")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    language_model = load_model(ModelSpec(options.model, dtype="float32", device="cpu"))
    torch.manual_seed(options.seed)
    model = with_adapter(language_model.model) if options.lora else language_model.model
    rate = options.rate or (1e-3 if options.lora else 5e-5)
    began = time.perf_counter()
    losses = train(model, passages(language_model.tokenizer), options.steps, rate, options.seed)
    model.save_pretrained(options.out)
    if not options.lora:
        language_model.tokenizer.save_pretrained(options.out)
    first, last = np.mean(losses[:10]), np.mean(losses[-10:])
    print(f"{options.steps} steps in {time.perf_counter() - began:.0f} s: loss {first:.3f} → {last:.3f}")
    print(options.out)


def passages(tokenizer: Any, length: int = 128) -> torch.Tensor:
    """Return the prose as rows of token ids."""
    ids = tokenizer("\n\n".join(topics.topics.values()))["input_ids"]
    rows = len(ids) // length
    return torch.tensor(ids[: rows * length]).reshape(rows, length)


def with_adapter(model: Any) -> Any:
    """Put a fresh LoRA adapter of rank 8 on every projection."""
    import peft

    wanted = peft.LoraConfig(r=8, lora_alpha=16, target_modules="all-linear", task_type="CAUSAL_LM")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        return peft.get_peft_model(model, wanted)


def train(model: Any, rows: torch.Tensor, steps: int, rate: float, seed: int, batch: int = 4) -> list[float]:
    """Train on next tokens with AdamW; return the loss of every step."""
    trained = [weight for weight in model.parameters() if weight.requires_grad]
    optimiser = torch.optim.AdamW(trained, lr=rate, weight_decay=0.0)
    order = torch.from_numpy(np.random.default_rng(seed).permutation(len(rows)))
    losses = []
    model.train()
    for step in range(steps):
        ids = rows[order[(torch.arange(batch) + step * batch) % len(order)]]
        logits = model(ids, use_cache=False).logits[:, :-1]
        loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten())
        optimiser.zero_grad()
        torch.autograd.backward(loss)
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimiser.step()
        losses.append(loss.item())
    model.eval()
    return losses


if __name__ == "__main__":
    main()
