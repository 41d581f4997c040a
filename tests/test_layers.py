"""Who may import whom, read from the import statements of every file.

`ROOMS` is the one table of the order; docs/architecture.md shows it, and `python tests/test_layers.py`
rewrites it there.
"""

import ast
import subprocess
import sys
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "architecture.md"
FILES = sorted(path for package in ("lincorr", "pipeline") for path in (ROOT / package).rglob("*.py"))

# From the top floor down: floor -> room -> what is in it. A room imports from lower floors only.
ROOMS: list[dict[str, str]] = [
    {"pipeline/cli": "the command line: one file a command group, with its table"},
    {
        "pipeline/study": "many relations side by side: families, matrices, growth",
        "pipeline/experiments": "W tested on the model: edits, gradients, flips, training, shallow networks",
        "pipeline/explore": "a local page that looks tokens up in maps",
    },
    {"pipeline/run": "the story: extract, fit, evaluate, report, run"},
    {"pipeline/evaluate": "what r is worth, what W says"},
    {
        "pipeline/extract": "the model check, and forward passes shard by shard",
        "pipeline/fit": "the maps of a relation, in memory or out of core",
        "pipeline/report": "pages, plots, Parquet, CSV and JSON: a pure function of the results",
    },
    {"pipeline/plan": "what a run will do and cost, and what a worker may hold"},
    {
        "pipeline/prepare": "configuration -> subjects and columns in the model's tokens",
        "pipeline/runtime": "where things run, and who may write: executors, clusters, locks",
    },
    {
        "pipeline/config": "settings from YAML; each one a flag",
        "lincorr/store": "the Zarr hierarchy: logits, hidden states, maps, scores, scratch",
    },
    {
        "lincorr/model": "find, fingerprint and load a language model; prompts -> hidden states and logits",
        "lincorr/relations": "what is asked, and the answers: templates, catalogue, word lists, ground truth",
        "lincorr/solvers": "least squares by six methods, and the choice between them",
    },
    {
        "lincorr/prompts": "tokens, subjects, answer columns, prefix trees",
        "lincorr/scores": "moments, r, hit rates, ranks, intervals; results as types",
    },
    {"lincorr": "arrays and their copies, errors, paths, text, the read-out, strict YAML"},
]
FLOOR = {room: floor for floor, rooms in enumerate(reversed(ROOMS)) for room in rooms}

# Doors: they may import any room of their package, and no room imports them.
DOORS = {"lincorr", "lincorr.testing", "pipeline.__main__"}


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def room_of(module: str) -> str | None:
    """The room of a module: its folder; a file beside the folders of pipeline is a room of its own."""
    package, _, rest = module.partition(".")
    if module in DOORS or not rest:
        return None
    if (ROOT / package / rest.split(".")[0]).is_dir() or package == "pipeline":
        return f"{package}/{rest.split('.')[0]}"
    return package


