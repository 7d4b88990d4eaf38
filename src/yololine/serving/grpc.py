"""The Open Inference Protocol over gRPC, on kserve's servicer."""

from __future__ import annotations

import asyncio
import logging
import re
import struct
import time
from typing import Any
from uuid import uuid4

import grpc
import numpy as np
from google.protobuf.message import DecodeError
from google.protobuf.unknown_fields import UnknownFieldSet
from kserve.errors import ModelNotReady, ServerNotReady
from kserve.protocol.grpc import grpc_predict_v2_pb2 as pb
from kserve.protocol.grpc.grpc_predict_v2_pb2_grpc import (
    add_GRPCInferenceServiceServicer_to_server,
)
from kserve.protocol.grpc.servicer import InferenceServicer

from yololine.errors import UsageError
from yololine.serving import metrics, tensors
from yololine.serving.logs import LOGGER, event
from yololine.serving.parameters import check_of_tensor
from yololine.serving.refusals import (
    BadRequest,
    InternalError,
    Refusal,
    Unavailable,
    internal_error,
)
from yololine.serving.service import Service
from yololine.serving.workers import Picture

_REQUEST_ID = re.compile(r"[\x21-\x7e]{1,128}")
_ROUTE = "grpc infer"
_OK = "OK"
_CANCELLED = "CANCELLED"
# https://github.com/triton-inference-server/common/blob/main/protobuf/grpc_service.proto
_DOUBLE_PARAM = 4
_UINT64_PARAM = 5


class Servicer(InferenceServicer):  # type: ignore[misc]  # kserve publishes no types
    """kserve's answers about the server and its model; our own inference."""

    def __init__(self, service: Service, data_plane: Any, repository: Any) -> None:
        super().__init__(data_plane, repository)
        self._service = service

    async def ModelInfer(self, request: Any, context: Any) -> Any:  # noqa: N802 (gRPC's name)
        """Detections of a request's pictures."""
        started = time.monotonic()
        metadata = dict(context.invocation_metadata() or ())
        given = metadata.get("x-request-id")
        request_id = (
            given if isinstance(given, str) and _REQUEST_ID.fullmatch(given) else uuid4().hex
        )
        self._service.in_flight += 1
        size = request.ByteSize()
        code = _CANCELLED
        fields: dict[str, Any] = {}
        try:
            try:
                await context.send_initial_metadata((("x-request-id", request_id),))
                self._service.hold(size)
                response = await self._infer(request, context, started, fields)
            except Refusal as refusal:
                code, fields["reason"] = refusal.code, refusal.reason
                await _abort(context, refusal)
            except asyncio.CancelledError:
                raise
            except Exception:  # noqa: BLE001 (the last resort: nothing of it may reach the sender)
                LOGGER.exception(
                    "a request could not be answered", extra={"fields": {"request_id": request_id}}
                )
                code = InternalError.code
                await _abort(context, internal_error(request_id))
            code = _OK
            return response
        finally:
            self._service.in_flight -= 1
            self._service.release(size)
            seconds = time.monotonic() - started
            metrics.REQUESTS.labels(_ROUTE, code).inc()
            if code == _OK:
                metrics.stage("total", seconds)
            event(
                "request",
                level=logging.INFO,
                request_id=request_id,
                method="ModelInfer",
                status=code,
                milliseconds=round(seconds * 1000, 1),
                **fields,
            )

    async def _infer(
        self, request: Any, context: Any, started: float, fields: dict[str, Any]
    ) -> Any:
        service = self._service
        service.admit()
        version = service.version
        service.check_model(request.model_name, request.model_version)
        pictures = self._pictures(request)
        parameters = service.read_parameters(
            {name: _value(name, parameter) for name, parameter in request.parameters.items()}
        )
        seconds = parameters.deadline_seconds
        if (left := context.time_remaining()) is not None:
            seconds = min(seconds, left)
        names = tuple(dict.fromkeys(tensors.check_output_name(o.name) for o in request.outputs))
        fields["pictures"] = len(pictures)
        found = await service.detect(
            pictures, parameters.thresholds, started=started, seconds=seconds
        )
        fields["detections"] = sum(len(each.detections.scores) for each in found)
        made = tensors.outputs(found, version.class_names, names or tensors.OUTPUT_NAMES)
        return pb.ModelInferResponse(
            model_name=service.name,
            model_version=version.version,
            id=request.id,
            outputs=[
                pb.ModelInferResponse.InferOutputTensor(
                    name=tensor.name, datatype=tensor.datatype, shape=tensor.shape
                )
                for tensor in made
            ],
            raw_output_contents=[tensor.raw() for tensor in made],
        )

    def _pictures(self, request: Any) -> list[Picture]:
        limits = self._service.limits
        given = request.inputs[0] if request.inputs else pb.ModelInferRequest.InferInputTensor()
        shape = tensors.check_head(
            given.name, given.datatype, list(given.shape), inputs=len(request.inputs)
        )
        check_of_tensor(given.parameters)
        raw = request.raw_input_contents
        if len(raw) > 1 or (raw and given.HasField("contents")):
            raise BadRequest("raw_input_contents: must hold the one input, or nothing; mend it")
        if given.name == tensors.PIXELS:
            if raw:
                return tensors.pixels_of_raw(raw[0], shape, limits)
            numbers = np.fromiter(given.contents.uint_contents, np.int64)
            return tensors.pixels_of_numbers(numbers, shape, limits)
        elements: list[Picture]
        if raw:
            elements = list(tensors.split_bytes(raw[0], limits))
        else:
            limits.check_count(len(given.contents.bytes_contents))
            elements = list(given.contents.bytes_contents)
            for element in given.contents.bytes_contents:
                limits.check_bytes(len(element))
        tensors.check_image_count(shape, len(elements), limits)
        return elements

    async def ModelReady(self, request: Any, context: Any) -> Any:  # noqa: N802
        """What kserve answers, of this version alone."""
        await self._check_model(request, context)
        return await super().ModelReady(request, context)

    async def ModelMetadata(self, request: Any, context: Any) -> Any:  # noqa: N802
        """What kserve answers, with the version."""
        await self._check_model(request, context)
        response = await super().ModelMetadata(request, context)
        response.versions.append(self._service.version.version)
        return response

    async def _check_model(self, request: Any, context: Any) -> None:
        try:
            self._service.check_model(request.name, request.version)
        except Refusal as refusal:
            await _abort(context, refusal)

    async def RepositoryModelLoad(self, request: Any, context: Any) -> Any:  # noqa: ARG002, N802
        """Never: a predictor serves one version."""
        await context.abort(grpc.StatusCode.UNIMPLEMENTED, "a predictor serves one version")

    async def RepositoryModelUnload(self, request: Any, context: Any) -> Any:  # noqa: ARG002, N802
        """Never: a predictor serves one version."""
        await context.abort(grpc.StatusCode.UNIMPLEMENTED, "a predictor serves one version")


