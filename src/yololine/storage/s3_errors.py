"""What an S3 service says no with, in words a person can act on."""

from __future__ import annotations

import re
from datetime import timedelta
from email.utils import parsedate_to_datetime
from xml.etree.ElementTree import ParseError

import minio.time
from minio.error import InvalidResponseError, S3Error, ServerError
from urllib3.exceptions import (
    ConnectTimeoutError,
    HTTPError,
    NameResolutionError,
    NewConnectionError,
    ReadTimeoutError,
    SSLError,
)

from yololine.errors import IntegrityError, NotFound, StoreError, StoreRefused, StoreUnavailable
from yololine.storage import http
from yololine.storage.endpoint import Endpoint

CREDENTIALS_REMEDY = (
    "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY; on Kubernetes keep them in a secret that "
    "the steps take as environment (a stock Kubeflow Pipelines has mlpipeline-minio-artifact, "
    "with keys accesskey and secretkey)"
)
_ENDPOINT_REMEDY = (
    "check AWS_ENDPOINT_URL (http or https, the host, the S3 API's port), that the store runs, and "
    "that no network policy stands between"
)
_NOT_S3_REMEDY = (
    "write the S3 API's own address into AWS_ENDPOINT_URL (MinIO's API is at port 9000, its web "
    "console at 9001), and let no login page stand in front of it"
)
_NAME_REMEDY = (
    "correct AWS_ENDPOINT_URL; where bucket.host has no name of its own, leave "
    "AWS_S3_ADDRESSING_STYLE out, or write path"
)
_TLS_REMEDY = (
    "name the file of your own authority's certificate in AWS_CA_BUNDLE, or correct "
    "AWS_ENDPOINT_URL: http:// where the store speaks no TLS"
)
_SPACE_REMEDY = "free space in the store, or raise its quota"
_AGAIN_REMEDY = "run again; if it persists, look at the store's own log"

_BY_CODE: dict[str, tuple[type[StoreError], str, str]] = {
    "InvalidAccessKeyId": (
        StoreRefused,
        "does not know this access key",
        "correct AWS_ACCESS_KEY_ID, or AWS_ENDPOINT_URL where the key is for another service",
    ),
    "SignatureDoesNotMatch": (
        StoreRefused,
        "knows the access key, and the secret key is another one",
        "correct AWS_SECRET_ACCESS_KEY",
    ),
    "ExpiredToken": (StoreRefused, "says the session token has expired", CREDENTIALS_REMEDY),
    "InvalidToken": (
        StoreRefused,
        "does not know this session token",
        "renew AWS_SESSION_TOKEN, or unset it where the keys are permanent ones",
    ),
    "AccessDenied": (
        StoreRefused,
        "denies access",
        (
            "let this access key do s3:ListBucket and s3:GetBucketLocation on the bucket, and on "
            "its objects s3:GetObject, and in a store s3:PutObject and s3:DeleteObject too"
        ),
    ),
    "NoSuchKey": (
        NotFound,
        "has no such object",
        "check the URI, or run the step that makes it",
    ),
    "XMinioStorageFull": (StoreRefused, "is full", _SPACE_REMEDY),
    "QuotaExceeded": (StoreRefused, "has no quota left for this bucket", _SPACE_REMEDY),
    # The content went wrong on the way, and what was sent can be sent again.
    "BadDigest": (IntegrityError, "received another content than was sent", _AGAIN_REMEDY),
    "IncompleteBody": (IntegrityError, "received a part of what was sent", _AGAIN_REMEDY),
    "RequestTimeout": (IntegrityError, "waited too long for what was sent", _AGAIN_REMEDY),
    # The answer to an upload's end was lost, or another run has finished the same object.
    "NoSuchUpload": (IntegrityError, "has the parts of this upload no more", _AGAIN_REMEDY),
    # Asked with If-Match, in the middle of a download.
    "PreconditionFailed": (IntegrityError, "replaced the object while it was read", "run again"),
}
_TOLERATED_SKEW = timedelta(minutes=15)
"""S3's own limit. The answer to a HEAD request has no words for more, it only denies access."""
_WRONG_REGION = {"AuthorizationHeaderMalformed", "PermanentRedirect"}
_SAME = {
    "XMinioInvalidAccessKeyId": "InvalidAccessKeyId",
    "InvalidTokenId": "InvalidToken",
    "AllAccessDisabled": "AccessDenied",
    "XMinioAdminBucketQuotaExceeded": "QuotaExceeded",
    "XAmzContentSHA256Mismatch": "BadDigest",
    "InvalidDigest": "BadDigest",
}


