"""Where a model's weights go: onto one device, or layer by layer over the GPUs that a worker was given."""

from typing import Any

from lincorr.errors import BadInput
from lincorr.model.files import ModelSpec

_SHARE = 0.9  # of a GPU's free memory, for weights; activations and head columns take the rest


def require_gpus(asked: int, visible: int) -> None:
    """Refuse a process that sees fewer GPUs than are asked for.

    Raises:
        BadInput: names what would help.
    """
    if visible < asked:
        raise BadInput(
            f"cluster.gpus_per_worker: {asked} GPUs are asked for and this worker sees {visible}; set it "
            "lower, or give every worker so many (cluster.gpus, CUDA_VISIBLE_DEVICES)"
        )


def placement(spec: ModelSpec, device: str, *, quantized: bool) -> dict[str, Any]:
    """Return the arguments of `from_pretrained` that place a model; none where it can be moved afterwards.

    It is spread evenly over the first GPUs that this process sees.

    Raises:
        BadInput: there are fewer GPUs than the model is to be spread over.
    """
    if spec.gpus == 1:
        return {"device_map": {"": device}} if quantized else {}
    import torch

    require_gpus(spec.gpus, torch.cuda.device_count() if device != "cpu" else 0)
    free = {gpu: int(_SHARE * torch.cuda.mem_get_info(gpu)[0]) for gpu in range(spec.gpus)}
    return {"device_map": "balanced", "max_memory": free}


def is_placed(model: Any) -> bool:
    """Whether a transformers model was placed as it was loaded, and is not to be moved."""
    return hasattr(model, "hf_device_map")


def devices_of(model: Any) -> list[Any]:
    """Return the devices over which a transformers model is spread, each once; none for one device."""
    return list(dict.fromkeys(getattr(model, "hf_device_map", {}).values()))


def require_placed(model: Any, spec: ModelSpec) -> None:
    """Refuse a model of which a part found no room on the GPUs: from a disk every pass would take minutes.

    Raises:
        BadInput: names what would help.
    """
    if spec.gpus > 1 and {"cpu", "disk"} & set(map(str, devices_of(model))):
        raise BadInput(
            f"model: the weights of {spec.source!r} do not fit on the {spec.gpus} GPUs of a worker; set "
            "cluster.gpus_per_worker higher, use a smaller model.dtype, or name a quantised checkpoint"
        )