class _Refusals(grpc.aio.ServerInterceptor):  # type: ignore[misc]  # it has no types
    """What is no message is the sender's fault, gRPC's own answer to it is UNKNOWN.

    kserve's interceptor for what its calls raise takes a refusal of ours for a fault of the server.
    """

    async def intercept_service(self, continuation: Any, details: Any) -> Any:
        handler = await continuation(details)
        if handler is None or not handler.unary_unary:
            return handler
        deserialize, answer = handler.request_deserializer, handler.unary_unary

        def read(data: bytes) -> Any:
            try:
                return deserialize(data)
            except DecodeError:
                return None

        async def refuse_or_answer(request: Any, context: Any) -> Any:
            if request is None:
                refusal: Refusal = BadRequest("body: is no message of this call; mend it")
                method = details.method.rpartition("/")[2]
                metrics.REQUESTS.labels("grpc other", refusal.code).inc()
                event("request", method=method, status=refusal.code, reason=refusal.reason)
                await _abort(context, refusal)
            try:
                return await answer(request, context)
            except grpc.aio.AbortError:
                raise
            except (ModelNotReady, ServerNotReady):
                refusal = Unavailable("model: is not ready; try again later", retry_after_seconds=1)
            except Exception:  # noqa: BLE001 (the last resort: nothing of it may reach the sender)
                request_id = uuid4().hex
                LOGGER.exception(
                    "a request could not be answered", extra={"fields": {"request_id": request_id}}
                )
                refusal = internal_error(request_id)
            await _abort(context, refusal)
            return None

        return handler._replace(request_deserializer=read, unary_unary=refuse_or_answer)


async def start(
    service: Service, data_plane: Any, repository: Any, *, address: str
) -> tuple[Any, int]:
    """Serve gRPC; returns the server and its port.

    Raises:
        UsageError: The address is taken.
    """
    limit = service.settings.max_body_bytes
    server = grpc.aio.server(
        interceptors=(_Refusals(),),
        options=[
            ("grpc.max_receive_message_length", limit),
            ("grpc.max_send_message_length", -1),
            # Two servers on one port would each get half of the requests.
            ("grpc.so_reuseport", 0),
        ],
    )
    servicer = Servicer(service, data_plane, repository)
    add_GRPCInferenceServiceServicer_to_server(servicer, server)
    try:
        port = server.add_insecure_port(address)
    except RuntimeError as error:
        raise UsageError(
            address, rule="cannot be listened on", remedy="choose another --grpc-port"
        ) from error
    await server.start()
    return server, port


async def _abort(context: Any, refusal: Refusal) -> None:
    trailing: tuple[tuple[str, str], ...] = ()
    if refusal.retry_after_seconds is not None:
        trailing = (("retry-after", str(refusal.retry_after_seconds)),)
    await context.abort(
        getattr(grpc.StatusCode, refusal.code), refusal.reason, trailing_metadata=trailing
    )


def _value(name: str, parameter: Any) -> object:
    if choice := parameter.WhichOneof("parameter_choice"):
        return getattr(parameter, choice)
    # Triton's clients send numbers in fields that kserve's message does not know.
    for unknown in UnknownFieldSet(parameter):
        if unknown.field_number == _DOUBLE_PARAM:
            (number,) = struct.unpack("<d", struct.pack("<Q", unknown.data))
            return number
        if unknown.field_number == _UINT64_PARAM:
            return unknown.data
    raise BadRequest(f"parameter {name[:80]!r}: has no value; give one, or leave it out")
