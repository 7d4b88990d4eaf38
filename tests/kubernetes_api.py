"""A real Kubernetes: etcd, the API server, controllers and the scheduler; only nodes are played.

kwok plays the kubelets: of a pod that the scheduler has placed it says at once that it runs, or
what the pod's annotation `tests.kubelet.FATE` asks for.
"""

from __future__ import annotations

import ctypes
import ipaddress
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import urllib3
import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID
from kubernetes import client

from scripts import servers
from tests.kubelet import configuration, write_log

READY_SECONDS = 60
"""The servers are up in a few; a machine may have other things to do."""

_CONTROLLERS = (
    "clusterrole-aggregation-controller",
    "deployment-controller",
    "endpointslice-controller",
    "garbage-collector-controller",
    "namespace-controller",
    "replicaset-controller",
    "resourcequota-controller",
    "serviceaccount-controller",
)


class KubernetesApi:
    """One cluster of its own, on ports and a folder of its own; everyone shares its API."""

    def __init__(self, folder: Path, *, schemas: Path) -> None:
        """Prepare one.

        Args:
            folder: For etcd's data, keys, and each server's log.
            schemas: The folder of CustomResourceDefinitions.
        """
        self.folder = folder
        self.kubeconfig = folder / "kubeconfig"
        """Of a user who may do everything."""
        self._schemas = schemas
        self._token = uuid4().hex
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        with ExitStack() as held:
            free = [held.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(4)]
            etcd, peers, self._port, self._kubelet_port = (port.getsockname()[1] for port in free)
        self._etcd, self._etcd_peers = f"http://127.0.0.1:{etcd}", f"http://127.0.0.1:{peers}"
        self.url = f"https://127.0.0.1:{self._port}"
        self._http = urllib3.PoolManager(
            ca_certs=str(folder / "server.crt"),
            headers={"Authorization": f"Bearer {self._token}"},
            timeout=5,
            retries=False,
        )

    # The cluster, as a test sees it.

    def api_client(self) -> client.ApiClient:
        """A client beside the code under test, of the user who may do everything."""
        configuration = client.Configuration()
        configuration.host = self.url
        configuration.ssl_ca_cert = str(self.folder / "server.crt")
        configuration.api_key = {"authorization": f"Bearer {self._token}"}
        return client.ApiClient(configuration)

    def make_namespace(self, labels: Mapping[str, str] | None = None) -> str:
        """A new namespace's name, with a service account `default` in it as everywhere.

        Args:
            labels: For instance `pod-security.kubernetes.io/enforce: restricted`.
        """
        name = f"tests-{uuid4().hex[:12]}"
        with self.api_client() as api:
            core = client.CoreV1Api(api)
            core.create_namespace({"metadata": {"name": name, "labels": dict(labels or {})}})
            _wait(
                f"a service account in {name}",
                lambda: core.list_namespaced_service_account(name).items,
                self._died,
            )
        return name

    def make_node(self, *, gpus: int = 0) -> str:
        """A new node's name; its label kubernetes.io/hostname says it too, for a node selector.

        Pods that select nothing find room on it as well. It has a taint while gpus is not 0, as GPU
        nodes often do: `nvidia.com/gpu`, NoSchedule.
        """
        name = f"node-{uuid4().hex[:8]}"
        has = {"cpu": "64", "memory": "256Gi", "pods": "250"}
        if gpus:
            has["nvidia.com/gpu"] = str(gpus)
        node = {
            "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name}},
            "status": {"capacity": has, "allocatable": has},
        }
        if gpus:
            node["spec"] = {"taints": [{"key": "nvidia.com/gpu", "effect": "NoSchedule"}]}
        with self.api_client() as api:
            client.CoreV1Api(api).create_node(node)
            _wait(f"node {name}", lambda: _is_ready(api, name), self._died)
        return name

    def write_kubeconfig(
        self,
        path: Path,
        *,
        server: str | None = None,
        token: str | None = None,
        namespace: str = "default",
    ) -> Path:
        """Write another kubeconfig.

        Args:
            path: Of the file.
            server: A proxy in front of the API server; plain http:// does.
            token: Of another user; `token_of` makes one.
            namespace: The context's.
        """
        cluster = {"server": server or self.url}
        if cluster["server"].startswith("https"):
            cluster["certificate-authority"] = str(self.folder / "server.crt")
        context = {"cluster": "tests", "user": "tests", "namespace": namespace}
        path.write_text(
            yaml.safe_dump(
                {
                    "apiVersion": "v1",
                    "kind": "Config",
                    "current-context": "tests",
                    "clusters": [{"name": "tests", "cluster": cluster}],
                    "users": [{"name": "tests", "user": {"token": token or self._token}}],
                    "contexts": [{"name": "tests", "context": context}],
                }
            )
        )
        path.chmod(0o600)
        return path

    def token_of(self, namespace: str, service_account: str) -> str:
        """A token of a service account, with just the rights that the test bound to it."""
        with self.api_client() as api:
            made = client.CoreV1Api(api).create_namespaced_service_account_token(
                service_account, namespace, {"spec": {"expirationSeconds": 3600}}
            )
        return str(made.status.token)

    def stop_api_server(self) -> None:
        """Kill it; what it knew is in etcd. Who watches is cut off."""
        self._kill("kube-apiserver")

    def start_api_server(self) -> None:
        """Return once it serves, under the same address."""
        self._start(
            "kube-apiserver",
            f"--etcd-servers={self._etcd}",
            "--bind-address=127.0.0.1",
            f"--secure-port={self._port}",
            f"--tls-cert-file={self.folder / 'server.crt'}",
            f"--tls-private-key-file={self.folder / 'server.key'}",
            f"--token-auth-file={self.folder / 'tokens.csv'}",
            "--authorization-mode=RBAC",
            "--service-account-issuer=https://kubernetes.default.svc",
            f"--service-account-key-file={self.folder / 'server.key'}",
            f"--service-account-signing-key-file={self.folder / 'server.key'}",
            "--service-cluster-ip-range=10.0.0.0/16",
            # It would tell the cluster its address, and a loopback is none.
            "--endpoint-reconciler-type=none",
            # The controller that would take the taint of a new node away again is not here.
            "--disable-admission-plugins=TaintNodesByCondition",
            "--kubelet-preferred-address-types=InternalIP",
        )
        _wait("the API server", lambda: self._answers("/readyz"), self._died)

    # Its life.

    def start(self) -> None:
        """Return once pods can run."""
        self._write_keys()
        self.write_kubeconfig(self.kubeconfig)
        log = self.folder / "container.log"
        write_log(log)
        (self.folder / "kwok.yaml").write_text(configuration(log), encoding="utf-8")
        self._start(
            "etcd",
            f"--data-dir={self.folder / 'etcd'}",
            f"--listen-client-urls={self._etcd}",
            f"--advertise-client-urls={self._etcd}",
            f"--listen-peer-urls={self._etcd_peers}",
            f"--initial-advertise-peer-urls={self._etcd_peers}",
            f"--initial-cluster=default={self._etcd_peers}",
            "--log-level=warn",
            "--unsafe-no-fsync",
        )
        self.start_api_server()
        # Before the garbage collector: of kinds that come later it hears half a minute later.
        self._define()
        self._start(
            "kube-controller-manager",
            f"--kubeconfig={self.kubeconfig}",
            f"--controllers={','.join(_CONTROLLERS)}",
            "--leader-elect=false",
            "--secure-port=0",
        )
        self._start(
            "kube-scheduler",
            f"--kubeconfig={self.kubeconfig}",
            "--leader-elect=false",
            "--secure-port=0",
        )
        self._start(
            "kwok",
            f"--kubeconfig={self.kubeconfig}",
            f"--config={self.folder / 'kwok.yaml'}",
            "--manage-all-nodes",
            "--node-ip=127.0.0.1",
            f"--node-port={self._kubelet_port}",
            f"--server-address=127.0.0.1:{self._kubelet_port}",
            f"--tls-cert-file={self.folder / 'server.crt'}",
            f"--tls-private-key-file={self.folder / 'server.key'}",
        )
        self.make_node()
        self.make_namespace()

    def stop(self) -> None:
        """Kill every server; their logs stay in the folder."""
        self._http.clear()
        for name in reversed([*self._processes]):
            self._kill(name)

    def _start(self, name: str, *arguments: str) -> None:
        with (self.folder / f"{name}.log").open("ab") as log:
            self._processes[name] = subprocess.Popen(
                [servers.kubernetes_folder() / name, *arguments],
                env={"HOME": str(self.folder), "PATH": os.defpath},
                stdout=log,
                stderr=log,
                cwd=self.folder,
                preexec_fn=_die_with_parent if sys.platform == "linux" else None,
            )

    def _kill(self, name: str) -> None:
        process = self._processes.pop(name)
        process.kill()
        process.wait()

    def _died(self) -> None:
        """Raise where a server has ended by itself, with the end of its log."""
        for name, process in self._processes.items():
            if process.poll() is not None:
                log = (self.folder / f"{name}.log").read_text(errors="replace")
                raise RuntimeError(f"{name} ended with {process.returncode}:\n{log[-4000:]}")

    def _answers(self, path: str) -> bool:
        try:
            return self._http.request("GET", self.url + path).status == 200
        except urllib3.exceptions.HTTPError:
            return False

    def _define(self) -> None:
        """Make KServe's kinds known; sent as they are, since to parse two megabytes takes long."""
        path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
        names = []
        for file in sorted(self._schemas.rglob("*.yaml")):
            reply = self._http.request(
                "POST",
                self.url + path,
                body=file.read_bytes(),
                headers={**self._http.headers, "Content-Type": "application/yaml"},
                timeout=READY_SECONDS,
            )
            if reply.status != 201:
                raise RuntimeError(f"{file}: {reply.status} {reply.data.decode()[:1000]}")
            names.append(json.loads(reply.data)["metadata"]["name"])
        for name in names:
            _wait(name, lambda name=name: self._is_established(f"{path}/{name}"), self._died)

    def _is_established(self, path: str) -> bool:
        found = json.loads(self._http.request("GET", self.url + path).data)
        conditions = found.get("status", {}).get("conditions") or ()
        return ("Established", "True") in {(each["type"], each["status"]) for each in conditions}

    def _write_keys(self) -> None:
        """One key for all: the server's certificate, which is its own authority, and the tokens."""
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "kubernetes")])
        now = datetime.now(UTC)
        certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + timedelta(days=1))
            .add_extension(
                x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]),
                critical=False,
            )
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .sign(key, hashes.SHA256())
        )
        (self.folder / "server.crt").write_bytes(
            certificate.public_bytes(serialization.Encoding.PEM)
        )
        (self.folder / "server.key").write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.TraditionalOpenSSL,
                serialization.NoEncryption(),
            )
        )
        (self.folder / "tokens.csv").write_text(f'{self._token},admin,admin,"system:masters"\n')


def _wait(what: str, done: Callable[[], object], died: Callable[[], None]) -> None:
    """Return once it is done; the deadline is for a machine on which it never will be."""
    deadline = time.monotonic() + READY_SECONDS
    while not done():
        died()
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what} is not there after {READY_SECONDS} s")
        time.sleep(0.05)


def _is_ready(api: client.ApiClient, node: str) -> bool:
    conditions = client.CoreV1Api(api).read_node(node).status.conditions or ()
    return ("Ready", "True") in {(each.type, each.status) for each in conditions}


def _die_with_parent() -> None:
    """Where the tests are killed, nobody is left to stop the servers."""
    pr_set_pdeathsig, sigkill = 1, 9
    ctypes.CDLL(None).prctl(pr_set_pdeathsig, sigkill)
