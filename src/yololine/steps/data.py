"""From raw files to a split, augmented dataset and a test set."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any, Protocol

from pydantic import ValidationError

import yololine
from yololine.dataset.cleaning import check_cleaned
from yololine.dataset.cleaning import clean_dataset as clean
from yololine.dataset.manifest import (
    AugmentedManifest,
    DatasetManifest,
    ShardedImages,
    ShardRef,
    SplitManifest,
    TestSetManifest,
)
from yololine.dataset.policies import read_policy
from yololine.dataset.schema import read_index
from yololine.dataset.sources import SourceListing, diff_listings, list_source
from yololine.dataset.splitting import read_table, write_table
from yololine.dataset.splitting import split_dataset as split
from yololine.dataset.testset import build_test_set as lay_out
from yololine.errors import DatasetError, NotFound, SourceError, YololineError, in_one
from yololine.evaluation.promotion import class_faults, rule_faults
from yololine.frozen import Frozen
from yololine.steps.parameters import check_limits
from yololine.steps.perform import (
    LOG,
    Made,
    Step,
    perform,
    publish_exhibits,
    read_manifest,
    running,
    write_page,
)
from yololine.storage import Store, fetch_files, open_store, publish_files, sha256_bytes
from yololine.telemetry.records import StepState
from yololine.telemetry.results import Result

NAMED_CHANGES = 20
"""Paths of changed files that a record names; the counts are complete."""


class SourceFacts(Frozen):
    """The source as it is, and how it differs from the last run's."""

    source_uri: str
    digest: str
    files: int
    size_bytes: int
    previous_digest: str = ""
    previous_run: str = ""
    added_count: int = 0
    removed_count: int = 0
    changed_count: int = 0
    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()


class LastSeen(Frozen):
    """What the last run found under a source's URI."""

    digest: str
    run_id: str


def resolve_source(source_uri: str, store_uri: str, report: str) -> SourceFacts:
    """List the source, keep the listing, and say what changed since the last run of this source.

    Args:
        source_uri: Raw images and labels.
        store_uri: Root of the store.
        report: KFP output for the page.
    """
    with running(
        "resolve_source",
        store_uri=store_uri,
        beside=report,
        parameters={"source_uri": source_uri},
    ) as step:
        listing = list_source(open_store(source_uri))
        facts = _source_facts(step.store, source_uri, listing)
        _say_source(step, facts)
        step.update(
            state=StepState.DONE,
            digest=listing.digest,
            facts=facts.model_dump(mode="json"),
        )
        write_page(step, report)
        # Last: a step that is repeated still tells what changed.
        _keep_listing(step, source_uri, listing, facts)
    return facts


def clean_dataset(
    source_uri: str,
    source_digest: str,
    store_uri: str,
    dataset: str,
    report: str,
    *,
    source_format: str = "auto",
    max_dropped_fraction: float = 0.25,
) -> Result:
    """Make the Parquet dataset of the source, with every drop accounted for.

    Args:
        source_uri: Raw images and labels.
        source_digest: The listing's digest; a source that has changed since is refused.
        store_uri: Root of the store.
        dataset: KFP output for the manifest.
        report: KFP output for the page.
        source_format: auto, yolo or voc.
        max_dropped_fraction: Largest share of images that may be dropped, 0 to 1.
    """
    config = {"source_format": source_format, "max_dropped_fraction": max_dropped_fraction}
    with running(
        "clean_dataset",
        store_uri=store_uri,
        beside=dataset,
        parameters={"source_uri": source_uri, **config},
        packages=("pillow", "numpy", "pyarrow"),
    ) as step:
        check_limits(max_dropped_fraction=max_dropped_fraction)
        step.takes({"source": source_digest}, upstream={})

        def make(scratch: Path) -> Made:
            source = open_store(source_uri)
            listing = list_source(source)
            if listing.digest != source_digest:
                raise SourceError(
                    source_uri,
                    rule="has changed since resolve_source listed it",
                    remedy="run again when the upload is complete",
                )
            cleaned = clean(
                source,
                listing,
                scratch,
                source_format=source_format,
                progress=_every_tenth(step, "images decoded"),
            )
            facts = cleaned.report.model_dump(mode="json")
            try:
                check_cleaned(cleaned.report, source_uri, max_dropped_fraction=max_dropped_fraction)
            except YololineError:
                # Whoever is to mend the source needs the account more than anyone.
                shown = publish_exhibits(step, cleaned.exhibits)
                step.update(facts=facts, exhibits={name: ref.path for name, ref in shown.items()})
                write_page(step, report)
                raise
            for sentence in cleaned.report.notes:
                step.note(sentence)
            content = _publish_images(step.store, cleaned, cleaned.class_names)
            manifest = DatasetManifest(
                **dict(content),
                source_uri=source_uri,
                source_digest=source_digest,
                parameters=config,
            )
            return Made(
                manifest=lambda _: manifest,
                digest=cleaned.digest,
                facts={"dataset_digest": cleaned.digest, **facts},
                exhibits=cleaned.exhibits,
            )

        result = perform(step, config=config, make=make, manifest_out=dataset)
        _say_dataset(step, source_uri, result)
        write_page(step, report)
    return result


