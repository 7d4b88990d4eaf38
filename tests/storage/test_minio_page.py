"""What docs/minio.md promises, held against a real server."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from minio.credentials import StaticProvider
from minio.minioadmin import MinioAdmin

from tests.docs.blocks import ROOT, blocks
from tests.docs.refusals import rules
from yololine.errors import StoreRefused
from yololine.storage import fetch_files, publish_files, s3
from yololine.storage.s3 import S3Store

if TYPE_CHECKING:
    from tests.conftest import MinioServer

pytestmark = pytest.mark.server
PAGE = ROOT / "docs" / "minio.md"


@pytest.fixture
def as_user(minio_server: MinioServer) -> Callable[..., dict[str, str]]:
    """The environment of a new user of whom the server knows these policies."""

    def make(name: str, *policies: str) -> dict[str, str]:
        admin = MinioAdmin(
            endpoint=minio_server.host,
            credentials=StaticProvider(minio_server.access_key, minio_server.secret_key),
            secure=False,
        )
        admin.user_add(name, "secret-of-a-user")
        for n, policy in enumerate(policies):
            admin.policy_add(f"{name}-{n}", policy=json.loads(policy))
        admin.attach_policy([f"{name}-{n}" for n in range(len(policies))], user=name)
        keys = {"AWS_ACCESS_KEY_ID": name, "AWS_SECRET_ACCESS_KEY": "secret-of-a-user"}
        return minio_server.environ | keys

    return make


def _policies() -> list[str]:
    return [b.text for b in blocks(PAGE) if b.language == "json" and '"Statement"' in b.text]


def test_the_policies_are_enough_and_no_more(
    minio_server: MinioServer,
    as_user: Callable[..., dict[str, str]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    vision, photos = minio_server.make_bucket(), minio_server.make_bucket()
    of_the_store, of_the_source = _policies()
    environ = as_user(
        f"user-of-{vision}",
        of_the_store.replace(":vision", f":{vision}"),
        of_the_source.replace(":photos", f":{photos}"),
    )
    all_powerful = minio_server.environ
    S3Store.from_uri(f"s3://{photos}/castings", all_powerful).write_bytes("a.jpg", b"picture")
    S3Store.from_uri(f"s3://{photos}/secret", all_powerful).write_bytes("b.jpg", b"picture")
    S3Store.from_uri(f"s3://{vision}/others", all_powerful).write_bytes("c", b"content")

    # All that a store is asked for, its region and a large object included.
    monkeypatch.setattr(s3, "PART_BYTES", 5 << 20)
    store = S3Store.from_uri(f"s3://{vision}/yololine", environ)
    store.check_readable()
    store.check_writable()
    source = tmp_path / "source"
    source.write_bytes(bytes(6 << 20))
    left = minio_server.client._create_multipart_upload(vision, "yololine/models/weights.pt", {})
    assert left
    refs = publish_files(store, [(source, "models/weights.pt")])
    assert publish_files(store, [(source, "models/weights.pt")]) == refs
    fetch_files(store, [(refs[0], tmp_path / "back")])
    assert [entry.path for entry in store.entries("models")] == ["models/weights.pt"]
    uploads = minio_server.client._list_multipart_uploads(
        vision, prefix="yololine/models/weights.pt"
    )
    assert uploads.uploads == []  # not even parts of someone's who died stay
    store.delete("models/weights.pt")
    assert not store.exists("models/weights.pt")

    castings = S3Store.from_uri(f"s3://{photos}/castings", environ)
    castings.check_readable()
    assert [castings.read_bytes(path) for path in castings.paths()] == [b"picture"]
    for refused in (
        castings.check_writable,
        lambda: castings.delete("a.jpg"),
        S3Store.from_uri(f"s3://{photos}/secret", environ).check_readable,
        lambda: S3Store.from_uri(f"s3://{photos}/secret", environ).read_bytes("b.jpg"),
        S3Store.from_uri(f"s3://{vision}", environ).check_readable,
        lambda: S3Store.from_uri(f"s3://{vision}/others", environ).read_bytes("c"),
        S3Store.from_uri(f"s3://{vision}/others", environ).check_writable,
    ):
        with pytest.raises(StoreRefused, match="denies access; let this access key do s3:ListBu"):
            refused()


def test_who_may_not_clean_up_may_still_publish(
    minio_server: MinioServer,
    as_user: Callable[..., dict[str, str]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(s3, "PART_BYTES", 5 << 20)
    vision = minio_server.make_bucket()
    policy: dict[str, Any] = json.loads(_policies()[0].replace(":vision", f":{vision}"))
    for statement in policy["Statement"]:
        statement["Action"] = [a for a in statement["Action"] if "Multipart" not in a]
    environ = as_user(f"user-of-{vision}", json.dumps(policy))
    (tmp_path / "source").write_bytes(bytes(6 << 20))
    store = S3Store.from_uri(f"s3://{vision}/yololine", environ)
    [ref] = publish_files(store, [(tmp_path / "source", "weights.pt")])
    assert store.verified(ref)


def test_the_table_of_variables_is_complete() -> None:
    """Each variable that the storage room reads is in the page."""
    room = ROOT / "src" / "yololine" / "storage"
    code = "".join(file.read_text() for file in room.glob("*.py"))
    page = PAGE.read_text()
    read = {word for word in _words(code) if word.startswith(("AWS_", "SSL_CERT"))}
    assert len(read) >= 9
    assert {name for name in read if name not in page} == set()


def test_the_messages_are_as_the_page_quotes_them() -> None:
    table = PAGE.read_text().partition("| the message says |")[2]
    quoted = [
        rule
        for row in table.splitlines()
        if row.startswith("| `")
        for rule in re.findall(r"`([^`]+)`", row.split(" | ")[0])
    ]
    assert len(quoted) > 20
    assert set(quoted) - rules().keys() == set()


def _words(text: str) -> set[str]:
    return {word.strip("\"'`,.()=:;{}") for word in text.replace("=", " ").split()}
