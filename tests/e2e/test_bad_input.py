"""Every mistake in parameters, weights and policies, made with the real command.

Each row is one mistake. Preflight names all faults at once, so that mistakes in different
parameters share a command. What has to be true of every answer is in `refusals.check`. Sources are
in `test_bad_sources` and `test_odd_files`, stores in `test_bad_stores`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.detector.tiny import save_model, untrained
from tests.e2e.faulty import picture
from tests.e2e.refusals import Case, Place, Refusals, check, together
from yololine.storage import sha256_file

pytestmark = pytest.mark.e2e

SECRET = "hunter2"
STRIKE = ("***", "holds a user, password or signature", "AWS_SECRET_ACCESS_KEY")
CARRIED = ("a mapping is wanted", "write for instance {a: 0.5}")


def _in_file(text: str | bytes, **more: object) -> Any:
    return lambda place: {"parameters": place.file("line.yaml", text), **more}


BEFORE_THE_RUN: list[Case] = [
    Case(
        "nothing is given",
        {"source_uri": None, "model_name": None},
        ("--source-uri", "--model-name", "has no default and was not given", "give it, or write"),
    ),
    Case(
        "an unknown option",
        {},
        ("--epoch'", "No such option", "Did you mean", "'--epochs'"),
        arguments=("--epoch", "3"),
    ),
    Case(
        "an option without its value",
        {},
        ("'--epochs'", "requires an argument"),
        arguments=("--epochs",),
    ),
    Case(
        "a word too many",
        {},
        ("Got unexpected extra argument (./photos)", "-h"),
        arguments=("./photos",),
    ),
    Case(
        "an unknown parameter in the file",
        _in_file("epoch: 3\n"),
        ("line.yaml: epoch", "is no parameter of this pipeline", "did you mean epochs?"),
    ),
    Case(
        "a parameter twice in the file",
        _in_file("seed: 1\nseed: 2\n"),
        ("line.yaml line 2: seed", "is given twice", "keep one of them"),
    ),
    Case(
        "a file that is no YAML",
        _in_file("seed: [1\nmodel_name: x\n"),
        ("line.yaml line 2", "is no YAML", "mend the file"),
    ),
    Case(
        "a file that is a list",
        _in_file("- seed\n"),
        ("line.yaml", "is a list, not a mapping of parameters", "write one `name: value` a line"),
    ),
    Case(
        "a file that is no text",
        _in_file(b"\xff\xd8\xff\xe0"),
        ("line.yaml", "is no UTF-8 text", "save it as UTF-8"),
    ),
    Case(
        "a file that is not there",
        {"parameters": "nowhere.yaml"},
        ("nowhere.yaml", "cannot be read (No such file or directory)", "check the path"),
    ),
    Case(
        "a file that is a folder",
        {"parameters": "."},
        ("'--parameters'", "File '.' is a directory", "-h"),
    ),
    Case(
        "a file that unfolds to a billion values",
        _in_file(
            "a0: &a0 [1, 1, 1, 1, 1, 1, 1, 1, 1]\n"
            + "".join(f"a{i + 1}: &a{i + 1} [{', '.join([f'*a{i}'] * 9)}]\n" for i in range(9))
        ),
        ("line.yaml line 6", "unfolds to more than 100000 values", "write it without aliases"),
    ),
    Case(
        "a date where text is wanted",
        _in_file("data_image: 2026-01-01\n"),
        ("data_image: 2026-01-01", "text is wanted, this is a date", "put it in quotes"),
    ),
    Case(
        "text for a number",
        {"epochs": "many"},
        ("--epochs many", "a whole number is wanted, this is text", "write for instance 3"),
    ),
    Case(
        "half an epoch",
        {"epochs": "2.5"},
        ("--epochs 2.5", "a whole number is wanted, this is a number", "write for instance 3"),
    ),
    Case(
        "not a number",
        {"val_fraction": "nan"},
        ("--val-fraction nan", "a number is wanted, finite", "write for instance 0.5"),
    ),
    Case(
        "more digits than there are epochs",
        {"epochs": "9" * 5000},
        ("... (5009 characters)", "a whole number is wanted", "write for instance 3"),
    ),
    Case(
        "a list for a mapping",
        {"train_options": "[1]"},
        ("--train-options [1]", "a mapping is wanted, this is a list", CARRIED[1]),
    ),
    Case(
        "a mapping that is cut off",
        {"train_options": '{"lr0": '},
        ('--train-options {"lr0":', "a mapping is wanted, this is text", CARRIED[1]),
    ),
    Case(
        "brackets without end", {"train_options": "[" * 100_000}, ("(100016 characters)", *CARRIED)
    ),
    Case(
        "a mapping deeper than any",
        {"train_options": f'{{"a": {"[" * 99}{"]" * 99}}}'},
        ('--train-options {"a": [[[', "this is a mapping of more than KFP can carry", CARRIED[1]),
    ),
    Case(
        "nothing for an option",
        {"train_options": '{"lr0": null}'},
        ('--train-options {"lr0": null}', "more than KFP can carry", CARRIED[1]),
    ),
    Case(
        "a number no float holds",
        {"train_options": f'{{"lr0": 1{"0" * 400}}}'},
        (
            '--train-options {"lr0": 1000',
            "this is a mapping of more than KFP can carry",
            CARRIED[1],
        ),
    ),
    Case(
        "text for a list",
        {"tolerations": "gpu"},
        ("--tolerations gpu", "a list is wanted, this is text", "write for instance [a, b]"),
    ),
    Case(
        "a password in the source",
        {"source_uri": f"s3://AKIA:{SECRET}@bucket/x"},
        ("--source-uri s3://***@bucket/x", *STRIKE),
    ),
    Case(
        "a password in the store",
        {"store_uri": f"s3://AKIA:{SECRET}@bucket/x"},
        ("--store-uri s3://***@bucket/x", *STRIKE),
    ),
    Case(
        "a password in the weights",
        {"weights_uri": f"s3://AKIA:{SECRET}@bucket/x.pt"},
        ("--weights-uri s3://***@bucket/x.pt", *STRIKE),
    ),
    Case(
        "a signed address",
        {"weights_uri": f"https://host/x.pt?X-Amz-Signature={SECRET}"},
        ("--weights-uri https://host/x.pt?***", *STRIKE),
    ),
    Case(
        "a password in the file",
        _in_file(f"augmentation_policy: s3://AKIA:{SECRET}@bucket/x\n", augmentation_policy=None),
        ("augmentation_policy: s3://***@bucket/x", *STRIKE),
    ),
    Case(
        "a name that is not UTF-8",
        {"model_name": "\udcff"},
        (r"--model-name \udcff", "holds a control character, or is not UTF-8", "write it without"),
    ),
    Case(
        "a placeholder of Kubeflow's",
        {"model_name": "{{$.pipeline_job_name}}"},
        ("{{$.pipeline_job_name}}", "with which Kubeflow Pipelines begins", "write it without"),
    ),
    Case(
        "the store is the source",
        lambda place: {"store_uri": place.source},
        ("/source'", "is the store too", "put the store beside the source"),
    ),
    Case(
        "the store is in the source",
        lambda place: {"store_uri": f"{place.source}/made/store"},
        ("/source'", "takes in the store", "put the store beside the source"),
    ),
    Case(
        "the source is all that is here",
        {"source_uri": ".", "store_uri": None},
        ("source_uri='.'", "takes in the store yololine-store", "set store_uri"),
    ),
    Case(
        "the store is in the source by a link",
        lambda place: _by_a_link(place),
        ("/source'", "takes in the store", "put the store beside the source"),
    ),
    Case(
        "an own folder of the store is the source",
        lambda place: {"source_uri": place.store / "runs"},
        ("/store/runs'", "takes in the store", "put the store beside the source"),
    ),
]


def _by_a_link(place: Place) -> dict[str, object]:
    (place.folder / "link").symlink_to(place.source)
    return {"store_uri": place.folder / "link" / "store"}


def _options(**options: object) -> dict[str, object]:
    return {"train_options": json.dumps(options)}


OPTION = "is no option: the line decides it"
BY_PREFLIGHT = [
    Case("no epoch", {"epochs": 0}, ("epochs=0", "must be 1 to 100000", "set it to 100")),
    Case(
        "epochs without end",
        {"epochs": "1e15"},
        ("epochs=1000000000000000", "must be 1 to", "set it"),
    ),
    Case(
        "an odd image size",
        {"image_size": 100},
        ("image_size=100", "must be a multiple of 32", "use 96 or 128"),
    ),
    Case(
        "no image size",
        {"image_size": 0},
        ("image_size=0", "must be a multiple of 32", "for instance 640"),
    ),
    Case(
        "a huge image size",
        {"image_size": 32_000},
        ("image_size=32000", "32 to 4096", "for instance 640"),
    ),
    Case("no batch", {"batch_size": 0}, ("batch_size=0", "must be 1 to 65536", "set it to 16")),
    Case("a seed below 0", {"seed": -1}, ("seed=-1", "must be 0 to 2147483647", "choose another")),
    Case(
        "a huge seed",
        {"seed": 2**40},
        ("seed=1099511627776", "must be 0 to 2147483647", "choose another"),
    ),
    Case("no validation", {"val_fraction": 0}, ("val_fraction=0", "must be above 0", "use 0.15")),
    Case(
        "a negative share",
        {"test_fraction": -0.1},
        ("test_fraction=-0.1", "must be above 0", "use 0.15"),
    ),
    Case(
        "nothing to train on",
        {"val_fraction": 0.6, "test_fraction": 0.4},
        ("val_fraction=0.6 and test_fraction=0.4", "leave nothing to train on", "less than 1"),
    ),
    Case(
        "a share in percent",
        {"max_dropped_fraction": 25},
        ("max_dropped_fraction=25", "must be 0 to 1", "not %"),
    ),
    Case(
        "an architecture that is not there",
        {"architecture": "yolo11q"},
        ("'yolo11q'", "is not a known architecture", "did you mean 'yolo11", "yolo26{n,s,m,l,x}"),
    ),
    Case(
        "a file for an architecture",
        {"architecture": "yolo11n.pt"},
        ("'yolo11n.pt'", "is not a known architecture", "did you mean 'yolo11n'"),
    ),
    Case(
        "an unknown option of the trainer",
        _options(mosiac=0.5),
        ("train_options['mosiac']=0.5", "is not an option of the trainer", "did you mean 'mosaic'"),
    ),
    Case(
        "an option out of range",
        _options(mosaic=50),
        ("train_options['mosaic']=50", "must be 0 to 1", "give a number"),
    ),
    Case(
        "an option of another type",
        _options(patience="long"),
        ("train_options['patience']='long'", "must be a whole number", "give"),
    ),
    Case(
        "an optimizer that is none",
        _options(optimizer="adamw"),
        ("'adamw'", "is no optimizer", "did you mean 'AdamW'"),
    ),
    Case(
        "a learning rate that nobody reads",
        _options(lr0=0.1),
        ("train_options['lr0']=0.1", "has no effect", "set optimizer too"),
    ),
    *(
        Case(
            f"the option {name}",
            _options(**{name: value}),
            (f"train_options['{name}']", OPTION, remedy),
        )
        for name, value, remedy in (
            ("epochs", 3, "use the parameter epochs"),
            ("device", "0", "use the parameters gpu_type and gpu_count"),
            ("resume", True, "goes on from its newest checkpoint"),
            ("project", "/tmp", "the step keeps what is needed"),
            ("single_cls", True, "the detector is that of the dataset"),
        )
    ),
    Case(
        "a model's name with a slash",
        {"model_name": "Line 3/Dents"},
        ("model_name='Line 3/Dents'", "lower-case letters", "use 'line-3-dents'"),
    ),
    Case(
        "a model's name that leaves the store",
        {"model_name": "../x"},
        ("model_name='../x'", "lower-case letters", "use 'x'"),
    ),
    Case(
        "no model's name", {"model_name": ""}, ("model_name=''", "must be 1 to 63", "choose a name")
    ),
    Case(
        "GPUs in words",
        {"gpu_count": "two"},
        ("gpu_count='two'", "must be a whole number, 0 or more", "give '1'"),
    ),
    Case(
        "fewer GPUs than none",
        {"gpu_count": -1},
        ("gpu_count='-1'", "must be a whole number, 0 or more", "give '1'"),
    ),
    Case(
        "GPUs in another script",
        {"gpu_count": "²"},
        ("gpu_count='²'", "must be a whole number", "give '1'"),
    ),
    Case(
        "a GPU that is no resource",
        {"gpu_count": "1", "gpu_type": "A100 80GB"},
        ("gpu_type='A100 80GB'", "is no Kubernetes resource", "nvidia.com/gpu"),
    ),
    Case(
        "a batch that cannot be dealt out",
        {"gpu_count": "3", "batch_size": 4},
        ("batch_size=4", "cannot be dealt out evenly", "a multiple of 3"),
    ),
    Case(
        "CPUs in words",
        {"cpu": "four"},
        ("cpu='four'", "is no Kubernetes quantity", "write it as '4'"),
    ),
    Case(
        "memory as people write it",
        {"memory": "16 GB"},
        ("memory='16 GB'", "is no Kubernetes quantity", "write it as '16Gi'"),
    ),
    Case(
        "a node's label that is none",
        {"node_selector": '{"gpu type": "a100"}'},
        ("node_selector['gpu type']", "is no label's name", "kubectl get nodes"),
    ),
    Case(
        "a node's label of another type",
        {"node_selector": '{"gpu": 8}'},
        ("node_selector['gpu']=8", "is no label value", "give text"),
    ),
    Case(
        "a toleration's field misspelt",
        {"tolerations": '[{"key": "gpu", "efect": "NoSchedule"}]'},
        ("tolerations[0].efect", "is no field of a toleration", "use effect"),
    ),
    Case(
        "a toleration that Kubernetes refuses",
        {"tolerations": '[{"operator": "Exists", "value": "x"}]'},
        ("tolerations[0].value='x'", "means nothing", "leave it out"),
    ),
    Case(
        "no image",
        {"train_image": " "},
        ("train_image=' '", "is no name of an image", "write it as registry:5000"),
    ),
    Case(
        "a source format that is not read",
        {"source_format": "coco"},
        ("'coco'", "is not known", "use one of: auto, yolo, voc"),
    ),
    Case(
        "more copies than allowed",
        {"augmentation_copies": 21},
        ("augmentation_copies=21", "must be 0 to 20", "use 1"),
    ),
    Case(
        "a wait of ages",
        {"train_retry_wait_seconds": "1e15"},
        ("train_retry_wait_seconds", "must be 0 to 86400", "use 300"),
    ),
    Case(
        "a metric that is none",
        {"promotion_rules": '{"map50": 0.5}'},
        ("promotion_rules['map50']", "is no metric", "use ap50, ap50_95 or per_class"),
    ),
    Case(
        "a threshold in percent",
        {"min_map50": 50},
        ("min_map50=50", "must be 0 to 1", "give a fraction"),
    ),
    Case(
        "a rule for a class that is not there",
        # Looked at only where the source and the other rules are as they should be.
        {
            "promotion_rules": '{"per_class.scratchs.ap50": 0.5}',
            "min_map50": 0.5,
            "source_format": "auto",
        },
        (
            "promotion_rules['per_class.scratchs.ap50']=0.5",
            "names a class that the model does not have",
            "did you mean 'scratch'",
        ),
    ),
]
ALL_AT_ONCE = Case(
    "all at once",
    {"epochs": 0, "image_size": 100, "model_name": "A", "source_uri": "nowhere"},
    ("4 faults", "epochs=0", "use 96 or 128", "model_name='A'", "nowhere: is not there"),
)


def _policy(text: str | bytes) -> Any:
    return lambda place: {
        "augmentation_policy": place.file("policy.yaml", text),
        "augmentation_copies": 1,
    }


def _transforms(*lines: str) -> Any:
    head = "transform:\n  __class_fullname__: Compose\n  p: 1.0\n  transforms:\n"
    return _policy(head + "".join(f"  {line}\n" for line in lines))


POLICIES = [
    Case(
        "a policy that is not known",
        {"augmentation_policy": "strong"},
        ("'strong'", "is not known", "use none, standard, or the path"),
    ),
    Case(
        "a policy that is not there",
        {"augmentation_policy": "nowhere.yaml"},
        ("nowhere.yaml", "is not there, or is no file", "or the path or URI of a YAML file"),
    ),
    Case(
        "a policy that is a folder",
        {"augmentation_policy": "/etc/"},
        ("policy /etc:", "is not there, or is no file", "use none, standard, or the path"),
    ),
    Case(
        "a policy on the web",
        {"augmentation_policy": "http://169.254.169.254/latest/policy.yaml"},
        ("http://169.254.169.254/latest", "is no store", "write s3://bucket/prefix"),
    ),
    Case(
        "a policy that is another file",
        {"augmentation_policy": "file:///etc/passwd"},
        ("/etc/passwd", "is no", ""),
    ),
    Case(
        "a policy that is no YAML",
        _policy("transform:\n  p: [1\nx: 2\n"),
        ("policy.yaml line 3", "is no YAML", "mend the file"),
    ),
    Case(
        "a policy that runs code",
        _policy("transform: !!python/object/apply:os.system ['true']\n"),
        ("policy.yaml line 1", "is no YAML of plain values", "mend the file"),
    ),
    Case(
        "a transform that is not there",
        _transforms("- __class_fullname__: GaussianBlurr", "  p: 1.0"),
        (
            "policy.yaml line 5: GaussianBlurr",
            "is no transform of Albumentations",
            "did you mean GaussianBlur?",
        ),
    ),
    Case(
        "an argument that is not there",
        _transforms("- __class_fullname__: HorizontalFlip", "  p: 1.0", "  speed: 3"),
        ("policy.yaml line 5: HorizontalFlip", "speed", "correct the arguments"),
    ),
    Case(
        "a policy that makes no picture",
        _transforms("- __class_fullname__: ToFloat", "  p: 0.01"),
        ("policy.yaml line 5: ToFloat", "makes ndarray float32", "leave out Normalize, ToFloat"),
    ),
]


def _weights(make: Callable[[Path], None], *, sha256: str = "") -> Any:
    def given(place: Place) -> dict[str, object]:
        file = place.folder / "best.pt"
        make(file)
        return {"weights_uri": file, "weights_sha256": sha256 or sha256_file(file)}

    return given


def _of(architecture: str) -> Callable[[Path], None]:
    return lambda file: untrained(architecture, file) and None


def _cut_short(file: Path) -> None:
    file.write_bytes(untrained("yolo11n", file).read_bytes()[:-200_000])


def _jpeg(file: Path) -> None:
    file.write_bytes(picture(1))


def _classifier(file: Path) -> None:
    from ultralytics.nn.tasks import ClassificationModel

    save_model(ClassificationModel("yolo11n-cls.yaml", nc=2, verbose=False), file)


class _Touch:
    """Leaves a mark when it is unpickled."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.file,)