MODEL_ROOMS = {
    *(
        f"lincorr.model.{name}"
        for name in ("adapter", "causal", "device", "editing", "gguf", "gradients", "patching")
    ),
    *(f"lincorr.model.{name}" for name in ("huggingface", "language_model", "load", "shallow")),
    *(f"lincorr.model.{name}" for name in ("last_layer", "parts", "placement", "precision")),
    *(f"lincorr.model.{name}" for name in ("quantized", "transfer", "tree_inputs")),
    "lincorr.testing",
}
CLUSTERS = "pipeline.runtime.clusters"
LIBRARIES = {  # heavy library -> the modules that may import it
    "torch": MODEL_ROOMS | {"pipeline.plan.model_sizes"},  # which counts parameters on no device
    "transformers": MODEL_ROOMS | {"pipeline.plan.model_sizes"},
    "peft": {"lincorr.model.adapter"},
    "tokenizers": {"lincorr.testing"},
    "zarr": {
        f"lincorr.store.{name}"
        for name in (
            "asked",
            "chunks",
            "compact",
            "copy",
            "descriptions",
            "head",
            "hierarchy",
            "locations",
            "maps",
            "merge",
            "place",
            "scratch",
            "store",
        )
    },
    "obstore": {"lincorr.store.locations"},
    "cupy": {"lincorr.arrays", "lincorr.transfers"},
    "cupyx": {"lincorr.arrays", "lincorr.transfers"},
    "dask": {"pipeline.runtime.dask_executor", f"{CLUSTERS}.slurm", f"{CLUSTERS}.worker_settings"},
    "distributed": {f"pipeline.runtime.{name}" for name in ("attempt", "dask_executor", "steps")}
    | {f"{CLUSTERS}.worker_settings"}
    | {f"{CLUSTERS}.{kind}" for kind in ("address", "local", "ssh", "slurm", "slurm_time")},
    "dask_cuda": {f"{CLUSTERS}.gpus"},
    "dask_jobqueue": {f"{CLUSTERS}.slurm"},
    "dask_kubernetes": {f"{CLUSTERS}.kubernetes"},
    "kr8s": {f"{CLUSTERS}.kubernetes", f"{CLUSTERS}.pods"},
    "typer": {module_name(path) for path in FILES if path.parent == ROOT / "pipeline" / "cli"},
    "rapidfuzz": {"lincorr.prompts.words"},
    "pydantic": {"pipeline.config.sections", "pipeline.config.load"},
    "matplotlib": {module_name(path) for path in FILES if path.parent.name == "plots"},
    "jinja2": {"pipeline.report.pages.render"},
    "bokeh": {"pipeline.explore.page", "pipeline.explore.server"},
    "tornado": {"pipeline.explore.server"},
    "pyarrow": {"pipeline.report.tables"},
}


MODULES = {module_name(path): ast.parse(path.read_text("utf-8")) for path in FILES}


def rooms_table() -> str:
    """The table of docs/architecture.md, from the top floor down."""
    rows = [f"| {FLOOR[room] + 1} | `{room}` | {text} |" for floor in ROOMS for room, text in floor.items()]
    return "| floor | room | what is in it |\n| --- | --- | --- |\n" + "\n".join(rows) + "\n"


def imports(node: ast.AST, *, late: bool = True) -> Iterator[str]:
    """Every module that a file imports; without `late`, what importing the file itself imports."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import):
            yield from (alias.name for alias in child.names)
        elif isinstance(child, ast.ImportFrom):
            assert child.level == 0, "a relative import"
            inner = [f"{child.module}.{alias.name}" for alias in child.names]
            yield from (name if name in MODULES else child.module or "" for name in inner)
        elif late or not _is_late(child):
            yield from imports(child, late=late)


def _is_late(node: ast.AST) -> bool:
    """Whether code runs after the import: a function, or what only a type checker reads."""
    if isinstance(node, ast.If):
        return isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
    return isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)


def users_of(library: str) -> set[str]:
    return {name for name, tree in MODULES.items() if library in {i.split(".")[0] for i in imports(tree)}}


def test_the_reader_sees_imports():
    tree = ast.parse(
        "import a.b, c\nfrom d import e\nif TYPE_CHECKING:\n import f\ndef g():\n  import h\n"
        "class I:\n try:\n  import j\n except ImportError:\n  pass\n"
    )
    assert set(imports(tree)) == {"a.b", "c", "d", "f", "h", "j"}
    assert set(imports(tree, late=False)) == {"a.b", "c", "d", "j"}


def arrows() -> dict[tuple[str, str], list[str]]:
    """Imports between rooms: (from, to) -> the modules' names."""
    found: dict[tuple[str, str], list[str]] = {}
    for name, tree in MODULES.items():
        for target in sorted(set(imports(tree)) & set(MODULES)):
            pair = room_of(name), room_of(target)
            if pair[0] and pair[1] and pair[0] != pair[1]:
                found.setdefault((pair[0], pair[1]), []).append(f"{name} imports {target}")
    return found


