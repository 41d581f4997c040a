"""Everything in a store but scratch is read, and each part that is missing or damaged is one line."""

from collections.abc import Sequence
from contextlib import suppress

from lincorr.errors import StoreDamaged
from lincorr.relations.relation import Template
from lincorr.store.descriptions import GROUPS, Descriptions
from lincorr.store.head import Head
from lincorr.store.hierarchy import Hierarchy
from lincorr.store.shards import Shards
from lincorr.store.templates import stored_templates


def faults_of_data(hierarchy: Hierarchy, shards: Shards, head: Head) -> list[str]:
    """Return what is wrong with templates, tables, shards and output head."""
    try:
        return _faults(hierarchy, shards, head, stored_templates(hierarchy))
    except StoreDamaged as problem:
        return [str(problem)]


def _faults(hierarchy: Hierarchy, shards: Shards, head: Head, templates: Sequence[Template]) -> list[str]:
    groups = (*GROUPS, *(f"columns/{template.name}" for template in templates))
    faults = [_undescribed(key) for key in Descriptions(hierarchy).lost_groups(groups)]
    faults += _faults_of_tables(hierarchy, templates)
    for template in templates:
        faults += _faults_of_shards(hierarchy, shards, template)
    if hierarchy.identity.hidden and templates:
        try:
            head.read()
        except StoreDamaged as problem:
            faults.append(f"head: {problem}")
    return faults


def _undescribed(key: str) -> str:
    return f"missing or damaged: {key}/zarr.json"


def _faults_of_tables(hierarchy: Hierarchy, templates: Sequence[Template]) -> list[str]:
    faults = []
    tables: list[tuple[str, int | None]]
    tables = [(f"subjects/{part}", hierarchy.n_subjects) for part in ("id", "text", "class")]
    tables += [(f"columns/{template.name}/{part}", None) for template in templates for part in ("id", "text")]
    for key, rows in tables:
        try:
            hierarchy.table(key, slice(rows))
        except StoreDamaged as problem:
            faults.append(str(problem))
    return faults


def _faults_of_shards(hierarchy: Hierarchy, shards: Shards, template: Template) -> list[str]:
    with suppress(StoreDamaged):  # the table of its columns is damaged: a fault already
        n_columns = len(hierarchy.table(f"columns/{template.name}/id"))
        if lost := Descriptions(hierarchy).lost(template, n_columns):
            return [_undescribed(key) for key in lost]
    found = ((shard, shards.fault(template.name, shard)) for shard in range(shards.count))
    return [f"template {template.name!r}, shard {shard}: {fault}" for shard, fault in found if fault]