def split_dataset(
    dataset: str,
    store_uri: str,
    split_out: str,
    report: str,
    *,
    val_fraction: float,
    test_fraction: float,
    seed: int,
) -> Result:
    """Assign every image to train, val or test.

    Args:
        dataset: Manifest of the cleaned dataset.
        store_uri: Root of the store.
        split_out: KFP output for the manifest.
        report: KFP output for the page.
        val_fraction: Share of images for validation, above 0.
        test_fraction: Share of images for the test split, above 0.
        seed: Another seed gives another split.
    """
    config = {"val_fraction": val_fraction, "test_fraction": test_fraction, "seed": int(seed)}
    with running(
        "split_dataset",
        store_uri=store_uri,
        beside=split_out,
        parameters=config,
        packages=("numpy", "pyarrow"),
    ) as step:
        source = read_manifest(dataset, DatasetManifest)
        step.takes({"dataset": source.digest}, upstream={"clean_dataset": source.key})

        def make(scratch: Path) -> Made:
            index = read_index(fetch_shards(step.store, source.shards, scratch / "dataset"))
            made = split(
                index, val_fraction=val_fraction, test_fraction=test_fraction, seed=int(seed)
            )
            for sentence in made.notes:
                step.note(sentence)
            table = scratch / "split.parquet"
            write_table(made, table)
            return Made(
                manifest=lambda files: SplitManifest(
                    digest=made.digest,
                    dataset=source,
                    table=files["split.parquet"],
                    counts=made.counts,
                    seed=int(seed),
                    val_fraction=val_fraction,
                    test_fraction=test_fraction,
                    tool_version=yololine.__version__,
                ),
                digest=made.digest,
                facts={
                    "digest": made.digest,
                    "counts": {n: c.model_dump() for n, c in made.counts.items()},
                    **config,
                },
                files={"split.parquet": table},
            )

        return perform(step, config=config, make=make, manifest_out=split_out, page_out=report)


