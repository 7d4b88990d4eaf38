"""Write docs/components.md from the components: `python -m components.catalogue [--check]`."""

import inspect
import json
import re
import sys
from collections.abc import Iterator
from string import Template
from typing import Any, NamedTuple

import docstring_parser
from google.protobuf import json_format
from kfp.dsl.base_component import BaseComponent

from components import COMPONENTS, NEVER_CACHED, load
from components.pages import DOCS, keep_current, row

CATALOGUE = DOCS / "components.md"
TYPES = {
    "NUMBER_INTEGER": "integer",
    "NUMBER_DOUBLE": "number",
    "STRING": "text",
    "BOOLEAN": "boolean",
    "LIST": "list",
    "STRUCT": "object",
    "TASK_FINAL_STATUS": "status of the run",
}
SAID = re.compile(
    r"(?P<meaning>.*?)(?: \((?:(?P<unit>[a-z]+); )?(?P<range>[^()]*)\))?\.?", re.DOTALL
)
"""How a docstring speaks of an input: `Pause before each start (seconds; 0 to 86400).`"""

HEAD = '''# Components

Generated from `components/` by `python -m components.catalogue`; change the docstrings there.

Each step of the line is a KFP component of its own, for pipelines of your own:
[Compose a pipeline](compose.md) shows a whole one. The examples below are parts of this one:

```py
import yololine
from kfp import dsl
from yololine import images
from yololine.pod import always_run, on_cluster, on_gpu

$loads


@dsl.pipeline(name="mine")
def mine(source_uri: str, store_uri: str = "s3://mlpipeline/yololine"):
    pass  # the examples
```

- **Store**: `on_cluster` takes the keys from the secret `mlpipeline-minio-artifact` and the address
  from the ConfigMap `yololine-store`, or from what `store_secret=` and `store_config=` name.
- **Images**: each component names its own below. From another registry it is
  `on_cluster(task, image=images.image("data", registry="registry.example.com/vision"))`, and held by
  its digest `image="registry.example.com/vision/data@sha256:..."`.
- **GPUs**: `on_gpu` takes plain text and run parameters; what it is given, the step must be told as
  `resources`, since it trains on as many accelerators as stand there.
- **Cache**: Kubeflow's must not answer for $never_cached.
- **A component alone**, its YAML uploaded in the KFP UI, has the default secret and ConfigMap. Those
  that take another step's artifact cannot run alone: the UI has no way to give one.

A fraction is one of 1. The options of the trainer are in
[Parameters](parameters.md#options-of-the-trainer).

## A step of your own

A manifest names its files by their path in the store, with sha256 and size, so that what is read is
verified. This component reads a dataset's shards, Parquet with the images inside:

```py
@dsl.component(base_image=images.DATA, install_kfp_package=False)
def count_small(dataset: dsl.Input[dsl.Dataset], store_uri: str, pixels: float = 16.0) -> int:
    """Count the boxes that are narrower or lower than so many pixels."""
    import tempfile
    from pathlib import Path

    import pyarrow.parquet as pq

    from yololine.dataset.manifest import DatasetManifest
    from yololine.storage import fetch_files, open_store

    manifest = DatasetManifest.model_validate_json(Path(dataset.path).read_bytes())
    with tempfile.TemporaryDirectory() as folder:
        shards = [(shard, Path(folder, f"{n}.parquet")) for n, shard in enumerate(manifest.shards)]
        fetch_files(open_store(store_uri), shards)
        rows = pq.read_table([file for _, file in shards], columns=["objects"]).to_pylist()
    boxes = [box for row in rows for box in row["objects"]["bbox"]]
    return sum(min(width, height) < pixels for _, _, width, height in boxes)
```

Behind `clean_dataset` it is a step like the others:

```py
small = count_small(dataset=cleaned.outputs["dataset"], store_uri=store_uri)
on_cluster(small)
```

The columns: `image_id`, `file_name`, `image` (`bytes`, `path`), `width`, `height` in pixels,
`objects` (`bbox` as x, y, width, height in pixels, `category`), `group`, `sha256`,
`perceptual_hash`. Each image is a row; the class names are the manifest's `class_names`.
'''


