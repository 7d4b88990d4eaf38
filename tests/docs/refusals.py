"""Every rule that a refusal of yololine can name, read from the source.

A refusal is `SomeError(value, rule=..., remedy=...)`. What the rule says is followed back to the
texts it is made of: through a helper's parameter to the helper's calls, through a local name to
what is assigned to it, through a table at the top of the module to its rows. What only a run knows
is `...`.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from itertools import product
from pathlib import Path

from tests.docs.blocks import ROOT

ANYTHING = "..."
Function = ast.FunctionDef | ast.AsyncFunctionDef


def rules() -> dict[str, str]:
    """Rule -> where it is written, for instance `src/yololine/sample.py:385`."""
    found: dict[str, str] = {}
    for file in sorted((ROOT / "src" / "yololine").rglob("*.py")):
        module = _Module(file)
        for call in module.calls():
            for keyword in call.keywords:
                if keyword.arg == "rule":
                    for text in module.texts(keyword.value, call):
                        where = f"{file.relative_to(ROOT)}:{keyword.value.lineno}"
                        found.setdefault(" ".join(text.split()), where)
    # Nothing but another's words: it is that error whose text is looked for.
    return {text: where for text, where in found.items() if any(map(str.isalpha, text))}


class _Module:
    def __init__(self, file: Path) -> None:
        self.tree = ast.parse(file.read_text(encoding="utf-8"))
        self.parents = {
            child: parent
            for parent in ast.walk(self.tree)
            for child in ast.iter_child_nodes(parent)
        }

    def calls(self, name: str | None = None) -> Iterator[ast.Call]:
        """Every call, or those of one function of this module."""
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Call) and name in (None, ast.unparse(node.func)):
                yield node

    def texts(self, value: ast.expr, at: ast.AST) -> set[str]:
        """What an expression can say, where it stands."""
        match value:
            case ast.Constant(value=str(text)):
                return {text}
            case ast.JoinedStr():
                return self._joined(value.values, at)
            case ast.FormattedValue():
                return self.texts(value.value, at)
            case ast.BinOp(op=ast.Add()):
                return self._joined([value.left, value.right], at)
            case ast.IfExp():
                return self.texts(value.body, at) | self.texts(value.orelse, at)
            case ast.Name(id=name):
                return self._named(name, at) or {ANYTHING}
        return {ANYTHING}

    def _joined(self, parts: Iterable[ast.expr], at: ast.AST) -> set[str]:
        return {"".join(choice) for choice in product(*(self.texts(part, at) for part in parts))}

    def _named(self, name: str, at: ast.AST) -> set[str]:
        """What a name can say in the function around `at`."""
        function = self._function(at)
        if function is None:
            return set()
        arguments = [argument.arg for argument in (*function.args.args, *function.args.kwonlyargs)]
        if name in arguments:
            return self._passed(function, name, arguments.index(name))
        found: set[str] = set()
        for node in ast.walk(function):
            match node:
                case ast.Assign(targets=[target], value=value) | ast.For(target=target, iter=value):
                    values = getattr(value, "elts", []) if isinstance(node, ast.For) else [value]
                    found |= self._unpacked(name, target, values, at)
        return found

    def _passed(self, function: Function, name: str, position: int) -> set[str]:
        found: set[str] = set()
        for call in self.calls(function.name):
            given = {keyword.arg: keyword.value for keyword in call.keywords}
            if name in given:
                found |= self.texts(given[name], call)
            elif position < len(call.args):
                found |= self.texts(call.args[position], call)
        return found

    def _unpacked(
        self, name: str, target: ast.expr, values: Iterable[ast.expr], at: ast.AST
    ) -> set[str]:
        """What is assigned to the name, alone or among others in a tuple."""
        if isinstance(target, ast.Name):
            same = target.id == name
            return set().union(*(self.texts(value, at) for value in values)) if same else set()
        if not isinstance(target, ast.Tuple):
            return set()
        names = [ast.unparse(item) for item in target.elts]
        if name not in names:
            return set()
        found: set[str] = set()
        for value in values:
            for row in self._rows(value):
                found |= self.texts(row.elts[names.index(name)], row)
        return found

    def _rows(self, value: ast.expr) -> Iterator[ast.Tuple]:
        """The tuples that an expression can be."""
        match value:
            case ast.Tuple():
                yield value
            case ast.Call(func=ast.Name(id=name)):
                for function in ast.walk(self.tree):
                    if isinstance(function, Function) and function.name == name:
                        for node in ast.walk(function):
                            if isinstance(node, ast.Return) and isinstance(node.value, ast.Tuple):
                                yield node.value
            case ast.Subscript(value=ast.Name(id=name)):
                for node in self.tree.body:
                    if isinstance(node, ast.AnnAssign | ast.Assign):
                        target = node.target if isinstance(node, ast.AnnAssign) else node.targets[0]
                        if ast.unparse(target) == name and isinstance(node.value, ast.Dict):
                            yield from (
                                row for row in node.value.values if isinstance(row, ast.Tuple)
                            )

    def _function(self, node: ast.AST) -> Function | None:
        while node in self.parents:
            node = self.parents[node]
            if isinstance(node, Function):
                return node
        return None
