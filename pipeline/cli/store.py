"""`lincorr store`: what a store holds, whether it is intact; stores joined, copied and made smaller."""

from pathlib import Path
from typing import Annotated

import typer

from lincorr.errors import BadInput
from lincorr.paths import as_meant
from lincorr.store.locations import is_remote
from pipeline.cli.output import JsonFlag, fact_table, print_json, say, show_table
from pipeline.runtime.console import Narrator
from pipeline.runtime.lock import sole_writer


def store_info(path: str, as_json: JsonFlag = False) -> None:
    """Show what a store holds."""
    from dataclasses import asdict

    from lincorr.scores.audit import audit_bound
    from lincorr.scores.documents import to_json
    from lincorr.store.store import LogitStore

    store = LogitStore.open(as_meant(path, "store"))
    templates = {
        t.name: {
            "text": t.text,
            "columns": len(store.column_ids(t.name)),
            "rows": sum(store.shards.whole_rows(t.name, shard) for shard in range(store.shards.count)),
        }
        for t in store.templates()
    }
    facts = asdict(store.identity) | {"subjects": store.n_subjects, "shards": store.shards.count}
    if store.cut_batches:
        facts["cut_batches"] = store.cut_batches
    audit = store.audit()
    facts["audit"] = to_json(audit) | {"bound": audit_bound(store.identity.compute)}
    asked = {name: len(store.asked.asked(name).get("questions", ())) for name in store.asked.names()}
    facts |= {"templates": templates, "asked": asked, "relations": store.maps.relations()}
    if as_json:
        print_json(facts)
        return
    table = fact_table(path)
    for key, value in facts.items():
        if key == "templates":
            for name, t in templates.items():
                text = f"{t['text']!r}: {t['columns']:,} columns, {t['rows']:,} rows"
                table.add_row(f"template {name}", text)
        elif key == "asked":
            for name, questions in asked.items():
                table.add_row(f"asked about {name}", f"{questions} questions")
        elif key == "audit":
            table.add_row(key, audit.verdict(store.identity.compute))
        else:
            table.add_row(key, _plain(value))
    show_table(table)


def _plain(value: object) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value))
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:,}" if isinstance(value, int) else str(value or "–")


def store_verify(path: str, as_json: JsonFlag = False) -> None:
    """Check every shard's completeness and checksum; exit 1 if one is incomplete or damaged."""
    from lincorr.store.store import LogitStore

    faults = LogitStore.open(as_meant(path, "store")).verify()
    if as_json:
        print_json({"faults": faults})
    elif faults:
        say("\n".join(faults))
        say(f"faults: {len(faults)}; `lincorr extract` repairs shards")
    else:
        say("every shard is complete and undamaged")
    if faults:
        raise typer.Exit(1)


def store_merge(path: str, other: str, as_json: JsonFlag = False) -> None:
    """Add to the store PATH what the store OTHER, of the same model and settings, has more."""
    from lincorr.store.merge import merge
    from lincorr.store.store import LogitStore

    path, other = as_meant(path, "store"), as_meant(other, "store")
    _require_two(path, other)
    for one in (path, other):
        LogitStore.open(one)  # refused before a lock is made
    with sole_writer(path, tell=say), sole_writer(other, or_read=True, tell=say):
        merged = merge(LogitStore.open(path, write=True), LogitStore.open(other))
    if as_json:
        print_json(merged)
        return
    new = f", templates {', '.join(merged.templates)}" if merged.templates else ""
    say(f"added: {merged.subjects:,} subjects, {merged.shards:,} shards{new}")
    if merged.missing:
        say(f"{merged.missing:,} rows of templates are in neither store; `lincorr extract` computes them")


def store_copy(
    path: str,
    to: Annotated[str, typer.Option("--to", help="Folder or URL, such as s3://bucket/run.zarr.")],
    as_json: JsonFlag = False,
) -> None:
    """Copy a store without its scratch, and check every checksum of the copy; exit 1 if it has a fault."""
    from lincorr.store.copy import copy_store, files_to_copy, require_free

    path, to = as_meant(path, "store"), as_meant(to, "--to")
    _require_two(path, to)
    require_free(path, to)  # before a lock is made
    with sole_writer(path, or_read=True, tell=say), sole_writer(to, tell=say):
        files = files_to_copy(path)
        with Narrator().progress("Copying", len(files), "files") as advance:
            copied = copy_store(path, to, files, advance)
    if as_json:
        print_json(copied)
    else:
        say(f"copied: {copied.files:,} files, {copied.bytes / 1e6:,.1f} MB; {copied.written:,} were missing")
        say("\n".join(copied.faults) or "every shard of the copy is complete and undamaged")
    if copied.faults:
        raise typer.Exit(1)


def store_compact(path: str, as_json: JsonFlag = False) -> None:
    """Delete scratch, and what killed runs have left; a later fit out of core decomposes its source again."""
    from lincorr.store.compact import compact
    from lincorr.store.store import LogitStore

    path = as_meant(path, "store")
    LogitStore.open(path)  # refused before a lock is made
    with sole_writer(path, tell=say):
        removed = compact(path)
    if as_json:
        print_json(removed)
    else:
        say(f"removed: {removed.files:,} files, {removed.bytes / 1e6:,.1f} MB")


def _require_two(first: str, second: str) -> None:
    places = {one.rstrip("/") if is_remote(one) else str(Path(one).resolve()) for one in (first, second)}
    if len(places) < 2:
        raise BadInput(f"store: {first!r} and {second!r} are the same place; name two")