class Input(NamedTuple):
    """What a component takes, as its docstring and its compiled specification have it."""

    name: str
    type: str
    meaning: str
    unit: str
    range: str
    default: str


def catalogue() -> str:
    """The catalogue's text."""
    head = Template(HEAD).substitute(
        loads="\n".join(f'{name} = yololine.component("{name}")' for name in COMPONENTS),
        never_cached=", ".join(f"`{name}`" for name in NEVER_CACHED),
    )
    return head + "".join("\n" + "\n".join(_section(name)) for name in COMPONENTS)


def inputs(component: BaseComponent) -> list[Input]:
    """What a component takes, artifacts included."""
    definitions = _definitions(component, "inputDefinitions")
    words = _words(component)
    found = []
    for name in component.component_spec.inputs or {}:
        said = SAID.fullmatch(words.get(name) or "")
        assert said  # it matches anything
        item = definitions[name]
        default = f"`{_plain(item['defaultValue'])}`" if "defaultValue" in item else "needed"
        found.append(
            Input(
                name=name,
                type=_type(item),
                meaning=said["meaning"],
                unit=said["unit"] or "",
                range=said["range"] or "",
                default="by Kubeflow"
                if item.get("parameterType") == "TASK_FINAL_STATUS"
                else default,
            )
        )
    return found


def _section(name: str) -> Iterator[str]:
    component = load(name)
    said = docstring_parser.parse(inspect.getdoc(component.python_func) or "")
    yield f"## {name}\n"
    yield f"{said.short_description}\n"
    never = " KFP's cache must not answer for it." if name in NEVER_CACHED else ""
    yield f"Image `{component.component_spec.implementation.container.image}`.{never}\n"
    columns = ("input", "type", "unit", "range", "default", "meaning")
    yield from _table(
        columns,
        [(f"`{i.name}`", i.type, i.unit, i.range, i.default, i.meaning) for i in inputs(component)],
    )
    words = _words(component)
    outputs = _definitions(component, "outputDefinitions")
    yield from _table(
        ("output", "type", "meaning"),
        [
            (f"`{output}`", _type(outputs[output]), (words.get(output) or "").rstrip("."))
            for output in component.component_spec.outputs or {}
        ],
    )
    yield "```py"
    yield from (example.description or "" for example in said.examples)
    yield "```\n"


def _definitions(component: BaseComponent, which: str) -> dict[str, Any]:
    # The compiled specification has the types; kfp drops what the docstring says of outputs.
    (spec,) = json_format.MessageToDict(component.pipeline_spec)["components"].values()
    found = spec.get(which, {})
    return {**found.get("parameters", {}), **found.get("artifacts", {})}


def _words(component: BaseComponent) -> dict[str, str | None]:
    said = docstring_parser.parse(inspect.getdoc(component.python_func) or "")
    words = {item.arg_name: item.description for item in said.params}
    return words | ({"Output": said.returns.description} if said.returns else {})


def _type(item: dict[str, Any]) -> str:
    if "artifactType" in item:
        return str(item["artifactType"]["schemaTitle"]).removeprefix("system.")
    return TYPES[item["parameterType"]]


def _table(columns: tuple[str, ...], rows: list[tuple[str, ...]]) -> Iterator[str]:
    if rows:
        for cells in (columns, ("---",) * len(columns), *rows):
            yield row(*cells)
        yield ""


def _plain(value: Any) -> str:
    """As JSON, and a whole number without the point that protobuf gives it."""
    return json.dumps(int(value) if isinstance(value, float) and value.is_integer() else value)


def main() -> int:
    """Write the catalogue, or with `--check` return 1 where it is not current."""
    return keep_current(CATALOGUE, catalogue(), __doc__)


if __name__ == "__main__":
    sys.exit(main())
