from __future__ import annotations

import pickle

import pytest

from yololine.errors import Faults, SourceError, UsageError, legible, without_secrets


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("s3://AKIA:hunter2@bucket/x", "s3://***@bucket/x"),
        ("s3://AKIA:hun/ter2@bucket/x", "s3://***@bucket/x"),
        ("s3://AKIA@bucket/x", "s3://***@bucket/x"),
        ("s3://AKIA:hunter2", "s3://***"),
        ("http://user:p@ss@host:9000", "http://***@host:9000"),
        ("'ftp://a:b@c': is no store", "'ftp://***@c': is no store"),
        ("from http://a:b@c/ to s3://d:e@f/", "from http://***@c/ to s3://***@f/"),
        ("https://host/x.pt?X-Amz-Signature=hunter2&a=b", "https://host/x.pt?***"),
    ],
)
def test_secrets_in_uris_are_struck_out(text: str, shown: str) -> None:
    assert without_secrets(text) == shown
    assert without_secrets(shown) == shown
    assert str(SourceError(text, rule=text, remedy=text)) == f"{shown}: {shown}; {shown}"


@pytest.mark.parametrize(
    "text",
    [
        "s3://bucket/mail@example.com/photos",
        "http://127.0.0.1:9000 (from AWS_ENDPOINT_URL) does not answer",
        "http://[::1]:9000/bucket",
        "'http://host:9000', and more",
        "http://host:9000: does not answer",
        "s3://bucket/what?.jpg",
        "/folder/a:b@c",
    ],
)
def test_what_is_no_secret_stays(text: str) -> None:
    assert without_secrets(text) == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("größe 1\u00a0µm.jpg", "größe 1\u00a0µm.jpg"),
        ("a\nb", r"a\nb"),
        ("\x1b[2Jclear", r"\x1b[2Jclear"),
        ("\udcff.jpg", r"\udcff.jpg"),
        ("\u202egpj.exe", r"\u202egpj.exe"),
    ],
)
def test_what_a_terminal_would_obey_is_written_out(text: str, shown: str) -> None:
    assert legible(text) == shown
    assert legible(shown) == shown
    error = UsageError(text, rule="r", remedy="m")
    assert error.value == shown
    str(error).encode()


def test_lines_stay_where_they_are_meant() -> None:
    assert legible("a\nb\x07", lines=True) == "a\nb\\x07"
    several = Faults(
        [UsageError("a\nb", rule="r", remedy="m"), UsageError("c", rule="r", remedy="m")]
    )
    assert str(several).splitlines()[1:] == ["  - a\\nb: r; m", "  - c: r; m"]


def test_a_long_value_is_cut() -> None:
    error = UsageError("9" * 5000, rule="r", remedy="m")
    assert len(error.value) < 600
    assert error.value.endswith("... (5000 characters)")
    assert UsageError(error.value, rule="r", remedy="m").value == error.value
    assert UsageError("x" * 1000, rule="r", remedy="m").value == "x" * 1000


def test_errors_travel_between_processes() -> None:
    error = SourceError("a\nb", rule="r", remedy="m")
    again = pickle.loads(pickle.dumps(error))  # noqa: S301 - made in this line
    assert (type(again), str(again)) == (SourceError, str(error))


def test_errors_can_be_told_in_other_words() -> None:
    error = SourceError("a=1", rule="a is odd", remedy="change a")
    told = error.reworded(lambda words: words.replace("a", "--b"))
    assert (type(told), str(told)) == (SourceError, "--b=1: --b is odd; ch--bnge --b")
    several = Faults([error, error]).reworded(str.upper)
    assert str(several).count("- A=1: A IS ODD; CHANGE A") == 2
