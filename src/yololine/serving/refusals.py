"""Why a request gets no detections, and what HTTP and gRPC call it.

Refusal
    BadRequest          400  INVALID_ARGUMENT   it cannot be read, or breaks a rule
    UnknownModel        404  NOT_FOUND          no such model, version or path
    WrongMethod         405  UNIMPLEMENTED
    TooSlow             408  DEADLINE_EXCEEDED  the body did not arrive in time
    TooLarge            413  INVALID_ARGUMENT   above a limit
    WrongContent        415  INVALID_ARGUMENT   a content type or encoding that is not read
    QueueFull           429  RESOURCE_EXHAUSTED as many as may wait do
    HeadTooLarge        431  INVALID_ARGUMENT   above the limit of a request's headers
    InternalError       500  INTERNAL           a fault of the server's; the log knows it
    Unavailable         503  UNAVAILABLE        not ready yet, or not any more
    DeadlineExceeded    504  DEADLINE_EXCEEDED
"""

from __future__ import annotations

from typing import ClassVar

from yololine.errors import YololineError, legible

_LONGEST_WORDS = 500


class Refusal(Exception):
    """A request that is answered with a reason. What it says goes to the sender."""

    status: ClassVar[int]
    code: ClassVar[str]
    """A name of grpc.StatusCode."""

    def __init__(self, reason: str, *, retry_after_seconds: int | None = None) -> None:
        self.reason = legible(reason)[:_LONGEST_WORDS]
        self.retry_after_seconds = retry_after_seconds
        super().__init__(self.reason)


class BadRequest(Refusal):
    """It cannot be read, or breaks a rule."""

    status = 400
    code = "INVALID_ARGUMENT"


class UnknownModel(Refusal):
    """No such model, version or path."""

    status = 404
    code = "NOT_FOUND"


class WrongMethod(Refusal):
    """The path is there, but not for this method."""

    status = 405
    code = "UNIMPLEMENTED"


class TooSlow(Refusal):
    """The body did not arrive within the deadline."""

    status = 408
    code = "DEADLINE_EXCEEDED"


class TooLarge(Refusal):
    """Above one of the limits."""

    status = 413
    code = "INVALID_ARGUMENT"


class WrongContent(Refusal):
    """A content type or encoding that is not read."""

    status = 415
    code = "INVALID_ARGUMENT"


class HeadTooLarge(Refusal):
    """Above the limit of a request's headers."""

    status = 431
    code = "INVALID_ARGUMENT"


class QueueFull(Refusal):
    """As many pictures wait as may."""

    status = 429
    code = "RESOURCE_EXHAUSTED"


class InternalError(Refusal):
    """A fault of the server's: the reason is its request's id and nothing else."""

    status = 500
    code = "INTERNAL"


class Unavailable(Refusal):
    """Not ready yet, or not any more."""

    status = 503
    code = "UNAVAILABLE"


class DeadlineExceeded(Refusal):
    """No answer within the deadline."""

    status = 504
    code = "DEADLINE_EXCEEDED"


class Disconnected(Exception):
    """The sender is gone: nobody is left to answer."""


def in_words(error: YololineError) -> BadRequest:
    """What is wrong with a picture, as a refusal."""
    return BadRequest(str(error))


def internal_error(request_id: str) -> InternalError:
    """A fault of the server's, of which the sender learns where it is written down."""
    return InternalError(f"internal error: the server's log tells of request {request_id}")
