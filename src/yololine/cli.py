"""The command line; every heavy import waits for the command that needs it."""

from __future__ import annotations

import io
import json
import re
import shlex
import sys
from collections.abc import Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from yololine import __version__, _compiled_files, pipeline_package
from yololine.errors import YololineError
from yololine.images import REGISTRY

if TYPE_CHECKING:
    from yololine.runs.outcome import RunOutcome
    from yololine.runs.package import Package, Parameter

_PARAMETERS_FILE = "parameters_file"
_OF_A_RUN = {"model", "rollback", "data_image", "store_secret", "store_config"}
_ROLLBACK = {"store_uri", "deploy_namespace", "deploy_golden", "deploy_timeout_seconds"}
"""Of the deployment pipeline's parameters: what no command takes, and all that a rollback does."""


class _Pipelines(click.Group):
    """One command for each compiled pipeline, made from its YAML when it is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        return [file.stem for file in _compiled_files("pipeline")]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self.list_commands(ctx):
            return None
        return pipeline_command(Path(pipeline_package(cmd_name)))


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, message="%(version)s")
def cli() -> None:
    """Retrain an industrial object detector as one auditable, resumable pipeline run."""


@cli.group(cls=_Pipelines, short_help="Run a compiled pipeline on this machine.")
def run() -> None:
    """Run a compiled pipeline here: the YAML that clusters run, with nothing else to start."""


@cli.command(short_help="Make up a small dataset to try the line on.")
@click.argument("out", type=click.Path(path_type=Path))
@click.option("--layout", type=click.Choice(["yolo", "voc"]), default="yolo", show_default=True)
@click.option("--images", type=int, default=240, show_default=True, help="Good pictures in it.")
@click.option("--seed", type=int, default=0, show_default=True)
def sample(out: Path, layout: str, images: int, seed: int) -> None:
    """Write a made-up dataset of steel surfaces with defects to the folder OUT.

    Faults as real datasets have them are planted on top of the good pictures, and listed.
    """
    from yololine.sample import generate_sample

    report = generate_sample(out, layout=layout, images=images, seed=seed)
    objects = ", ".join(f"{count} {name}" for name, count in report.objects_per_class.items())
    click.echo(f"{report.out}: {report.images} images in layout {report.layout}, {objects}")
    for fault in report.faults:
        click.echo(f"planted: {fault}")


@cli.command(
    "compile",
    short_help="Write a pipeline's YAML for your own image registry.",
    epilog="NAME is a pipeline, "
    + ", or a component, ".join(
        ", ".join(file.stem for file in _compiled_files(kind)) for kind in ("pipeline", "component")
    )
    + ".",
)
@click.argument("name", default="training")
@click.option("--registry", default=REGISTRY, show_default=True, help="Where images come from.")
@click.option("--tag", default=__version__, show_default=True, help="Which release of them.")
@click.option(
    "--image",
    "pins",
    multiple=True,
    metavar="IMAGE=REFERENCE",
    help="One image by its whole name: train=registry.example.com/ml/train@sha256:... Repeatable.",
)
@click.option(
    "--out",
    metavar="FILE.yaml",
    help="What to write; - is standard output. [default: NAME.yaml]",
)
def compile_(name: str, registry: str, tag: str, pins: tuple[str, ...], out: str | None) -> None:
    """Write the compiled pipeline or component NAME, training if not given, for your registry.

    Its images then come from REGISTRY/data:TAG, REGISTRY/train:TAG and REGISTRY/predictor:TAG. The
    file is what the UI's upload and kfp.Client take.
    """
    from yololine.runs.reissue import reissue

    issued = reissue(name, registry=registry, tag=tag, pins=pins)
    if out == "-":
        click.echo(issued.text, nl=False)
        return
    file = Path(out or f"{name}.yaml")
    issued.write(file)
    click.echo(f"{file}: {', '.join(issued.images.values())}")


@cli.command(short_help="Tell of a run, or of a version of a model.")
@click.argument("what", metavar="[RUN|VERSION]", default="latest")
@click.option("--store-uri", metavar="TEXT", help="Where runs and models are. [default: as run's]")
@click.option("--json", "as_json", is_flag=True, help="All there is to know, for programs.")
def show(what: str, store_uri: str | None, as_json: bool) -> None:
    """Print the essentials of a run or of a registered version.

    RUN is an id or the start of one, or latest, which is shown if nothing is given. VERSION is
    model@version, or model alone for its champion.
    """
    from rich.console import Console

    from yololine.runs import show as shown
    from yololine.runs.parameters import local_defaults
    from yololine.storage import open_store

    found = shown.look_up(open_store(store_uri or local_defaults()["store_uri"]), what)
    if as_json:
        click.echo(found.model_dump_json(indent=1))
    else:
        shown.show(found, Console(highlight=False))


class _Deployment(click.Command):
    """A command with the deployment pipeline's parameters as options, read when they are needed."""

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        *own, help_ = super().get_params(ctx)
        return [*own, *map(_option, _deployment_parameters(self.name)), help_]


