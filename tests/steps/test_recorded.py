from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest

from tests.conftest import MinioServer
from tests.deployment.site import picture
from yololine.errors import NotFound, StoreRefused, UsageError
from yololine.steps.recorded import MOST, find_requests
from yololine.storage import open_store


def _fill(folder: Path, **files: bytes) -> str:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name.replace("_", ".")).write_bytes(content)
    return str(folder)


def test_pictures_are_read_in_the_order_of_their_names(tmp_path: Path) -> None:
    uri = _fill(tmp_path, b_jpg=picture(2), a_JPG=picture(1), notes_txt=b"of the shift")
    requests = find_requests(uri)
    assert (requests.found, requests.paths) == (2, ("a.JPG", "b.jpg"))
    first, second = requests
    assert (first.name, first.image_bytes, first.width, first.height) == (
        "a.JPG",
        picture(1),
        32,
        24,
    )
    assert second.name == "b.jpg"
    assert str(requests) == f"2 of 2 pictures in {uri}"
    assert requests.left_out_in_words() == ""


@pytest.mark.parametrize("count", [1, MOST - 1, MOST, MOST + 1, 3 * MOST])
def test_of_many_some_are_chosen_evenly(tmp_path: Path, count: int) -> None:
    names = [f"{number:04d}.jpg" for number in range(count)]
    for name in names:
        (tmp_path / name).write_bytes(picture(9))
    requests = find_requests(str(tmp_path))
    assert requests.found == count
    chosen = [names.index(path) for path in requests.paths]
    assert len(chosen) == min(count, MOST)
    assert chosen[0] == 0
    steps = {after - before for before, after in pairwise(chosen)}
    assert steps <= {count // MOST, count // MOST + 1}


def test_what_the_predictor_would_not_take_is_left_out_and_told(tmp_path: Path) -> None:
    good = picture(1)
    uri = _fill(
        tmp_path,
        a_jpg=b"",
        b_jpg=b"no picture",
        # Cut short, which its header does not tell.
        c_jpg=good[: len(good) - 200],
        d_jpg=good,
        e_jpg=good,
        f_jpg=bytes(21 << 20),
    )
    requests = find_requests(uri)
    # Removed by then, as where old ones are cleared away.
    (tmp_path / "e.jpg").unlink()
    assert [request.name for request in requests] == ["d.jpg"]
    assert [words.partition(":")[0] for words in requests.left_out] == [
        "a.jpg",
        "b.jpg",
        "c.jpg",
        "e.jpg",
        "f.jpg",
    ]
    told = requests.left_out_in_words()
    assert told.startswith("recorded requests: 5 left out: a.jpg: ")
    assert told.endswith("; and 2 more")
    assert "at most 20971520" in requests.left_out[-1]


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({}, "holds no file"),
        ({"notes_txt": b"-"}, "holds no picture (1 other files)"),
        ({"a_jpg": b"-"}, "holds no picture that the predictor takes (a.jpg: "),
    ],
)
def test_a_place_without_requests_is_refused(
    tmp_path: Path, files: dict[str, bytes], words: str
) -> None:
    uri = _fill(tmp_path / "recorded", **files)
    with pytest.raises(UsageError) as raised:
        find_requests(uri)
    assert str(raised.value).startswith(f"deploy_requests_uri='{uri}': ")
    assert words in str(raised.value)
    assert "or leave it empty" in raised.value.remedy


def test_what_is_no_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is not there"):
        find_requests(str(tmp_path / "none"))
    (tmp_path / "a.jpg").write_bytes(picture(1))
    with pytest.raises(UsageError, match="is a file, and a source is a folder"):
        find_requests(str(tmp_path / "a.jpg"))
    with pytest.raises(UsageError, match="is no store"):
        find_requests("https://camera/recorded")


@pytest.mark.server
def test_a_bucket_says_no_in_its_own_words(
    minio_server: MinioServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in minio_server.environ.items():
        monkeypatch.setenv(name, value)
    bucket = minio_server.make_bucket()
    store = open_store(f"s3://{bucket}/line-1")
    for number in range(3):
        store.write_bytes(f"2025/{number}.jpg", picture(number))
    assert [one.name for one in find_requests(store.uri)] == [f"2025/{n}.jpg" for n in range(3)]
    with pytest.raises(UsageError, match="holds no file"):
        find_requests(f"s3://{bucket}/line-2")
    with pytest.raises((StoreRefused, NotFound), match="nowhere-at-all"):
        find_requests("s3://nowhere-at-all/line-1")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(StoreRefused):
        find_requests(store.uri)
