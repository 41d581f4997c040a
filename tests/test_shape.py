"""No file over 400 lines, no function over 60."""

import ast
from pathlib import Path

ROOT = Path(__file__).parents[1]
FILES = [
    path
    for folder in ("lincorr", "pipeline", "tests", "benchmarks", "deploy")
    for path in sorted((ROOT / folder).rglob("*.py"))
]
LINES_OF_A_FILE, LINES_OF_A_FUNCTION = 400, 60


def functions(text: str) -> dict[str, int]:
    """The lines of every function, its decorators not counted."""
    return {
        f"{node.name}, line {node.lineno}": (node.end_lineno or node.lineno) - node.lineno + 1
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }


def test_functions_are_measured():
    assert functions("@a\ndef f():\n  def g(): pass\n  return g\n") == {"f, line 2": 3, "g, line 3": 1}


def test_no_file_is_long():
    lengths = {str(path.relative_to(ROOT)): len(path.read_text("utf-8").splitlines()) for path in FILES}
    assert {"lincorr/store/store.py", "pipeline/run.py", "tests/test_shape.py"} <= set(lengths)
    assert {name: length for name, length in lengths.items() if length > LINES_OF_A_FILE} == {}


def test_no_function_is_long():
    assert {
        f"{path.relative_to(ROOT)}: {name}": length
        for path in FILES
        for name, length in functions(path.read_text("utf-8")).items()
        if length > LINES_OF_A_FUNCTION
    } == {}