def test_every_room_has_its_floor():
    assert {room_of(name) for name in MODULES} - {None} == set(FLOOR)


def test_arrows_point_down():
    upwards = {pair: names for pair, names in arrows().items() if FLOOR[pair[0]] <= FLOOR[pair[1]]}
    assert upwards == {}


def test_no_room_imports_a_door():
    assert {
        (name, door)
        for name, tree in MODULES.items()
        for door in DOORS & set(imports(tree))
        if name not in DOORS
    } == set()


def test_the_page_shows_the_table():
    assert rooms_table() in PAGE.read_text("utf-8")


def test_few_floors_and_few_arrows():
    """What keeps the house a house: lincorr counts as one room here, as its users see it."""
    of_pipeline = {pair for pair in arrows() if pair[0].startswith("pipeline")}
    assert len({(a, b if b.startswith("pipeline") else "lincorr") for a, b in of_pipeline}) <= 75
    assert len(FLOOR) <= 20
    assert len(ROOMS) <= 11


def test_every_file_is_read():
    assert {"lincorr.store.store", "lincorr.solvers", "lincorr.solvers.direct", "pipeline.cli.main"} <= set(
        MODULES
    )


@pytest.mark.parametrize("foreign", ["pipeline", "dask", "distributed"])
def test_lincorr_imports_no_logistics(foreign):
    assert {name for name in users_of(foreign) if name.startswith("lincorr")} == set()


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_heavy_library_has_one_room(library):
    assert users_of(library) <= LIBRARIES[library]


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_room_is_in_use(library):
    assert users_of(library)


def test_only_tests_import_testing():
    assert {name for name, tree in MODULES.items() if "lincorr.testing" in imports(tree)} == set()


def test_solvers_do_not_import_each_other():
    shared = {
        "result",
        "cutoff",
        "spectrum",
        "decomposed",
        "thin_svd",
        "eigen",
        "reduced",
        "choose",
        "centred",
    }  # choose knows every method, and centred those whose targets can be exchanged
    methods = {name for name in MODULES if name.startswith("lincorr.solvers.")} - {
        f"lincorr.solvers.{part}" for part in shared
    }
    assert methods
    for name in methods:
        assert methods.isdisjoint(imports(MODULES[name])), name


@pytest.mark.parametrize("late", [False, True], ids=["at import", "ever"])
def test_imports_have_no_cycle(late):
    graph = {name: set(imports(tree, late=late)) & set(MODULES) for name, tree in MODULES.items()}
    TopologicalSorter(graph).prepare()  # raises CycleError, which names the modules


def test_importing_everything_touches_no_gpu():
    """CuPy cannot be imported here, whether it is installed or not (Zarr imports it where it is)."""
    names = [name for name in MODULES if name != "pipeline.__main__"]
    code = (
        "import importlib, sys\n"
        "sys.modules['cupy'] = None\n"
        f"for name in {names!r}: importlib.import_module(name)\n"
        "import torch\n"
        "print(torch.cuda.is_initialized())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False"]


@pytest.mark.parametrize(
    "light", ["pipeline.cli.main", "pipeline.config", "pipeline.runtime.executor", "lincorr.model.load"]
)
def test_a_light_module_imports_nothing_slow(light):
    slow = ("torch", "transformers", "dask", "distributed", "matplotlib", "bokeh")
    code = f"import sys, {light}; print(*[name for name in {slow!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


def test_no_file_is_named_after_nothing():
    empty = {"utils.py", "util.py", "base.py", "helpers.py", "common.py", "misc.py"}
    assert [path.name for path in FILES if path.name in empty] == []


if __name__ == "__main__":
    text = PAGE.read_text("utf-8")
    start = text.index("| floor | room |")
    end = text.index("\n\n", start)
    PAGE.write_text(text[:start] + rooms_table().rstrip("\n") + text[end:], "utf-8")