@cli.command(cls=_Deployment, short_help="Put a registered version live behind KServe.")
@click.argument("model", metavar="NAME[@VERSION]")
@click.pass_context
def deploy(ctx: click.Context, /, model: str, **options: str | None) -> None:
    """Put a version live: the champion of the model NAME, or NAME@VERSION.

    The rollout is followed to its end, and golden images are sent to the endpoint. What was live
    before comes back where the version does not come up or answers otherwise than in evaluation.
    """
    _go_live(ctx, model, options)


@cli.command(cls=_Deployment, short_help="Put an earlier version live again.")
@click.argument("service", metavar="SERVICE")
@click.option("--to", "version", metavar="VERSION", help="[default: the one that was live before]")
@click.pass_context
def rollback(
    ctx: click.Context, /, service: str, version: str | None, **options: str | None
) -> None:
    """Go back to an earlier version of SERVICE, as carefully as to a new one."""
    _go_live(ctx, f"{service}@{version}" if version else service, options)


@cli.command(short_help="Serve a registered version on this machine.")
@click.argument("model", metavar="NAME[@VERSION]")
@click.option("--store-uri", metavar="TEXT", help="Where models are. [default: as run's]")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", type=int, default=8080, show_default=True, help="Of HTTP and the page.")
def serve(model: str, store_uri: str | None, host: str, port: int) -> None:
    """Serve the champion of the model NAME, or NAME@VERSION, by the code that serves in a cluster.

    The page at the address takes a picture and shows what is found in it.
    """
    from yololine.runs.parameters import local_defaults
    from yololine.serving.local import serve_from_store

    store_uri = store_uri or local_defaults()["store_uri"]
    serve_from_store(store_uri, model, host=host, port=port, announce=click.echo)


def _deployment_parameters(command: str | None) -> list[Parameter]:
    """Of the deployment pipeline, by the names that they have in a command of their own."""
    from dataclasses import replace

    from yololine.runs.package import read_package

    package = read_package(Path(pipeline_package("deployment")))
    return [
        replace(parameter, name=parameter.name.removeprefix("deploy_"))
        for parameter in package.parameters
        if parameter.name not in _OF_A_RUN and (command == "deploy" or parameter.name in _ROLLBACK)
    ]


def _go_live(ctx: click.Context, model: str, options: Mapping[str, str | None]) -> None:
    from dataclasses import fields

    from yololine.runs.parameters import local_defaults, merge
    from yololine.steps.deploy import go_live
    from yololine.steps.perform import terminable
    from yololine.steps.target import Target
    from yololine.storage import open_store

    command = ctx.info_name
    given = merge(
        _deployment_parameters(command),
        options={name: text for name, text in options.items() if text is not None},
        defaults=local_defaults(),
    )
    target = {
        one.name: given[short]
        for one in fields(Target)
        if (short := one.name.removeprefix("deploy_")) in given
    }
    try:
        # So that a job that is cancelled puts back what was live, as a step does.
        with terminable():
            live = go_live(
                open_store(given["store_uri"]),
                model,
                Target(**target),
                rollback=command == "rollback",
                say=click.echo,
            )
    except YololineError as error:
        raise error.reworded(partial(_in_options, given)) from error
    checked = f", {live.golden_checked} golden images as evaluated" if live.golden_checked else ""
    click.echo(f"{live.name}@{live.version} is live at {live.url}{checked}")


