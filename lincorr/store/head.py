"""The output head of a store: written once, read once for an opened store."""

from typing import cast

import numpy as np
import zarr

from lincorr.errors import StoreDamaged
from lincorr.readout import Readout
from lincorr.store.chunks import checksummed, panel
from lincorr.store.hierarchy import READ_ERRORS, Hierarchy
from lincorr.store.seal import seal


class Head:
    """The stored output head."""

    def __init__(self, hierarchy: Hierarchy) -> None:
        self._hierarchy = hierarchy
        self._readout: Readout | None = None

    def exists(self) -> bool:
        """Whether the output head was stored completely."""
        try:
            return bool((self._hierarchy.attributes("head") or {}).get("complete"))
        except StoreDamaged:
            return False

    def write(self, readout: Readout) -> None:
        """Store the output head: weight (V, d) and bias (V,) in float32, scale and softcap as attributes."""
        self._readout = None
        self._hierarchy.close_arrays()
        group = self._hierarchy.group.create_group("head", overwrite=True)
        for name, value in (("weight", readout.weight), ("bias", readout.bias)):
            if value is not None:
                row_bytes = int(np.prod(value.shape[1:])) * 4
                array = group.create_array(
                    name,
                    shape=value.shape,
                    chunks=(panel(value.shape[0], row_bytes), *value.shape[1:]),
                    dtype=np.float32,
                    fill_value=float("nan"),
                    compressors=checksummed(),
                    dimension_names=("token", "width")[: value.ndim],
                    overwrite=True,
                )
                array[...] = value
        facts = {"scale": readout.scale, "softcap": readout.softcap, "bias": readout.bias is not None}
        group.update_attributes({**facts, "seal": seal(facts), "complete": True})

    def readout(self) -> Readout:
        """Return the output head, float32 and read-only; it is read from the store once.

        Raises:
            StoreDamaged: it is missing or damaged.
        """
        if self._readout is None:
            self._readout = self.read()
        return self._readout

    def read(self) -> Readout:
        """Read the output head from the store, float32 and read-only.

        Raises:
            StoreDamaged: it is missing or damaged.
        """
        hierarchy = self._hierarchy
        if not self.exists():
            raise StoreDamaged(f"store: {hierarchy.url!r} has no output head; run `lincorr extract` again")
        try:
            group = cast(zarr.Group, hierarchy.group["head"])
            facts = {name: group.attrs[name] for name in ("scale", "softcap")}
            facts["bias"] = group.attrs.get(
                "bias", "bias" in hierarchy.names("head")
            )  # older stores: as found
            if group.attrs.get("seal") not in (None, seal(facts)):
                raise ValueError("its scale, softcap or bias was changed")
            bias = np.asarray(hierarchy.array("head/bias")[...]) if facts["bias"] else None
            weight = np.asarray(hierarchy.array("head/weight")[...])
            if np.isnan(weight).any() or (bias is not None and np.isnan(bias).any()):
                raise ValueError("a chunk is missing")
        except (*READ_ERRORS, StoreDamaged) as problem:
            raise StoreDamaged(
                f"store: the output head in {hierarchy.url!r} is damaged ({problem}); delete its folder "
                "`head` and run `lincorr extract` again"
            ) from problem
        for array in (weight, bias):
            if array is not None:
                array.flags.writeable = False
        return Readout(weight, bias, cast(float, facts["scale"]), cast("float | None", facts["softcap"]))
