"""What is refused over gRPC, with which code and which words."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from kserve.protocol.grpc import grpc_predict_v2_pb2 as pb
from kserve.protocol.grpc.grpc_predict_v2_pb2_grpc import GRPCInferenceServiceStub

from tests.serving.models import NAME
from tests.serving.pictures import JPEG
from tests.serving.running import Running

Change = Callable[[Any], object]


@pytest.fixture(scope="module")
def channel(predictor: Running) -> Iterator[Any]:
    with grpc.insecure_channel(predictor.grpc_address) as channel:
        yield channel


def request() -> Any:
    given = pb.ModelInferRequest(model_name=NAME)
    tensor = given.inputs.add(name="image", datatype="BYTES", shape=[1])
    tensor.contents.bytes_contents.append(JPEG)
    return given


def raw(given: Any, data: bytes) -> None:
    given.inputs[0].ClearField("contents")
    given.raw_input_contents.append(data)


def as_pixels(given: Any, shape: list[int], numbers: list[int]) -> None:
    del given.inputs[:]
    tensor = given.inputs.add(name="pixels", datatype="UINT8", shape=shape)
    tensor.contents.uint_contents.extend(numbers)


@pytest.mark.parametrize(
    ("change", "code", "words"),
    [
        (lambda r: setattr(r, "model_name", "other"), "NOT_FOUND", "model 'other'"),
        (lambda r: setattr(r, "model_version", "9"), "NOT_FOUND", "version '9'"),
        (lambda r: r.ClearField("inputs"), "INVALID_ARGUMENT", "0 inputs"),
        (lambda r: r.inputs.add(), "INVALID_ARGUMENT", "2 inputs"),
        (lambda r: setattr(r.inputs[0], "name", "x"), "INVALID_ARGUMENT", "'x': is not known"),
        (lambda r: setattr(r.inputs[0], "datatype", "FP32"), "INVALID_ARGUMENT", "'FP32'"),
        (lambda r: r.inputs[0].shape.append(2), "INVALID_ARGUMENT", "holds 1 elements"),
        (lambda r: r.inputs[0].shape.append(-1), "INVALID_ARGUMENT", "whole numbers"),
        (lambda r: r.inputs[0].ClearField("contents"), "INVALID_ARGUMENT", "0 pictures"),
        (lambda r: r.raw_input_contents.append(b"x"), "INVALID_ARGUMENT", "raw_input_contents"),
        (lambda r: raw(r, b"\xff\xff\xff\xffx"), "INVALID_ARGUMENT", "cut short"),
        (lambda r: raw(r, b"\x04\0\0\0nope"), "INVALID_ARGUMENT", "picture"),
        (lambda r: raw(r, b""), "INVALID_ARGUMENT", "holds 0 elements"),
        (lambda r: raw(r, b"\0\0\0\0"), "INVALID_ARGUMENT", "0 bytes"),
        (
            lambda r: raw(r, (150_000).to_bytes(4, "little") + bytes(150_000)),
            "INVALID_ARGUMENT",
            "at most 100000",
        ),
        (lambda r: as_pixels(r, [1, 1, 1, 3], [1, 2]), "INVALID_ARGUMENT", "3 whole numbers"),
        (lambda r: as_pixels(r, [1, 1, 1, 3], [1, 2, 256]), "INVALID_ARGUMENT", "above 255"),
        (lambda r: r.outputs.add(name="masks"), "INVALID_ARGUMENT", "output 'masks'"),
        (
            lambda r: setattr(r.parameters["min_score"], "string_param", "high"),
            "INVALID_ARGUMENT",
            "min_score='high'",
        ),
        (lambda r: r.parameters["min_score"], "INVALID_ARGUMENT", "has no value"),
        (
            lambda r: setattr(r.inputs[0].parameters["min_score"], "string_param", "0.5"),
            "INVALID_ARGUMENT",
            "parameter 'min_score' of a tensor: is the request's; move it there",
        ),
        (
            lambda r: setattr(r.parameters["x"], "int64_param", 1),
            "INVALID_ARGUMENT",
            "parameter 'x': is not known",
        ),
        (
            lambda r: raw(r, bytes(500_000)),
            "RESOURCE_EXHAUSTED",
            "larger than max (500",
        ),
    ],
)
def test_refusals(change: Change, code: str, words: str, channel: Any) -> None:
    given = request()
    change(given)
    with pytest.raises(grpc.RpcError) as caught:
        GRPCInferenceServiceStub(channel).ModelInfer(given, timeout=60)
    assert caught.value.code() is getattr(grpc.StatusCode, code), caught.value
    assert words in caught.value.details()
    assert "/work" not in caught.value.details()


def test_request_ids_and_pixels_as_numbers(channel: Any) -> None:
    given = request()
    as_pixels(given, [1, 1, 1, 3], [9, 9, 9])
    answer, call = GRPCInferenceServiceStub(channel).ModelInfer.with_call(
        given, timeout=60, metadata=(("x-request-id", "seen-over-grpc"),)
    )
    assert dict(call.initial_metadata())["x-request-id"] == "seen-over-grpc"
    assert answer.outputs[0].name == "boxes"


def test_a_fault_of_the_server_says_nothing_of_it(channel: Any) -> None:
    given = request()
    as_pixels(given, [1, 1, 1, 3], [255, 255, 255])
    given.inputs[0].shape[:] = [1, 64, 64, 3]
    given.inputs[0].contents.uint_contents.extend([255] * (64 * 64 * 3 - 3))
    with pytest.raises(grpc.RpcError) as caught:
        GRPCInferenceServiceStub(channel).ModelInfer(
            given, timeout=60, metadata=(("x-request-id", "grpc-fault"),)
        )
    assert caught.value.code() is grpc.StatusCode.INTERNAL
    words = "internal error: the server's log tells of request grpc-fault"
    assert caught.value.details() == words


def test_other_calls(channel: Any) -> None:
    stub = GRPCInferenceServiceStub(channel)
    for call, asked in (
        (stub.ModelReady, pb.ModelReadyRequest),
        (stub.ModelMetadata, pb.ModelMetadataRequest),
    ):
        for name, version, words in (("other", "", "model 'other'"), (NAME, "9", "version '9'")):
            with pytest.raises(grpc.RpcError) as caught:
                call(asked(name=name, version=version), timeout=60)
            assert caught.value.code() is grpc.StatusCode.NOT_FOUND
            assert f"{words}: is not here" in caught.value.details()
        call(asked(name=NAME, version="0123456789ab"), timeout=60)
    for call, given in (
        (stub.RepositoryModelUnload, pb.RepositoryModelUnloadRequest(model_name=NAME)),
        (stub.RepositoryModelLoad, pb.RepositoryModelLoadRequest(model_name=NAME)),
    ):
        with pytest.raises(grpc.RpcError) as caught:
            call(given, timeout=60)
        assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED
    assert stub.ServerReady(pb.ServerReadyRequest(), timeout=60).ready


@pytest.mark.parametrize("garbage", [b"\xff", b"\x0a\xff\xff\xff\xff\x7f", b"\x0a\x02\xff\xfe"])
def test_what_is_no_message_is_no_fault_of_the_server(garbage: bytes, channel: Any) -> None:
    call = channel.unary_unary("/inference.GRPCInferenceService/ModelInfer")
    with pytest.raises(grpc.RpcError) as caught:
        call(garbage, timeout=60)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT, caught.value


def test_deadlines_and_the_queue(slow_folder: Path) -> None:
    options = ["--queue-length", "2", "--max-batch-images", "2", "--streams", "1"]
    with Running(slow_folder, *options) as running:
        running.ready()
        with grpc.insecure_channel(running.grpc_address) as channel:
            stub = GRPCInferenceServiceStub(channel)
            with pytest.raises(grpc.RpcError) as caught:
                stub.ModelInfer(request(), timeout=0.01)
            assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
            given = request()
            given.parameters["deadline_seconds"].string_param = "0.01"
            with pytest.raises(grpc.RpcError) as caught:
                stub.ModelInfer(given, timeout=60)
            assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
            assert "deadline of 0.01 seconds" in caught.value.details()
            calls = [stub.ModelInfer.future(request(), timeout=60) for _ in range(12)]
            codes = {call.code() for call in calls}
            assert codes == {grpc.StatusCode.OK, grpc.StatusCode.RESOURCE_EXHAUSTED}
            full = next(call for call in calls if call.code() is not grpc.StatusCode.OK)
            assert int(dict(full.trailing_metadata())["retry-after"]) >= 1
            waiting = [stub.ModelInfer.future(request(), timeout=60) for _ in range(2)]
            assert stub.ServerReady(pb.ServerReadyRequest(), timeout=60).ready
            running.process.terminate()
            running.wait_for("draining")
            assert [call.code() for call in waiting] == [grpc.StatusCode.OK] * 2
        assert running.wait() == 0
