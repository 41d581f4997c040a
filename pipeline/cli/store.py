"""`lincorr store`: what a store holds, and whether it is intact."""

import typer

from lincorr.paths import as_meant
from pipeline.cli.output import JsonFlag, fact_table, print_json, say, show_table


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
            table.add_row(key, f"{value:,}" if type(value) is int else str(value))
    show_table(table)


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
