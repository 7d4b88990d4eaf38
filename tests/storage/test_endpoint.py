from __future__ import annotations

import socket

import pytest

from yololine.errors import UsageError
from yololine.storage import endpoint
from yololine.storage.endpoint import find_endpoint, refuse_metadata_host

IN_CLUSTER = {"KUBERNETES_SERVICE_HOST": "10.96.0.1"}


@pytest.mark.parametrize(
    ("environ", "shown"),
    [
        ({}, "https://s3.amazonaws.com (no AWS_ENDPOINT_URL is set)"),
        (
            {"AWS_ENDPOINT_URL": "http://minio:9000"},
            "http://minio:9000 (from AWS_ENDPOINT_URL)",
        ),
        (
            {"AWS_ENDPOINT_URL": " http://minio:9000/\n"},
            "http://minio:9000 (from AWS_ENDPOINT_URL)",
        ),
        (
            {"AWS_ENDPOINT_URL": "http://all", "AWS_ENDPOINT_URL_S3": "https://s3.example:8333"},
            "https://s3.example:8333 (from AWS_ENDPOINT_URL_S3)",
        ),
        (
            {"AWS_ENDPOINT_URL_S3": "", "AWS_ENDPOINT_URL": "https://[2001:db8::1]:9000"},
            "https://[2001:db8::1]:9000 (from AWS_ENDPOINT_URL)",
        ),
        (
            IN_CLUSTER | {"AWS_ENDPOINT_URL": "http://10.1.2.3:9000"},
            "http://10.1.2.3:9000 (from AWS_ENDPOINT_URL)",
        ),
    ],
)
def test_the_environment_names_the_service(environ: dict[str, str], shown: str) -> None:
    assert str(find_endpoint(environ, kubeflow_stores=())) == shown


@pytest.mark.parametrize(
    ("url", "rule"),
    [
        ("minio:9000", "does not begin with http"),
        ("s3://bucket", "does not begin with http"),
        ("http://", "does not begin with http"),
        ("http://minio:port", "is no address"),
        ("http://[::1", "is no address"),
        ("http://minio:9000/bucket", "more than a host and a port"),
        ("http://minio:9000?x=1", "more than a host and a port"),
        ("http://user:hunter2@minio:9000", "user or password"),
    ],
)
def test_no_address_is_refused(url: str, rule: str) -> None:
    with pytest.raises(UsageError, match=f"AWS_ENDPOINT_URL=.*{rule}") as refused:
        find_endpoint({"AWS_ENDPOINT_URL": url})
    assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize(
    "host",
    [
        "169.254.169.254",
        "169.254.170.2",
        "2852039166",
        "0xA9FEA9FE",
        "0251.0376.0251.0376",
        "169.254.43518",
        "::ffff:169.254.169.254",
        "[::ffff:a9fe:a9fe]",
        "fd00:ec2::254",
        "fe80::1",
        "metadata.google.internal",
        "METADATA.google.internal.",
    ],
)
def test_metadata_addresses_are_refused(host: str) -> None:
    with pytest.raises(UsageError, match="metadata address"):
        refuse_metadata_host(host)


def test_an_endpoint_is_no_metadata_address() -> None:
    for url in ("http://169.254.169.254", "http://[fd00:ec2::254]:80", "http://2852039166/"):
        with pytest.raises(UsageError, match="metadata address"):
            find_endpoint({"AWS_ENDPOINT_URL": url})


@pytest.mark.parametrize("host", ["10.0.0.1", "127.0.0.1", "::1", "minio", "bucket", "a" * 70, ""])
def test_other_addresses_are_not(host: str) -> None:
    refuse_metadata_host(host)


def test_in_a_cluster_the_first_kubeflow_store_that_answers_is_taken() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as old,
        socket.create_server(("127.0.0.1", 0)) as other,
    ):
        silent = ("127.0.0.1", 1)
        unknown = ("no-such-host.invalid", 9000)
        stores = [unknown, silent, old.getsockname(), other.getsockname()]
        found = find_endpoint(IN_CLUSTER, kubeflow_stores=stores)
        assert found.host == f"127.0.0.1:{old.getsockname()[1]}"
        assert not found.secure
        assert "this cluster's Kubeflow store answers" in found.reason
        outside = find_endpoint({}, kubeflow_stores=stores)
        assert outside.host == "s3.amazonaws.com"


@pytest.mark.parametrize(
    ("links", "named"),
    [
        (("SEAWEEDFS_SERVICE_HOST", "SEAWEEDFS_SERVICE_PORT_HTTP_S3"), True),
        (("MINIO_SERVICE_SERVICE_HOST", "MINIO_SERVICE_SERVICE_PORT"), True),
        # Another port of seaweedfs, whose services have none named http-s3: not S3's.
        (("SEAWEEDFS_SERVICE_HOST", "SEAWEEDFS_SERVICE_PORT"), False),
    ],
)
def test_in_kubeflow_s_own_namespace_its_store_is_taken(
    links: tuple[str, str], *, named: bool
) -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as here,
        socket.create_server(("127.0.0.1", 0)) as elsewhere,
    ):
        host, port = here.getsockname()
        environ = IN_CLUSTER | {links[0]: host, links[1]: str(port)}
        found = find_endpoint(environ, kubeflow_stores=[elsewhere.getsockname()])
        assert found.host == f"127.0.0.1:{(here if named else elsewhere).getsockname()[1]}"
        assert not found.secure
        # Such variables mean nothing outside a cluster.
        del environ["KUBERNETES_SERVICE_HOST"]
        assert find_endpoint(environ).host == "s3.amazonaws.com"


@pytest.mark.parametrize("port", ["", "1", "tcp://10.0.0.1:9000"])
def test_a_service_that_does_not_answer_is_passed_over(port: str) -> None:
    links = {"MINIO_SERVICE_SERVICE_HOST": "127.0.0.1", "MINIO_SERVICE_SERVICE_PORT": port}
    with socket.create_server(("127.0.0.1", 0)) as stock:
        found = find_endpoint(IN_CLUSTER | links, kubeflow_stores=[stock.getsockname()])
        assert found.host == f"127.0.0.1:{stock.getsockname()[1]}"


def test_in_a_cluster_without_a_kubeflow_store_it_is_aws() -> None:
    found = find_endpoint(IN_CLUSTER, kubeflow_stores=[("127.0.0.1", 1)])
    assert found.host == "s3.amazonaws.com"
    assert found.secure
    assert "this cluster has no Kubeflow store that answers" in found.reason


def test_a_stock_installation_is_known_by_name() -> None:
    # Dictated by Kubeflow Pipelines' manifests: 2.17's service, then that of older releases.
    assert endpoint.KUBEFLOW_STORES == (
        ("seaweedfs.kubeflow", 9000),
        ("minio-service.kubeflow", 9000),
    )
