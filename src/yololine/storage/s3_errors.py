"""What an S3 service says no with, in words a person can act on."""

from __future__ import annotations

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from xml.etree.ElementTree import ParseError

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
from yololine.storage.endpoint import Endpoint

CREDENTIALS_REMEDY = (
    "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY; on Kubernetes keep them in a secret that "
    "the steps take as environment (a stock Kubeflow Pipelines has mlpipeline-minio-artifact, "
    "with keys accesskey and secretkey)"
)
_ENDPOINT_REMEDY = (
    "check AWS_ENDPOINT_URL (http://host:port, the S3 API's port), that the store runs, and that "
    "no network policy stands between"
)
_TLS_REMEDY = (
    "name your own authority's certificate in AWS_CA_BUNDLE, or correct AWS_ENDPOINT_URL: "
    "http:// where the store speaks no TLS"
)
_SPACE_REMEDY = "free space in the store, or raise its quota"
_REGION_REMEDY = "set AWS_REGION to the bucket's region"
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
            "let this access key do s3:ListBucket and s3:GetBucketLocation on the bucket, and "
            "s3:GetObject, s3:PutObject and s3:DeleteObject on its objects"
        ),
    ),
    "NoSuchKey": (
        NotFound,
        "has no such object",
        "check the URI, or run the step that makes it",
    ),
    "PermanentRedirect": (StoreRefused, "has this bucket in another region", _REGION_REMEDY),
    "AuthorizationHeaderMalformed": (StoreRefused, "expects another region", _REGION_REMEDY),
    "XMinioStorageFull": (StoreRefused, "is full", _SPACE_REMEDY),
    "QuotaExceeded": (StoreRefused, "has no quota left for this bucket", _SPACE_REMEDY),
    # The content went wrong on the way, and what was sent can be sent again.
    "BadDigest": (IntegrityError, "received another content than was sent", _AGAIN_REMEDY),
    "IncompleteBody": (IntegrityError, "received a part of what was sent", _AGAIN_REMEDY),
    "RequestTimeout": (IntegrityError, "waited too long for what was sent", _AGAIN_REMEDY),
    # The answer to an upload's end was lost, and asking again came too late.
    "NoSuchUpload": (IntegrityError, "lost the parts of this upload", _AGAIN_REMEDY),
    # Asked with If-Match, in the middle of a download.
    "PreconditionFailed": (IntegrityError, "replaced the object while it was read", "run again"),
}
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
    if isinstance(error, HTTPError):
        kind, what, remedy = _no_answer(error)
    elif isinstance(error, (InvalidResponseError, ServerError)):
        status = error._code if isinstance(error, InvalidResponseError) else error.status_code
        kind = StoreUnavailable if status >= 500 or status == 429 else StoreRefused
        what, remedy = f"answers HTTP {status}, and not in S3's words", _ENDPOINT_REMEDY
    else:
        assert isinstance(error, (ParseError, ValueError))
        kind, what, remedy = StoreRefused, "does not answer as an S3 service", _ENDPOINT_REMEDY
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
    if code == "RequestTimeTooSkewed":
        return StoreRefused(
            where,
            rule=f"{endpoint} refuses requests of a wrong time: {_clocks(error)}",
            remedy="set the clock of this machine, or of the store's, by NTP",
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


def _clocks(error: S3Error) -> str:
    here = datetime.now(UTC)
    try:
        there = parsedate_to_datetime(error.response.headers["Date"])
    except (KeyError, ValueError):
        return f"this machine's clock reads {here:%Y-%m-%d %H:%M:%S} UTC"
    return f"this machine's clock reads {here:%Y-%m-%d %H:%M:%S} UTC, the store's {there:%H:%M:%S}"


def _no_answer(error: HTTPError) -> tuple[type[StoreError], str, str]:
    match error:
        case SSLError():
            # The one part worth repeating of OpenSSL's words, for instance
            # "certificate verify failed: unable to get local issuer certificate".
            reason = str(error).partition("] ")[2].partition(" (_ssl")[0] or str(error)
            return StoreRefused, f"cannot be trusted or speaks no TLS ({reason})", _TLS_REMEDY
        case NameResolutionError():
            return StoreUnavailable, "does not resolve: no such host name", _ENDPOINT_REMEDY
        case NewConnectionError():
            reason = str(error).rpartition("] ")[2]
            return StoreUnavailable, f"does not answer ({reason})", _ENDPOINT_REMEDY
        case ConnectTimeoutError():
            return StoreUnavailable, "accepts no connection", _ENDPOINT_REMEDY
        case ReadTimeoutError():
            return StoreUnavailable, "accepts connections and does not answer", _ENDPOINT_REMEDY
    return StoreUnavailable, f"broke the connection ({type(error).__name__})", _ENDPOINT_REMEDY
