"""Every refusal yololine makes, as one tree.

    YololineError
    |-- UsageError            a parameter, an option or a file of parameters
    |-- SourceError           the raw images and labels
    |-- DatasetError          a dataset, split or augmentation policy
    |-- StoreError            the object store or folder
    |   |-- StoreUnavailable  it cannot be used now
    |   |   `-- StoreRefused  it answers and says no: credentials, permission, bucket, space
    |   |-- NotFound          the object is not there
    |   `-- IntegrityError    the object's size or sha256 is not the published one
    |-- WeightsError          a weights file or an architecture
    |-- TrainingError         the trainer
    |   |-- OutOfMemory       killed for memory, host or accelerator
    |   |-- NotFinite         the loss became NaN or infinite
    |   `-- TrainerDied       the trainer's process ended without a word
    |-- EvaluationError       scoring, or an exported model that differs from its weights
    |-- RegistryError         versions and the champion
    `-- RunError              a run of the pipeline itself

Each message is three parts: the value that was met, the rule it breaks, and the remedy.
"""

from __future__ import annotations


class YololineError(Exception):
    """A refusal in words a person can act on.

    Args:
        value: What was met, quoted as the user wrote it.
        rule: What it breaks.
        remedy: What to do about it.
    """

    exit_code = 1
    retryable = False
    """Whether the same call may succeed when it is simply made again."""

    def __init__(self, value: object, *, rule: str, remedy: str) -> None:
        self.value = str(value)
        self.rule = rule
        self.remedy = remedy
        super().__init__(f"{self.value}: {rule}; {remedy}")

    def __reduce__(self) -> tuple[object, ...]:
        # Exception's own pickling would call __init__ without the keywords.
        return (_rebuild, (type(self), self.value, self.rule, self.remedy))

    @property
    def kind(self) -> str:
        """The class's name: what tables and journals call this error."""
        return type(self).__name__


def _rebuild(cls: type[YololineError], value: str, rule: str, remedy: str) -> YololineError:
    return cls(value, rule=rule, remedy=remedy)


class UsageError(YololineError):
    """A parameter, option or parameter file is wrong."""

    exit_code = 2


class Faults(UsageError):
    """Several faults found together, so that one correction mends them all."""

    def __init__(self, faults: list[YololineError]) -> None:
        self.faults = faults
        count = f"{len(faults)} fault" + ("s" if len(faults) > 1 else "")
        listed = "\n".join(f"  - {fault}" for fault in faults)
        super().__init__(count, rule=f"found before the run started\n{listed}\n", remedy="mend all")

    def __str__(self) -> str:
        if len(self.faults) == 1:
            return str(self.faults[0])
        return f"{self.value}, {self.rule}".rstrip()

    def __reduce__(self) -> tuple[object, ...]:
        return (type(self), (self.faults,))


class SourceError(YololineError):
    """The raw images and labels cannot be used as they are."""


class DatasetError(YololineError):
    """A dataset, a split or an augmentation policy cannot be used."""


class StoreError(YololineError):
    """The object store or folder."""


class StoreUnavailable(StoreError):
    """The store does not answer, or answers that it cannot serve now."""

    retryable = True


class StoreRefused(StoreUnavailable):
    """The store answers and says no: credentials, permission, a missing bucket, no space."""

    retryable = False


class NotFound(StoreError):
    """The object is not in the store."""


class IntegrityError(StoreError):
    """An object's size or sha256 is not the published one."""

    retryable = True


class WeightsError(YololineError):
    """A weights file or an architecture cannot be used."""


class TrainingError(YololineError):
    """The trainer could not finish."""


class OutOfMemory(TrainingError):
    """Killed for memory: repeating it unchanged would be killed again."""


class NotFinite(TrainingError):
    """The loss became NaN or infinite."""


class TrainerDied(TrainingError):
    """The trainer's process ended without saying why."""

    retryable = True


class EvaluationError(YololineError):
    """Scoring failed, or an exported model differs from its weights."""


class RegistryError(YololineError):
    """Registry versions and the champion."""


class RunError(YololineError):
    """A run of the pipeline itself."""


class Terminated(RunError):
    """The step was told to stop (SIGTERM) and stopped."""

    exit_code = 143
