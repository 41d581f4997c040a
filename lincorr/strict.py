"""What YAML should refuse: a key with two values."""

from collections.abc import Hashable
from typing import Any

import yaml


def load_strict(text: str) -> Any:
    """Parse YAML into plain values.

    Raises:
        yaml.YAMLError: it is not valid, or gives a key two different values.
    """
    return yaml.load(text, Loader=_StrictLoader)


class _StrictLoader(yaml.SafeLoader):
    """A SafeLoader that refuses a key with two different values; SafeLoader itself takes the last one."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: dict[Hashable, Any] = {}
        for key_node, value_node in node.value:
            if key_node.tag == "tag:yaml.org,2002:merge":  # "<<" is meant to be overridden
                continue
            key = self.construct_object(key_node, deep=True)
            value = self.construct_object(value_node, deep=True)
            if isinstance(key, Hashable) and seen.setdefault(key, value) != value:
                raise yaml.constructor.ConstructorError(
                    None, None, f"{key!r} is given twice: keep one", key_node.start_mark
                )
        return super().construct_mapping(node, deep=deep)