def _in_options(given: Mapping[str, Any], words: str) -> str:
    """The words with options where they name parameters of the pipeline: `--replicas 2`."""
    from yololine.runs.parameters import option_name

    def option(match: re.Match[str]) -> str:
        short, value = match[1].removeprefix("deploy_"), match[2].replace("=", " ")
        if short in given:
            return f"{option_name(short)}{value}"
        # A rollback takes its service without an option.
        return f"SERVICE{value}" if short == "service" else match[0]

    return re.sub(r"(?<![\w/.-])([a-z]+(?:_[a-z]+)+)(=?)", option, words)


def pipeline_command(file: Path) -> click.Command:
    """The command that runs a compiled pipeline, with an option for each of its parameters."""
    from yololine.runs.package import read_package

    package = read_package(file)

    @click.pass_context
    def run_pipeline(ctx: click.Context, /, **options: Any) -> None:
        command = f"{ctx.find_root().info_name} {shlex.join(sys.argv[1:])}"
        ctx.exit(_run(package, options.pop(_PARAMETERS_FILE), options, command))

    return click.Command(
        package.name,
        callback=run_pipeline,
        help=package.description,
        params=[
            click.Option(
                ["--parameters", _PARAMETERS_FILE],
                type=click.Path(path_type=Path, dir_okay=False),
                metavar="FILE.yaml",
                help="Parameters by their names, one a line; options win over it.",
            ),
            # Those that must be given come first.
            *map(_option, sorted(package.parameters, key=lambda p: not p.required)),
        ],
    )


def _option(parameter: Parameter) -> click.Option:
    from yololine.runs.package import ParameterType
    from yololine.runs.parameters import local_defaults, option_name

    metavar = {
        ParameterType.INTEGER: "INTEGER",
        ParameterType.NUMBER: "NUMBER",
        ParameterType.STRING: "TEXT",
        ParameterType.BOOLEAN: "true|false",
        ParameterType.LIST: "JSON-LIST",
        ParameterType.STRUCT: "JSON-MAPPING",
    }
    default = local_defaults().get(parameter.name, parameter.default)
    shown = default if isinstance(default, str) and default else json.dumps(default)
    # A bare --promote means true; any other option takes what follows, be it -1.
    bare: dict[str, Any] = {"is_flag": False, "flag_value": "true"}
    return click.Option(
        [option_name(parameter.name), parameter.name],
        metavar=metavar[parameter.type],
        **(bare if parameter.type is ParameterType.BOOLEAN else {}),
        help=f"{parameter.description} [{'required' if default is None else f'default: {shown}'}]",
    )


def _run(
    package: Package, file: Path | None, options: Mapping[str, str | None], command: str
) -> int:
    from rich.console import Console

    from yololine.runs.local import run_locally
    from yololine.runs.parameters import local_defaults, merge
    from yololine.runs.view import choose_view

    arguments = merge(
        package.parameters,
        file=file,
        options={name: text for name, text in options.items() if text is not None},
        defaults=local_defaults(),
    )
    outcome = run_locally(package, arguments, view=choose_view(Console()), command=command)
    # Where the terminal was closed there is nobody to tell; the exit code is right all the same.
    with suppress(OSError):
        _say_how_to_go_on(outcome)
    return outcome.exit_code


def _say_how_to_go_on(outcome: RunOutcome) -> None:
    if failure := outcome.failure:
        error = failure.error
        said = error.message
        if "\n" not in said and error.remedy not in said:
            said += f"; {error.remedy}"
        click.echo(f"error: {failure.step or 'the run'}: {said}", err=True)
        click.echo(f"log: {failure.log}", err=True)
    if outcome.exit_code:
        once = "Once that is mended, the" if outcome.failure else "The"
        told = f"{once} same command goes on from what is done:\n  {outcome.run.command}"
        click.echo(told, err=True)


def main(command: click.Command = cli) -> None:
    """The entry point: refusals in words on stderr, with the exit code of their kind."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a terminal may know ASCII alone
    try:
        command()
    except YololineError as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(error.exit_code)