def augment_dataset(
    split_path: str,
    store_uri: str,
    augmented: str,
    report: str,
    *,
    augmentation_policy: str,
    augmentation_copies: int,
    policy_sha256: str,
    seed: int,
) -> Result:
    """Make augmented copies of the train images.

    Args:
        split_path: Manifest of the split.
        store_uri: Root of the store.
        augmented: KFP output for the manifest.
        report: KFP output for the page.
        augmentation_policy: none, standard, or the URI of an Albumentations policy (YAML).
        augmentation_copies: Copies per train image, 0 to 20.
        policy_sha256: What the policy must hold; empty takes it as it is.
        seed: Another seed gives other copies.
    """
    copies = int(augmentation_copies)
    with running(
        "augment_dataset",
        store_uri=store_uri,
        beside=augmented,
        parameters={
            "augmentation_policy": augmentation_policy,
            "augmentation_copies": copies,
            "seed": int(seed),
        },
        packages=("albumentations", "opencv-python-headless", "numpy", "pyarrow"),
    ) as step:
        given = read_manifest(split_path, SplitManifest)
        step.takes({"split": given.digest}, upstream={"split_dataset": given.key})
        check_limits(augmentation_copies=copies)
        # The file's content, not its name, shapes the result.
        sha256 = sha256_bytes(read_policy(augmentation_policy))
        if policy_sha256 not in {"", sha256}:
            raise DatasetError(
                f"augmentation policy {augmentation_policy}",
                rule="has changed since preflight read it",
                remedy="run again",
            )
        config = {"policy": sha256, "copies": copies, "seed": int(seed)}

        def make(scratch: Path) -> Made:
            # Not above: Albumentations brings torch where that is installed, and takes seconds.
            from yololine.dataset.augmentation import augment, load_policy

            policy = load_policy(augmentation_policy)
            assignments = split_assignments(step.store, given, scratch)
            shards = fetch_shards(step.store, given.dataset.shards, scratch / "dataset")
            made = augment(
                shards, assignments, scratch / "augmented", policy, copies=copies, seed=int(seed)
            )
            for sentence in made.notes:
                step.note(sentence)
            content = _publish_images(step.store, made, given.dataset.class_names)
            return Made(
                manifest=lambda _: AugmentedManifest(
                    **dict(content),
                    split_digest=given.digest,
                    policy=augmentation_policy,
                    policy_sha256=sha256,
                    copies=copies,
                ),
                digest=made.digest,
                facts={
                    "policy": augmentation_policy,
                    "copies": copies,
                    "images": made.images,
                    "objects_per_class": made.objects_per_class,
                    "transforms": list(policy.transform_names),
                    "examples": [
                        {"exhibit": name, "caption": "before and after"} for name in made.exhibits
                    ],
                },
                exhibits=made.exhibits,
            )

        return perform(step, config=config, make=make, manifest_out=augmented, page_out=report)


def build_test_set(
    split_path: str,
    store_uri: str,
    test_set: str,
    report: str,
    *,
    promotion_rules: dict[str, Any] | None = None,
) -> Result:
    """Put the test images into shards of their own, on which every promotion rule can be measured.

    Args:
        split_path: Manifest of the split.
        store_uri: Root of the store.
        test_set: KFP output for the manifest.
        report: KFP output for the page.
        promotion_rules: Least values by metric. A rule for a class that there is not is refused
            here, where the classes are known in any case and no accelerator is taken yet.
    """
    rules = promotion_rules or {}
    with running(
        "build_test_set",
        store_uri=store_uri,
        beside=test_set,
        packages=("pyarrow",),
    ) as step:
        given = read_manifest(split_path, SplitManifest)
        step.takes({"split": given.digest}, upstream={"split_dataset": given.key})
        if faults := rule_faults(rules, 0) or class_faults(rules, given.dataset.class_names):
            raise in_one(faults)

        def make(scratch: Path) -> Made:
            assignments = split_assignments(step.store, given, scratch)
            shards = fetch_shards(step.store, given.dataset.shards, scratch / "dataset")
            made = lay_out(shards, assignments, scratch / "test")
            content = _publish_images(step.store, made, given.dataset.class_names)
            return Made(
                manifest=lambda _: TestSetManifest(
                    **dict(content),
                    dataset_digest=given.dataset.digest,
                    split_digest=given.digest,
                ),
                digest=made.digest,
                facts={
                    "digest": made.digest,
                    "images": made.images,
                    "objects_per_class": made.objects_per_class,
                },
            )

        return perform(step, config={}, make=make, manifest_out=test_set, page_out=report)


def split_assignments(store: Store, given: SplitManifest, scratch: Path) -> dict[str, str]:
    """Image id -> split."""
    table = scratch / "split.parquet"
    fetch_files(store, [(given.table, table)])
    return read_table(table)


def fetch_shards(store: Store, shards: tuple[ShardRef, ...], folder: Path) -> list[Path]:
    """Shards of a manifest as local files, in the manifest's order."""
    files = [folder / Path(shard.path).name for shard in shards]
    fetch_files(store, zip(shards, files, strict=True))
    return files


class _Images(Protocol):
    """What cleaning, augmentation and the test set make."""

    @property
    def shards(self) -> list[Path]: ...
    @property
    def digest(self) -> str: ...
    @property
    def images(self) -> int: ...
    @property
    def objects_per_class(self) -> dict[str, int]: ...


