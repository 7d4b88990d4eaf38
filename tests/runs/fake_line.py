"""A little pipeline with the training line's names and manners: `fake_line.py OUT.yaml`."""

# ruff: noqa: ARG001, B006, T201 (written into YAML, and run there)

import sys

from kfp import compiler, dsl


@dsl.component(base_image="yololine/data", install_kfp_package=False)
def resolve_source(source_uri: str, store_uri: str, names: list, labels: dict) -> str:
    import json
    import os

    from yololine.storage import open_store
    from yololine.telemetry.journal import write_record
    from yololine.telemetry.orphans import end_with_run
    from yololine.telemetry.records import StepRecord, StepState, now

    end_with_run()
    print("reading", source_uri, json.dumps(names), json.dumps(labels))
    store = open_store(store_uri)
    run_id = os.environ["YOLOLINE_RUN_ID"]
    made_in_run = store.read_bytes("made").decode() if store.exists("made") else ""
    record = StepRecord(
        step="resolve_source",
        run_id=run_id,
        state=StepState.REUSED if made_in_run else StepState.DONE,
        started_at=now(),
        finished_at=now(),
        digest="5ca1ab1e" * 8,
        made_in_run=made_in_run or run_id,
    )
    if not made_in_run:
        store.write_bytes("made", run_id.encode())
    write_record(store, record)
    return record.digest


@dsl.component(base_image="yololine/train", install_kfp_package=False)
def train_detector(
    store_uri: str, source: str, epochs: int, epoch_seconds: float, mishap: str, shuffle: bool
) -> str:
    import os
    import signal
    import subprocess
    import sys
    import time

    from yololine.storage import open_store
    from yololine.telemetry.journal import write_record
    from yololine.telemetry.orphans import end_with_run
    from yololine.telemetry.records import EpochProgress, ErrorRecord, StepRecord, StepState, now

    end_with_run()
    store = open_store(store_uri)
    # As torch's launcher starts workers: in a session of their own, with the step's output. Nothing
    # ends it but SIGTERM: that is up to the runner, as it is to a pod.
    worker = subprocess.Popen(
        [sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True
    )
    done = int(store.read_bytes("checkpoint")) if store.exists("checkpoint") else 0
    record = StepRecord(
        step="train_detector",
        run_id=os.environ["YOLOLINE_RUN_ID"],
        state=StepState.RUNNING,
        started_at=now(),
        key=f"{done} epochs were there",
    )
    write_record(store, record)

    def terminate(*_: object) -> None:
        if mishap == "stubborn":
            return
        worker.kill()
        time.sleep(0.3)
        store.write_bytes("saved", b"on SIGTERM")
        print("saved")
        error = ErrorRecord(kind="Terminated", message="step: was told to stop (SIGTERM)")
        write_record(
            store,
            record.model_copy(
                update={"state": StepState.TERMINATED, "finished_at": now(), "error": error}
            ),
        )
        os._exit(143)

    signal.signal(signal.SIGTERM, terminate)
    for epoch in range(done + 1, epochs + 1):
        time.sleep(epoch_seconds)
        if mishap == "words" and epoch == 2:
            error = ErrorRecord(
                kind="NotFinite",
                message="epoch 2: the loss became NaN; lower lr0",
                remedy="lower lr0",
            )
            write_record(
                store,
                record.model_copy(
                    update={"state": StepState.FAILED, "finished_at": now(), "error": error}
                ),
            )
            sys.exit(1)
        if mishap == "kill" and epoch == 2:
            os.kill(os.getpid(), signal.SIGKILL)
        if mishap == "silence" and epoch == 2:
            print("Oh dear")
            sys.stdout.flush()
            os._exit(3)
        store.write_bytes("checkpoint", str(epoch).encode())
        record = record.model_copy(
            update={
                "progress": EpochProgress(
                    epoch=epoch,
                    epochs=epochs,
                    box_loss=2.0 / epoch,
                    cls_loss=1.5 / epoch,
                    dfl_loss=1.0 / epoch,
                    map50=0.9 - 0.5 / epoch,
                    seconds=epoch_seconds,
                )
            }
        )
        write_record(store, record)
    write_record(store, record.model_copy(update={"state": StepState.DONE, "finished_at": now()}))
    return source


@dsl.component(base_image="yololine/data", install_kfp_package=False)
def report_run(status: dsl.PipelineTaskFinalStatus, store_uri: str):
    import os

    from yololine.storage import open_store
    from yololine.telemetry.journal import read_run, write_record
    from yololine.telemetry.records import StepRecord, StepState, now

    store = open_store(store_uri)
    run_id = os.environ["YOLOLINE_RUN_ID"]
    states = {step: record.state.value for step, record in read_run(store, run_id).items()}
    store.write_bytes(f"runs/{run_id}/report.html", f"{status.state} {states}".encode())
    write_record(
        store,
        StepRecord(
            step="report_run",
            run_id=run_id,
            state=StepState.DONE,
            started_at=now(),
            finished_at=now(),
        ),
    )


@dsl.pipeline(name="a-name-of-its-own", description="Learns nothing, in the training line's way.")
def fake(
    source_uri: str,
    store_uri: str = "s3://mlpipeline/yololine",
    epochs: int = 3,
    epoch_seconds: float = 0.1,
    mishap: str = "",
    shuffle: bool = True,
    names: list = ["scratch", "dent"],
    labels: dict = {"share": 0.5},
):
    """Learns nothing, in the training line's way.

    Args:
        source_uri: Raw images and
            labels.
        store_uri: Root of the store.
        epochs: Passes over the images, 1 or more.
        epoch_seconds: Length of one pass.
        mishap: What goes wrong.
        shuffle: Whether to.
        names: Class names.
        labels: Labels of the run.
    """
    report = report_run(store_uri=store_uri)
    with dsl.ExitHandler(report):
        resolved = resolve_source(
            source_uri=source_uri, store_uri=store_uri, names=names, labels=labels
        )
        resolved.set_caching_options(False)
        trained = train_detector(
            store_uri=store_uri,
            source=resolved.output,
            epochs=epochs,
            epoch_seconds=epoch_seconds,
            mishap=mishap,
            shuffle=shuffle,
        )
        trained.set_retry(2, backoff_duration="60s")
        trained.set_cpu_limit("4")


if __name__ == "__main__":
    compiler.Compiler().compile(fake, sys.argv[1])
