"""Who may import whom, read from the import statements of every file."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FILES = sorted(path for room in ("lincorr", "pipeline") for path in (ROOT / room).rglob("*.py"))


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


# The one room of each heavy library.
MODEL_ROOMS = {"lincorr.models", "lincorr.logits", "lincorr.transfer", "lincorr.testing"} | {
    "lincorr.editing",
    "lincorr.gradients",
    "lincorr.shallow",
}
ROOMS = {
    "torch": MODEL_ROOMS | {"pipeline.sizes"},  # which counts parameters on no device
    "transformers": MODEL_ROOMS | {"pipeline.sizes"},
    "peft": {"lincorr.models"},
    "tokenizers": {"lincorr.testing"},
    "zarr": {"lincorr.store", "lincorr.maps", "lincorr.scratch", "lincorr.chunks", "lincorr.places"},
    "obstore": {"lincorr.places"},
    "cupy": {"lincorr.arrays"},
    "cupyx": {"lincorr.arrays"},
    "dask": {"pipeline.clusters", "pipeline.places.worker_settings"},
    "distributed": {"pipeline.clusters", "pipeline.places.worker_settings"}
    | {f"pipeline.places.{kind}" for kind in ("address", "local", "ssh", "slurm")},
    "dask_cuda": {"pipeline.places.gpus"},
    "dask_jobqueue": {"pipeline.places.slurm"},
    "dask_kubernetes": {"pipeline.places.kubernetes"},
    "kr8s": {"pipeline.places.kubernetes"},
    "typer": {"pipeline.cli", "pipeline.flags"}
    | {module_name(path) for path in FILES if path.parent.name == "commands"},
    "rapidfuzz": {"lincorr.words"},
    "pydantic": {"pipeline.config"},
    "matplotlib": {
        f"pipeline.plots.{name}"
        for name in ("bipartite", "figure", "growth", "matrix", "path", "pearson", "weights")
    },
    "jinja2": {"pipeline.pages.render"},
    "pyarrow": {"pipeline.exports"},
}


MODULES = {module_name(path): ast.parse(path.read_text("utf-8")) for path in FILES}


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


def rooms_of(library: str) -> set[str]:
    return {name for name, tree in MODULES.items() if library in {i.split(".")[0] for i in imports(tree)}}


def test_the_reader_sees_imports():
    tree = ast.parse(
        "import a.b, c\nfrom d import e\nif TYPE_CHECKING:\n import f\ndef g():\n  import h\n"
        "class I:\n try:\n  import j\n except ImportError:\n  pass\n"
    )
    assert set(imports(tree)) == {"a.b", "c", "d", "f", "h", "j"}
    assert set(imports(tree, late=False)) == {"a.b", "c", "d", "j"}


def test_every_file_is_read():
    assert {"lincorr.store", "lincorr.solvers", "lincorr.solvers.direct", "pipeline.cli"} <= set(MODULES)


@pytest.mark.parametrize("foreign", ["pipeline", "dask", "distributed"])
def test_lincorr_imports_no_logistics(foreign):
    assert {name for name in rooms_of(foreign) if name.startswith("lincorr")} == set()


@pytest.mark.parametrize("library", ROOMS)
def test_a_heavy_library_has_one_room(library):
    assert rooms_of(library) <= ROOMS[library]


@pytest.mark.parametrize("library", ROOMS)
def test_a_room_is_in_use(library):
    assert rooms_of(library)


def test_only_tests_import_testing():
    assert {name for name, tree in MODULES.items() if "lincorr.testing" in imports(tree)} == set()


def test_solvers_do_not_import_each_other():
    shared = {"result", "cutoff", "spectrum", "thin_svd", "reduced", "choose"}  # choose knows every method
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


@pytest.mark.parametrize("light", ["pipeline.cli", "pipeline.config", "pipeline.executor", "lincorr.models"])
def test_a_light_module_imports_nothing_slow(light):
    slow = ("torch", "transformers", "dask", "distributed", "matplotlib")
    code = f"import sys, {light}; print(*[name for name in {slow!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


def test_no_file_is_named_after_nothing():
    empty = {"utils.py", "util.py", "base.py", "helpers.py", "common.py", "misc.py"}
    assert [path.name for path in FILES if path.name in empty] == []