def _hostile(file: Path) -> None:
    content = torch.load(untrained("yolo11n", file), weights_only=False)
    content["model"].names = {0: _Touch(file.with_name("mark"))}
    torch.save(content, file)


NO_DETECTOR = ("best.pt", "is not a readable detector", "export it again with ultralytics")
WEIGHTS_BY_PREFLIGHT = [
    Case(
        "weights without a sha256",
        {"weights_uri": "best.pt", "weights_sha256": ""},
        ("weights_sha256=''", "is no sha256", "64 hex digits"),
    ),
    Case(
        "a sha256 without weights",
        {"weights_uri": "", "weights_sha256": "0" * 64},
        ("weights_sha256='000", "is given without weights_uri", "give both"),
    ),
    Case(
        "weights that are not there",
        {"weights_uri": "best.pt", "weights_sha256": "0" * 64},
        ("best.pt'", "is not there, or is no file", "the .pt file itself"),
    ),
    Case(
        "weights that are a folder",
        {"weights_uri": "/etc/", "weights_sha256": "0" * 64},
        ("weights_uri='/etc", "is not there, or is no file", "the .pt file itself"),
    ),
    Case(
        "weights on the web",
        {"weights_uri": "http://169.254.169.254/x.pt", "weights_sha256": "0" * 64},
        ("http://169.254.169.254", "is no store", "write s3://bucket/prefix"),
    ),
]
WEIGHTS = [
    Case(
        "weights of another sha256",
        _weights(_jpeg, sha256="0" * 64),
        ("best.pt with sha256", "weights_sha256 says 000", "fetch the file again"),
    ),
    Case("weights that are cut short", _weights(_cut_short), NO_DETECTOR),
    Case("weights that are a photograph", _weights(_jpeg), NO_DETECTOR),
    Case("weights that run code", _weights(_hostile), NO_DETECTOR),
    Case(
        "weights of a classifier",
        _weights(_classifier),
        ("best.pt", "holds a ClassificationModel", "task=detect"),
    ),
    Case(
        "weights of another size",
        _weights(_of("yolov8n")),
        (
            "best.pt with weights of yolov8n",
            "architecture says yolo11n",
            "set architecture to yolov8n",
        ),
    ),
]


