"""A component is a shell: it imports `yololine.steps` and makes one call."""

from __future__ import annotations

import ast
import builtins
import inspect
import symtable
from pathlib import Path
from typing import Any

import docstring_parser
import pytest

import components
from components import COMPONENTS, load
from yololine import images, steps
from yololine.telemetry.records import STEPS

FOLDER = Path(components.__file__).parent
NO_COMPONENT = {"__init__", "catalogue", "pages"}


def _function(name: str) -> ast.FunctionDef:
    tree = ast.parse((FOLDER / f"{name}.py").read_text(encoding="utf-8"))
    (function,) = (node for node in tree.body if isinstance(node, ast.FunctionDef))
    return function


def _embedded(name: str) -> str:
    """The source that the compiled component carries."""
    command = load(name).component_spec.implementation.container.command
    source: str = command[-1]
    return source


def test_each_file_is_a_component_of_the_line() -> None:
    found = {path.stem for path in FOLDER.glob("*.py")} - NO_COMPONENT
    assert found == set(COMPONENTS) == set(STEPS)


@pytest.mark.parametrize("name", COMPONENTS)
def test_body_is_one_import_and_one_call(name: str) -> None:
    docstring, imported, call = _function(name).body
    assert isinstance(docstring, ast.Expr)
    assert isinstance(imported, ast.ImportFrom)
    assert ast.unparse(imported) == "from yololine import steps"
    assert isinstance(call, ast.Expr | ast.Return)
    choices = ast.IfExp | ast.BoolOp | ast.comprehension
    assert not [n for n in ast.walk(call) if isinstance(n, choices)]
    calls = [n for n in ast.walk(call) if isinstance(n, ast.Call)]
    assert [ast.unparse(n.func) for n in calls] == [f"steps.{name}"]
    assert callable(getattr(steps, name))


@pytest.mark.parametrize("name", COMPONENTS)
def test_call_fits_the_step(name: str) -> None:
    (call,) = (n for n in ast.walk(_function(name)) if _is_step_call(n, name))
    assert isinstance(call, ast.Call)
    keywords = {str(k.arg): None for k in call.keywords}
    inspect.signature(getattr(steps, name)).bind(*call.args, **keywords)


def _is_step_call(node: ast.AST, name: str) -> bool:
    return isinstance(node, ast.Call) and ast.unparse(node.func) == f"steps.{name}"


@pytest.mark.parametrize("name", COMPONENTS)
def test_embedded_source_names_nothing_from_outside(name: str) -> None:
    """Only the function's own body is there at run time: a module's import would be a NameError."""
    table = symtable.symtable(_embedded(name), name, "exec")
    (function,) = (t for t in table.get_children() if t.get_name() == name)
    free = {s.get_name() for s in function.get_symbols() if s.is_global()}
    assert free <= set(dir(builtins))
    # And its defaults are evaluated there.
    for default in _function(name).args.defaults:
        ast.literal_eval(default)


@pytest.mark.parametrize("name", COMPONENTS)
def test_every_input_and_output_is_described(name: str) -> None:
    component: Any = load(name)
    said = docstring_parser.parse(inspect.getdoc(component.python_func) or "")
    interface = component.component_spec
    described = {item.arg_name for item in said.params if item.description}
    described |= {"Output"} if said.returns else set()
    assert set(interface.inputs or {}) | set(interface.outputs or {}) == described


@pytest.mark.parametrize("name", COMPONENTS)
def test_nothing_is_installed_at_run_time(name: str) -> None:
    container = load(name).component_spec.implementation.container
    assert container.image in {images.DATA, images.TRAIN}
    assert "pip install" not in " ".join(map(str, (*container.command, *container.args)))
