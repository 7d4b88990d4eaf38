"""Write docs/components.md from the components: `python -m components.catalogue [--check]`."""

import argparse
import importlib
import inspect
import json
import sys
from pathlib import Path
from typing import Any

import docstring_parser
from google.protobuf import json_format
from kfp.dsl.base_component import BaseComponent

CATALOGUE = Path(__file__).parents[1] / "docs" / "components.md"
COMPONENTS = (
    "preflight",
    "resolve_source",
    "clean_dataset",
    "split_dataset",
    "augment_dataset",
    "prepare_weights",
    "build_test_set",
    "train_detector",
    "export_detector",
    "evaluate_detector",
    "decide_promotion",
    "register_model",
    "report_run",
)
"""In the order of the line."""
TYPES = {
    "NUMBER_INTEGER": "integer",
    "NUMBER_DOUBLE": "number",
    "STRING": "text",
    "BOOLEAN": "boolean",
    "LIST": "list",
    "STRUCT": "object",
    "TASK_FINAL_STATUS": "status of the run",
}

HEAD = """# Components

Generated from `components/` by `python -m components.catalogue`; change the docstrings there.
Each is a KFP component of its own: it imports `yololine.steps` and makes one call. What one hands
to the next is a small manifest; images, checkpoints and models lie in the store.
"""


def load(name: str) -> BaseComponent:
    """The component of a name."""
    component: BaseComponent = getattr(importlib.import_module(f"components.{name}"), name)
    return component


def catalogue() -> str:
    """The catalogue's text."""
    return HEAD + "".join(_section(load(name)) for name in COMPONENTS)


def _section(component: BaseComponent) -> str:
    # The compiled specification has the types; kfp drops what the docstring says of outputs.
    (spec,) = json_format.MessageToDict(component.pipeline_spec)["components"].values()
    said = docstring_parser.parse(inspect.getdoc(component.python_func) or "")
    words = {item.arg_name: item.description for item in said.params}
    if said.returns:
        words["Output"] = said.returns.description
    interface = component.component_spec
    lines = [
        f"\n## {component.name.replace('-', '_')}\n",
        f"{component.description}\n",
        f"Image `{interface.implementation.container.image}`.\n",
    ]
    for title, names, definitions in (
        ("Inputs", interface.inputs, spec.get("inputDefinitions", {})),
        ("Outputs", interface.outputs, spec.get("outputDefinitions", {})),
    ):
        kinds = definitions.get("parameters", {}) | definitions.get("artifacts", {})
        columns = ["name", "type", *(["default"] if title == "Inputs" else []), "meaning"]
        rows = [_row(title, name, kinds[name], words.get(name)) for name in names or {}]
        if rows:
            lines += [f"{title}:\n", _cells(columns), _cells(["---"] * len(columns)), *rows, ""]
    return "\n".join(lines)


def _row(title: str, name: str, item: dict[str, Any], words: str | None) -> str:
    default = ""
    if "artifactType" in item:
        kind = item["artifactType"]["schemaTitle"].removeprefix("system.")
    else:
        kind = TYPES[item["parameterType"]]
        default = f"`{_plain(item['defaultValue'])}`" if "defaultValue" in item else "needed"
    cells = [f"`{name}`", kind, " ".join((words or "").split()).replace("|", "\\|")]
    if title == "Inputs":
        cells.insert(2, default)
    return _cells(cells)


def _cells(texts: list[str]) -> str:
    return "| " + " | ".join(texts) + " |"


def _plain(value: Any) -> str:
    """As JSON, and a whole number without the point that protobuf gives it."""
    return json.dumps(int(value) if isinstance(value, float) and value.is_integer() else value)


def main() -> int:
    """Write the catalogue, or with `--check` return 1 where it is not current."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="compare, change nothing")
    check = parser.parse_args().check
    text = catalogue()
    if CATALOGUE.is_file() and CATALOGUE.read_text(encoding="utf-8") == text:
        return 0
    if check:
        print("docs/components.md is not current: run make fix")
        return 1
    CATALOGUE.parent.mkdir(exist_ok=True)
    CATALOGUE.write_text(text, encoding="utf-8")
    print("docs/components.md written")
    return 0


if __name__ == "__main__":
    sys.exit(main())