IN_PREFLIGHT = [*BY_PREFLIGHT, *POLICIES, *WEIGHTS_BY_PREFLIGHT]
TOGETHER = together(IN_PREFLIGHT, made=("augmentation_policy", "augmentation_copies"))


@pytest.fixture(scope="module")
def refusals(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Refusals]:
    asked = Refusals(request, tmp_path_factory, commands=TOGETHER)
    yield asked
    asked.close()


def _named(case: Case) -> str:
    return case.name


@pytest.mark.parametrize("case", [replace(c, step="", code=2) for c in BEFORE_THE_RUN], ids=_named)
def test_refused_before_a_run_begins(case: Case, refusals: Refusals) -> None:
    refusal = refusals.to(case)
    check(case, refusal)
    assert SECRET not in refusal.output
    assert not refusal.place.store.exists()
    assert not (refusal.place.folder / "yololine-store").exists()


@pytest.mark.parametrize("case", [*IN_PREFLIGHT, ALL_AT_ONCE], ids=_named)
def test_refused_by_preflight(case: Case, refusals: Refusals) -> None:
    refusal = refusals.to(case)
    check(refusals.command(case), refusal)
    assert set(refusal.records) == {"preflight", "report_run"}
    error = refusal.records["preflight"].error
    assert error
    faults = [error.message] if case is ALL_AT_ONCE else error.message.splitlines()
    assert any(all(words in fault for words in case.words) for fault in faults)


@pytest.mark.parametrize(
    "case", [replace(case, step="prepare_weights") for case in WEIGHTS], ids=_named
)
def test_weights_are_refused_and_nothing_of_them_runs(case: Case, refusals: Refusals) -> None:
    refusal = refusals.to(case)
    check(case, refusal)
    assert "train_detector" not in refusal.records
    assert not (refusal.place.folder / "mark").exists()
