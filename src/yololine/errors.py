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
    |-- ClusterError          the Kubernetes API: it cannot be reached, or it says no
    |-- DeploymentError       a model that did not go live
    `-- RunError              a run of the pipeline itself

Each message is three parts: the value that was met, the rule it breaks, and the remedy.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Sequence

_LONGEST_VALUE = 1000
_UNSEEN = {"Cc", "Cs", "Zl", "Zp"}
"""Unicode categories that a terminal obeys instead of showing, or that no file can hold."""
_TURNS_TEXT = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
"""They have a terminal show what follows in another order."""
_URI = re.compile(r"(?<=://)\S+")
_QUERY = re.compile(r"\?\S*=\S*")
_SECRET_AUTHORITY = re.compile(r"[^/]*@|(?:\[[^/]*\])?[^/\[\]]*:(?!\d*(?:/|$|[^\w/]))")


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
        self.value = _shortened(legible(str(value)))
        self.rule = legible(rule, lines=True)
        self.remedy = legible(remedy, lines=True)
        super().__init__(f"{self.value}: {self.rule}; {self.remedy}")

    def reworded(self, change: Callable[[str], str]) -> YololineError:
        """The same error, each of its texts as `change` makes it."""
        return _rebuild(type(self), change(self.value), change(self.rule), change(self.remedy))

    def __reduce__(self) -> tuple[object, ...]:
        # Exception's own pickling would call __init__ without the keywords.
        return (_rebuild, (type(self), self.value, self.rule, self.remedy))

    @property
    def kind(self) -> str:
        """The class's name: what tables and journals call this error."""
        return type(self).__name__


def _rebuild(cls: type[YololineError], value: str, rule: str, remedy: str) -> YololineError:
    return cls(value, rule=rule, remedy=remedy)


def legible(text: str, *, lines: bool = False) -> str:
    """The text fit for a terminal, a log and a report.

    What a terminal would obey, or no file can hold, is written as its escape; secrets in URIs are
    struck out. File names, and so what is quoted here, may hold anything.

    Args:
        text: What is to be shown.
        lines: Whether line breaks stay.
    """

    def shown(character: str) -> str:
        if lines and character == "\n":
            return character
        if unicodedata.category(character) in _UNSEEN or character in _TURNS_TEXT:
            return character.encode("unicode_escape").decode()
        return character

    return without_secrets("".join(map(shown, text)))


def without_secrets(text: str) -> str:
    """The text with user, password and signed query of every URI in it struck out."""

    def masked(match: re.Match[str]) -> str:
        # In front of the last @: a secret may hold slashes.
        uri: str = match[0]
        if _SECRET_AUTHORITY.match(uri):
            uri = "***" + uri[uri.rfind("@") :] if "@" in uri else "***"
        return _QUERY.sub("?***", uri)

    return _URI.sub(masked, text)


def _shortened(text: str) -> str:
    if len(text) <= _LONGEST_VALUE:
        return text
    return f"{text[: _LONGEST_VALUE // 2]}... ({len(text)} characters)"


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

    def reworded(self, change: Callable[[str], str]) -> YololineError:
        """Each of the faults so."""
        return type(self)([fault.reworded(change) for fault in self.faults])

    def __reduce__(self) -> tuple[object, ...]:
        return (type(self), (self.faults,))


def in_one(faults: Sequence[YololineError]) -> YololineError:
    """The error to raise for faults that were found together: the only one, or all as `Faults`."""
    return faults[0] if len(faults) == 1 else Faults(list(faults))


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


class ClusterError(YololineError):
    """The Kubernetes API cannot be reached, or it says no."""


class DeploymentError(YololineError):
    """A model did not go live, or could not be checked once it was."""


class RunError(YololineError):
    """A run of the pipeline itself."""


class Terminated(RunError):
    """The step was told to stop (SIGTERM) and stopped."""

    exit_code = 143
