"""Write docs/parameters.md from the compiled pipeline: `python -m scripts.parameters [--check]`.

Names, types, defaults and meanings are the YAML's. Only the order, and the words before each group,
are this file's; a parameter that is in no group is refused.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from components.pages import DOCS, keep_current, row
from yololine import pipeline_package
from yololine.detector.architectures import FAMILIES
from yololine.detector.config import CHOSEN_BY_AUTO, OPTIMIZERS, OPTIONS, UNLIMITED, Option
from yololine.evaluation.promotion import METRICS, OVERALL
from yololine.runs.package import Parameter, ParameterType, read_package

PAGE = DOCS / "parameters.md"
TYPES = {
    ParameterType.INTEGER: "whole number",
    ParameterType.NUMBER: "number",
    ParameterType.STRING: "text",
    ParameterType.BOOLEAN: "true or false",
    ParameterType.LIST: "list",
    ParameterType.STRUCT: "mapping",
}

HEAD = """# Parameters

Generated from `pipelines/compiled/training.yaml` by `python -m scripts.parameters`; change the
docstring of `pipelines/training.py`.

The names are the same everywhere: in the KFP UI, in the `arguments` of `kfp.Client`, in the file of
`--parameters`, and on the command line, where `source_uri` is `--source-uri`. A mapping or a list
is JSON, `{"gpu-type": "a100"}`; in a file it may be YAML. What must be given has no default.
`preflight`, the first step, checks them all and names every fault at once.
"""


@dataclass(frozen=True, kw_only=True)
class Group:
    """A heading, what is said under it, and the parameters in their order."""

    title: str
    words: str
    names: tuple[str, ...]


GROUPS = (
    Group(
        title="Photographs and labels",
        words="Which layouts there are, and what cleaning drops: [Your own data](data.md).",
        names=("source_uri", "source_format", "max_dropped_fraction"),
    ),
    Group(
        title="Where results go",
        words="On a laptop the default of `store_uri` is the folder `yololine-store`, or what the "
        "variable `YOLOLINE_STORE` names.",
        names=("store_uri", "model_name"),
    ),
    Group(
        title="Split",
        words="Duplicates, and images of one group, never fall into different splits. What the two "
        "fractions leave is trained on.",
        names=("val_fraction", "test_fraction", "seed"),
    ),
    Group(
        title="Augmentation",
        words="A policy of your own is a file written by "
        '`albumentations.save(policy, path, data_format="yaml")`.',
        names=("augmentation_policy", "augmentation_copies"),
    ),
    Group(
        title="Detector and start weights",
        words="Architectures: "
        + "; ".join(
            f"`{family}` with {', '.join(f'`{size}`' for size in sizes)}"
            for family, sizes in FAMILIES.items()
        )
        + ". The last letter is the size, small to large: `yolo11n` is the smallest of its "
        "family.",
        names=("architecture", "weights_uri", "weights_sha256"),
    ),
    Group(
        title="Training",
        words="The training step starts a failed trainer again by itself, from its newest "
        "checkpoint; what a repetition cannot mend (memory, a loss that is no number, a mistake in "
        "the parameters) it does not repeat.",
        names=(
            "epochs",
            "image_size",
            "batch_size",
            "train_options",
            "train_retries",
            "train_retry_wait_seconds",
        ),
    ),
    Group(
        title="Promotion",
        words=f"""A version is promoted, and becomes the champion, when its AP50 on the test split
reaches `min_map50` and every further rule holds. A rule is a metric and its least value, a fraction
of 1:

```yaml
min_map50: 0.6
promotion_rules:
  ap50_95: 0.35
  per_class.scratch.recall: 0.8
```