def _publish_images(store: Store, made: _Images, class_names: tuple[str, ...]) -> ShardedImages:
    """Publish shards under their content's digest, and then what makes them a dataset."""
    folder = f"datasets/{made.digest}"
    refs = publish_files(store, [(shard, f"{folder}/{shard.name}") for shard in made.shards])
    content = ShardedImages(
        digest=made.digest,
        class_names=tuple(class_names),
        shards=tuple(
            ShardRef(**ref.model_dump(), images=read_index([shard]).num_rows)
            for ref, shard in zip(refs, made.shards, strict=True)
        ),
        images=made.images,
        objects_per_class=made.objects_per_class,
        tool_version=yololine.__version__,
    )
    # Of the content alone: who made it, and from where, the step's result says.
    store.write_bytes(f"{folder}/manifest.json", content.model_dump_json(indent=1).encode())
    return content


def _source_facts(store: Store, source_uri: str, listing: SourceListing) -> SourceFacts:
    last = _last_seen(store, _source_pointer(source_uri))
    known: dict[str, Any] = {}
    if last:
        known = {"previous_digest": last.digest, "previous_run": last.run_id}
        if last.digest != listing.digest:
            try:
                before = SourceListing.from_json(store.read_bytes(_listing_path(last.digest)))
            except NotFound:
                pass
            else:
                diff = diff_listings(before, listing)
                for kind in ("added", "removed", "changed"):
                    paths = getattr(diff, kind)
                    known |= {f"{kind}_count": len(paths), kind: paths[:NAMED_CHANGES]}
    return SourceFacts(
        source_uri=source_uri,
        digest=listing.digest,
        files=listing.files,
        size_bytes=listing.size_bytes,
        **known,
    )


def _keep_listing(step: Step, source_uri: str, listing: SourceListing, facts: SourceFacts) -> None:
    if facts.previous_digest == listing.digest:
        return
    step.store.write_bytes(_listing_path(listing.digest), listing.to_json())
    _see(step, _source_pointer(source_uri), listing.digest)


def _say_source(step: Step, facts: SourceFacts) -> None:
    if not facts.previous_digest:
        step.note(f"First run of this source: {facts.files} files, listing {facts.digest[:12]}")
    elif facts.previous_digest == facts.digest:
        step.note(f"Source unchanged since run {facts.previous_run}: listing {facts.digest[:12]}")
    else:
        step.note(
            f"Source changed since run {facts.previous_run}: {facts.added_count} files added, "
            f"{facts.removed_count} removed, {facts.changed_count} changed; "
            f"listing {facts.previous_digest[:12]} is now {facts.digest[:12]}"
        )


def _say_dataset(step: Step, source_uri: str, result: Result) -> None:
    pointer = _source_pointer(source_uri).replace("sources/", "datasets/by-source/")
    last = _last_seen(step.store, pointer)
    if last and last.digest != result.digest:
        step.note(
            f"New dataset {result.digest[:12]}: run {last.run_id} made {last.digest[:12]} of this "
            "source"
        )
    if last is None or last.digest != result.digest:
        _see(step, pointer, result.digest)


def _source_pointer(source_uri: str) -> str:
    return f"sources/{hashlib.sha256(source_uri.rstrip('/').encode()).hexdigest()[:16]}.json"


def _listing_path(digest: str) -> str:
    return f"sources/listings/{digest}.json"


def _last_seen(store: Store, pointer: str) -> LastSeen | None:
    try:
        return LastSeen.model_validate_json(store.read_bytes(pointer))
    except (NotFound, ValidationError):
        return None


def _see(step: Step, pointer: str, digest: str) -> None:
    seen = LastSeen(digest=digest, run_id=step.run_id)
    step.store.write_bytes(pointer, seen.model_dump_json().encode())


def _every_tenth(step: Step, what: str) -> Any:
    """A progress callback that logs about ten lines, however many items there are."""

    def progress(done: int, total: int) -> None:
        if done == total or done % max(1, total // 10) == 0:
            LOG.info("%s: %d of %d %s", step.name, done, total, what)

    return progress
