"""Every mistake with stores, made with the real command: folders, disks and S3 services."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.conftest import MinioServer
from tests.e2e.faulty import BOX, DATA_YAML, encoded, good, write
from tests.e2e.refusals import SIDE_BY_SIDE, Case, Place, Refusal, Refusals, check, run_case

pytestmark = pytest.mark.e2e

# Permissions bind root too once it has not the capability to pass over them.
BOUND = (
    ("setpriv", "--bounding-set=-dac_override,-dac_read_search,-fowner")
    if os.geteuid() == 0
    else ()
)


def _read_only(place: Place) -> dict[str, object]:
    place.store.mkdir(mode=0o555)
    return {}


def _no_start_weights(place: Place) -> dict[str, object]:
    """Refused at once, where making random ones takes seconds and has no part in the row."""
    return {"weights_uri": place.file("best.pt", ""), "weights_sha256": "0" * 64}


def _unreadable_file(folder: Path) -> None:
    write(folder, good())
    (folder / "images" / "good_003.jpg").chmod(0)


def _unreadable_folder(folder: Path) -> None:
    write(folder, good())
    (folder / "images").chmod(0)


FOLDERS = [
    Case(
        "a file for a store",
        lambda place: {"store_uri": place.file("store", "")},
        ("/store", "a file and a folder want the same name", "choose another path"),
        step="",
    ),
    Case(
        "a store below a file",
        {"store_uri": "/dev/null/store"},
        ("/dev/null/store", "a file and a folder want the same name", "choose another path"),
        step="",
    ),
    Case(
        "a store on the web",
        {"store_uri": "http://host/store"},
        ("http://host/store", "is no store", "write s3://bucket/prefix"),
        step="",
        code=2,
    ),
    Case(
        "a store without a name",
        {"store_uri": ""},
        ("''", "is no store", "write s3://bucket/prefix"),
        step="",
        code=2,
    ),
    Case(
        "a store that leaves the bucket",
        {"store_uri": "s3://bucket/../x"},
        ("'../x'", "is no path below the store's root", "no . or .."),
        step="",
        code=2,
    ),
    Case(
        "a read-only store",
        _read_only,
        ("/store", "no permission", "read and write the folder"),
        step="",
        prefix=BOUND,
    ),
    Case(
        "an unreadable photograph",
        _no_start_weights,
        ("images/good_003.jpg", "no permission", "read"),
        _unreadable_file,
        step="resolve_source",
        prefix=BOUND,
    ),
    Case(
        "an unreadable folder",
        {},
        ("/images", "no permission", "read"),
        _unreadable_folder,
        prefix=BOUND,
    ),
]


@pytest.fixture(scope="module")
def refusals(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Refusals]:
    asked = Refusals(request, tmp_path_factory)
    yield asked
    asked.close()


def _named(case: Case) -> str:
    return case.name


@pytest.mark.parametrize("case", FOLDERS, ids=_named)
@pytest.mark.skipif(
    os.geteuid() == 0 and not shutil.which("setpriv"), reason="root may do anything here"
)
def test_folders(case: Case, refusals: Refusals) -> None:
    check(case, refusals.to(case))


def _incompressible(folder: Path) -> None:
    """Ten photographs of noise, a third of a megabyte each."""
    random = np.random.default_rng(0)
    for number in range(10):
        noise = Image.fromarray(random.integers(0, 256, (330, 330, 3), np.uint8))
        write(
            folder,
            {f"images/{number}.png": encoded(noise, "PNG"), f"labels/{number}.txt": BOX},
        )
    write(folder, {"data.yaml": DATA_YAML})


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 2 MB: the run's records and logs fit on it, ten photographs of noise do not."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(disk)]
    try:
        mounted = subprocess.run(mount, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        pytest.skip("there is no mount")
    if mounted.returncode:
        pytest.skip(f"no disk can be mounted here: {mounted.stderr.strip()}")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


@pytest.mark.parametrize(
    "case",
    [
        Case(
            "a full store",
            {},
            (".parquet", "the disk is full", "free space or choose another"),
        ),
        Case(
            "a full disk for temporary files",
            {},
            ("the disk for temporary files is full", "set TMPDIR to a folder on a larger disk"),
        ),
    ],
    ids=_named,
)
def test_full_disks(case: Case, small_disk: Path, tmp_path: Path) -> None:
    on_it: dict[str, Path] = {"store_uri": small_disk / "store"} if "store" in case.name else {}
    folder = tmp_path / "case"
    folder.mkdir()
    case = replace(
        case,
        given=lambda place: _no_start_weights(place) | on_it,
        environ={} if on_it else {"TMPDIR": str(small_disk)},
        source=_incompressible,
        step="clean_dataset",
    )
    check(case, run_case(case, folder))


ACCESS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")


@pytest.fixture(scope="module")
def services(
    minio_server: MinioServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, str]]:
    """Addresses and buckets, by the names that the rows have for them."""
    bucket = minio_server.make_bucket()
    client = minio_server.client
    for name, content in {**good(), "photos.zip": "PK"}.items():
        folder = tmp_path_factory.getbasetemp() / "upload"
        path = folder / name
        write(folder, {name: content})
        client.fput_object(bucket_name=bucket, object_name=f"raw/{name}", file_path=str(path))
    with socket.create_server(("127.0.0.1", 0)) as silent, socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        yield {
            "bucket": bucket,
            "key": minio_server.access_key,
            "secret": minio_server.secret_key,
            "minio": minio_server.environ["AWS_ENDPOINT_URL"],
            "silent": f"http://127.0.0.1:{silent.getsockname()[1]}",
            "closed": f"http://127.0.0.1:{closed.getsockname()[1]}",
        }


@dataclass(frozen=True)
class S3Case:
    """A mistake with an S3 service; `{names}` stand for what `services` has by them.

    `on_folder` keeps the store in a folder, so that preflight is the one to refuse the source.
    """

    name: str
    words: tuple[str, ...]
    given: Mapping[str, str] = field(default_factory=dict)
    environ: Mapping[str, str] = field(default_factory=dict)
    on_folder: bool = False
    code: int = 1


OTHER_KEY = {"AWS_ACCESS_KEY_ID": "somebody-else"}
OTHER_SECRET = {"AWS_SECRET_ACCESS_KEY": "another-secret-of-nobody"}
S3 = [
    S3Case(
        "an access key of nobody",
        ("does not know this access key", "correct AWS_ACCESS_KEY_ID"),
        environ=OTHER_KEY,
    ),
    S3Case(
        "another secret key",
        ("the secret key is another one", "correct AWS_SECRET_ACCESS_KEY"),
        environ=OTHER_SECRET,
    ),
    S3Case(
        "no keys",
        ("AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY not set", "mlpipeline-minio-artifact"),
        environ=dict.fromkeys(ACCESS, ""),
    ),
    S3Case(
        "a bucket that is not there",
        ("s3://no-such-bucket/line", "has no bucket 'no-such-bucket'", "create it"),
        {"store_uri": "s3://no-such-bucket/line"},
    ),
    S3Case(
        "a bucket's name that is none",
        ("s3://b/line", "names no bucket", "write s3://bucket/prefix"),
        {"store_uri": "s3://b/line"},
        code=2,
    ),
    S3Case(
        "a service that is not there",
        ("does not answer (Connection refused)", "check AWS_ENDPOINT_URL"),
        environ={"AWS_ENDPOINT_URL": "{closed}"},
    ),
    S3Case(
        "a service that says nothing",
        ("accepts connections and does not answer", "check AWS_ENDPOINT_URL"),
        environ={"AWS_ENDPOINT_URL": "{silent}"},
    ),
    S3Case(
        "a host that is not there",
        ("no host is named 'nowhere.invalid'", "correct AWS_ENDPOINT_URL"),
        environ={"AWS_ENDPOINT_URL": "http://nowhere.invalid:9000"},
    ),
    S3Case(
        "a metadata address for a service",
        ("169.254.169.254", "is a cloud's metadata address", "name the object store"),
        environ={"AWS_ENDPOINT_URL": "http://169.254.169.254"},
        code=2,
    ),
    S3Case(
        "a metadata address in another spelling",
        ("2852039166", "is a cloud's metadata address", "name the object store"),
        environ={"AWS_ENDPOINT_URL": "http://2852039166"},
        code=2,
    ),
    S3Case(
        "a password in the service's address",
        (
            "AWS_ENDPOINT_URL=http://***@host:9000",
            "would reach logs",
            "give them as AWS_ACCESS_KEY_ID",
        ),
        environ={"AWS_ENDPOINT_URL": "http://{key}:{secret}@host:9000"},
        code=2,
    ),
    S3Case(
        "TLS where there is none",
        ("cannot be trusted or speaks no TLS", "http:// where the store speaks no TLS"),
        environ={"AWS_ENDPOINT_URL": "https{tail}"},
    ),
    S3Case(
        "a source of a bucket that is not there",
        ("s3://no-such-bucket", "has no bucket 'no-such-bucket'", "create it"),
        {"source_uri": "s3://no-such-bucket/raw"},
        on_folder=True,
    ),
    S3Case(
        "a source that another key may not read",
        ("does not know this access key", "correct AWS_ACCESS_KEY_ID"),
        {"source_uri": "s3://{bucket}/raw"},
        OTHER_KEY,
        on_folder=True,
    ),
    S3Case(
        "a source that is not there",
        ("s3://{bucket}/rwa", "holds no file", "check source_uri"),
        {"source_uri": "s3://{bucket}/rwa"},
        on_folder=True,
    ),
    S3Case(
        "an archive for a source",
        ("s3://{bucket}/raw/photos.zip", "is a file, and a source is a folder", "unpack it"),
        {"source_uri": "s3://{bucket}/raw/photos.zip"},
        on_folder=True,
    ),
    S3Case(
        "a source that leaves the bucket",
        ("'../etc'", "is no path below the store's root", "no . or .."),
        {"source_uri": "s3://{bucket}/../etc"},
        on_folder=True,
    ),
    S3Case(
        "a source of the metadata service",
        ("169.254.169.254", "is a cloud's metadata address", "name the object store"),
        {"source_uri": "s3://169.254.169.254/latest"},
        on_folder=True,
    ),
    S3Case(
        "weights that are not there",
        ("weights_uri='s3://{bucket}/best.pt'", "is not there", "the .pt file itself"),
        {
            "source_uri": "s3://{bucket}/raw",
            "weights_uri": "s3://{bucket}/best.pt",
            "weights_sha256": "0" * 64,
        },
        on_folder=True,
    ),
    S3Case(
        "a policy that is not there",
        ("s3://{bucket}/policy.yaml", "is not there", "the path or URI of a YAML file"),
        {"source_uri": "s3://{bucket}/raw", "augmentation_policy": "s3://{bucket}/policy.yaml"},
        on_folder=True,
    ),
    S3Case(
        "the bucket for a source, the store in it",
        ("takes in the store s3://{bucket}/line", "put the store beside the source"),
        {"source_uri": "s3://{bucket}"},
        code=2,
    ),
]


@pytest.fixture(scope="module")
def answers(
    services: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[S3Case], tuple[Case, Refusal]]]:
    """Each row's command as it was run, side by side with the others, and its answer."""
    names = services | {"tail": services["minio"].removeprefix("http")}
    with ThreadPoolExecutor(SIDE_BY_SIDE) as pool:
        asked = {}
        for row in S3:
            case = _with_names(row, names)
            asked[row.name] = case, pool.submit(run_case, case, tmp_path_factory.mktemp("s3"))
        yield lambda row: (asked[row.name][0], asked[row.name][1].result())


def _with_names(row: S3Case, names: Mapping[str, str]) -> Case:
    store = {} if row.on_folder else {"store_uri": "s3://{bucket}/line"}
    keys = dict(zip(ACCESS, ("{key}", "{secret}"), strict=True))
    environ = {"AWS_ENDPOINT_URL": "{minio}", **keys, **row.environ}
    return Case(
        row.name,
        {name: value.format(**names) for name, value in {**store, **row.given}.items()},
        tuple(words.format(**names) for words in row.words),
        step="preflight" if row.on_folder else "",
        code=row.code,
        environ={name: value.format(**names) for name, value in environ.items()},
    )


@pytest.mark.server
@pytest.mark.parametrize("row", S3, ids=lambda row: row.name)
def test_s3_services(
    row: S3Case,
    answers: Callable[[S3Case], tuple[Case, Refusal]],
    services: dict[str, str],
) -> None:
    case, refusal = answers(row)
    check(case, refusal)
    told = refusal.output + "".join(
        path.read_text(errors="replace")
        for path in refusal.place.folder.rglob("*")
        if path.is_file() and "source" not in path.parts
    )
    assert services["secret"] not in told
    assert OTHER_SECRET["AWS_SECRET_ACCESS_KEY"] not in told