Of all classes together there are {", ".join(f"`{name}`" for name in OVERALL)}; of one class,
`per_class.<class>.<metric>`, there are {", ".join(f"`{name}`" for name in METRICS)}. A version that
is not promoted is registered all the same, with the reasons in its report.""",
        names=("min_map50", "promotion_rules"),
    ),
    Group(
        title="Deployment",
        words="With `deploy` a version that is promoted goes live: [Deploy](deploy.md). The other "
        "parameters here are checked in any run, and used only then. Those of the deployment "
        "pipeline have the same names and meanings.",
        names=(
            "deploy",
            "deploy_service",
            "deploy_namespace",
            "deploy_strategy",
            "deploy_golden",
            "deploy_requests_uri",
            "deploy_timeout_seconds",
            "deploy_replicas",
            "deploy_max_replicas",
            "deploy_cpu",
            "deploy_memory",
            "deploy_gpu_count",
            "deploy_node_selector",
            "deploy_tolerations",
            "predictor_image",
            "serving_account",
        ),
    ),
    Group(
        title="Pods",
        words="On a laptop these are checked and not used, but for `gpu_count`: `0` trains on the "
        "processor. `gpu_type`, `gpu_count`, `cpu` and `memory` are limits of the training step.",
        names=(
            "data_image",
            "train_image",
            "gpu_type",
            "gpu_count",
            "cpu",
            "memory",
            "node_selector",
            "tolerations",
        ),
    ),
    Group(
        title="Access to the store",
        words="Credentials are never parameters: [MinIO and credentials](minio.md).",
        names=("store_secret", "store_config"),
    ),
)

OPTIONS_HEAD = f"""## Options of the trainer

`train_options` is a mapping of these names. They are ultralytics' own, and so are their meanings
and defaults; another name or value is refused before any GPU is asked for. With the optimizer
`auto`, the default, {", ".join(f"`{name}`" for name in CHOSEN_BY_AUTO)} have no effect, and are
refused too.
"""


def page() -> str:
    """The page's text.

    Raises:
        SystemExit: A parameter is in no group, or a group names none.
    """
    found = read_package(Path(pipeline_package("training"))).parameters
    parameters = {parameter.name: parameter for parameter in found}
    grouped = [name for group in GROUPS for name in group.names]
    if sorted(parameters) != sorted(grouped):
        odd = ", ".join(sorted(set(parameters) ^ set(grouped))) or "one twice"
        sys.exit(f"scripts/parameters.py: each parameter belongs to one group: {odd}")
    sections = [HEAD, *(_section(group, parameters) for group in GROUPS), OPTIONS_HEAD, *_options()]
    return "\n".join(sections)


def _section(group: Group, parameters: dict[str, Parameter]) -> str:
    rows = [
        # Two columns, because four are wider than a phone.
        row(
            f"`{name}`<br>{TYPES[parameters[name].type]}, {_default(parameters[name])}",
            parameters[name].description,
        )
        for name in group.names
    ]
    return "\n".join(
        [
            f"## {group.title}\n",
            f"{group.words}\n",
            row("name, type and default", "meaning"),
            row("---", "---"),
            *rows,
            "",
        ]
    )


def _default(parameter: Parameter) -> str:
    if parameter.required:
        return "must be given"
    value = parameter.default
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if value == "":
        return "empty"
    return f"`{value}`" if isinstance(value, str) else f"`{json.dumps(value)}`"


def _options() -> Iterator[str]:
    """One row for each range, because many options share one."""
    yield row("values", "options")
    yield row("---", "---")
    names: dict[str, list[str]] = {}
    for name, option in OPTIONS.items():
        names.setdefault(_values(option), []).append(name)
    for values, sharing in names.items():
        yield row(values, ", ".join(f"`{name}`" for name in sharing))
    yield ""


def _values(option: Option) -> str:
    if option.types == (bool,):
        return "true or false"
    if str in option.types:
        return ", ".join(f"`{name}`" for name in OPTIMIZERS)
    kind = "number" if float in option.types else "whole number"
    bounds = f"{option.least:g} or more"
    if option.greatest != UNLIMITED:
        bounds = f"{option.least:g} to {option.greatest:g}"
    return f"{kind}, {bounds}" + (", or a list of them" if list in option.types else "")


def main() -> int:
    """Write the page, or with `--check` return 1 where it is not current."""
    return keep_current(PAGE, page(), __doc__)


if __name__ == "__main__":
    sys.exit(main())