def s3_in_words(error: Exception, where: str, endpoint: Endpoint, *, bucket: str) -> StoreError:
    """The StoreError for an error of minio-py or urllib3.

    Args:
        error: What was raised; none of its text that could hold a signature is repeated.
        where: URI of the object or listing.
        endpoint: The service that was asked.
        bucket: Its bucket.
    """
    if isinstance(error, S3Error):
        return _refusal(error, where, endpoint, bucket=bucket)
    kind: type[StoreError]
    if isinstance(error, http.NotS3):
        kind, what, remedy = StoreRefused, f"{error}: it is no S3 service", _NOT_S3_REMEDY
    elif isinstance(error, HTTPError):
        kind, what, remedy = _no_answer(error)
    elif isinstance(error, (InvalidResponseError, ServerError)):
        status = error._code if isinstance(error, InvalidResponseError) else error.status_code
        kind = StoreUnavailable if status >= 500 or status == 429 else StoreRefused
        what, remedy = f"answers HTTP {status}, and not in S3's words", _NOT_S3_REMEDY
    else:
        assert isinstance(error, (ParseError, ValueError))
        kind, what, remedy = StoreRefused, "does not answer in S3's words", _NOT_S3_REMEDY
    return kind(where, rule=f"{endpoint} {what}", remedy=remedy)


def _refusal(error: S3Error, where: str, endpoint: Endpoint, *, bucket: str) -> StoreError:
    # The answer to a HEAD request has no body to say why; MinIO says it in a header.
    code = error.response.headers.get("x-minio-error-code") or error.code or ""
    code = _SAME.get(code, code)
    if code == "NoSuchBucket":
        return StoreRefused(
            where,
            rule=f"{endpoint} has no bucket {bucket!r}",
            remedy=f"create it (mc mb ALIAS/{bucket}, or aws s3 mb s3://{bucket}), or correct the "
            "URI; yololine creates no buckets",
        )
    apart = _clocks_apart(error)
    if code == "RequestTimeTooSkewed" or (code == "AccessDenied" and apart >= _TOLERATED_SKEW):
        return StoreRefused(
            where,
            rule=f"{endpoint} refuses requests of a wrong time, and the clocks differ by "
            f"{round(apart.total_seconds() / 60)} minutes: this machine's reads "
            f"{minio.time.utcnow():%Y-%m-%d %H:%M:%S} UTC",
            remedy="set this machine's clock, or the store's, by NTP",
        )
    if code in _WRONG_REGION:
        region = _region(error)
        return StoreRefused(
            where,
            rule=f"{endpoint} has this bucket in {region or 'another region'}",
            remedy=f"set AWS_REGION={region}" if region else "set AWS_REGION to that region",
        )
    if code in _BY_CODE:
        kind, what, remedy = _BY_CODE[code]
        return kind(where, rule=f"{endpoint} {what}", remedy=remedy)
    status = error.response.status
    if status >= 500 or status == 429:
        return StoreUnavailable(
            where, rule=f"{endpoint} cannot serve now: {code} (HTTP {status})", remedy=_AGAIN_REMEDY
        )
    message = (error.message or "").rstrip(".")[:200]
    return StoreRefused(
        where, rule=f"{endpoint} refuses: {code} (HTTP {status}) {message}", remedy=_AGAIN_REMEDY
    )


def _clocks_apart(error: S3Error) -> timedelta:
    """Between the store's clock and the one that the request was signed by."""
    try:
        there = parsedate_to_datetime(error.response.headers["Date"])
    except (KeyError, ValueError):
        return timedelta(0)
    return abs(minio.time.utcnow() - there)


def _region(error: S3Error) -> str:
    """The region that a refusal names, empty where it names none."""
    named = re.search(rb"<Region>([\w-]+)</Region>", error.response.data or b"")
    return named[1].decode() if named else error.response.headers.get("x-amz-bucket-region", "")


def _no_answer(error: HTTPError) -> tuple[type[StoreError], str, str]:
    causes = [cause for cause in (error.__cause__, *error.args) if isinstance(cause, OSError)]
    if any(isinstance(cause, http.Stalled) for cause in causes):
        what = f"moves less than {http.LEAST_BYTES >> 10} KiB in {http.IDLE_SECONDS} s"
        return StoreUnavailable, what, "look at the store's load, and at the network between"
    match error:
        case SSLError() if not http.is_transient(error):
            # The one part worth repeating of OpenSSL's words, for instance
            # "certificate verify failed: unable to get local issuer certificate".
            reason = str(error).partition("] ")[2].partition(" (_ssl")[0] or str(error)
            return StoreRefused, f"cannot be trusted or speaks no TLS ({reason})", _TLS_REMEDY
        case NameResolutionError():
            host = str(error).partition("Failed to resolve '")[2].partition("'")[0]
            return StoreUnavailable, f"cannot be found: no host is named {host!r}", _NAME_REMEDY
        case NewConnectionError():
            reason = str(error).rpartition("] ")[2]
            return StoreUnavailable, f"does not answer ({reason})", _ENDPOINT_REMEDY
        case ConnectTimeoutError():
            return StoreUnavailable, "accepts no connection", _ENDPOINT_REMEDY
        case ReadTimeoutError():
            return StoreUnavailable, "accepts connections and does not answer", _ENDPOINT_REMEDY
    told = "".join(f" ({cause.strerror})" for cause in causes[:1] if cause.strerror)
    return StoreUnavailable, f"broke the connection{told}", _ENDPOINT_REMEDY
