"""The exception tree, and the exit code that goes with each branch.

DatapruneError                 exit 1
  UsageError                   exit 2  a wrong name, option or recipe
    RecipeError                        a recipe that does not validate
  SourceError                          data that cannot be read as asked
  AlignmentError                       scores and rows that do not belong together
  ProbeError                           a probe that failed, diverged or learned nothing
    PeerLostError                      another worker of the same unit is gone: try the unit again
  TableError                           a file that is not the table it should be
  VersionError                         a version that cannot be built, found or trusted
    VersionExistsError                 the tag is taken by other content
    VersionNotFoundError               no such name or tag
  HubError                             the Hub refused, or what it holds is not what it should be
    HubMissingError                    no such repository, revision or file, or not for this token
    HubUnsureError                     no answer came, or one that may not be true: ask again
  MissingExtraError                    an optional dependency that is not installed
  PartialError                 exit 3  units are missing; what is there was written
  BusyError                    exit 4  another process holds the folder

A message is one sentence: what, which value; the hint says what to do next.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class DatapruneError(Exception):
    """Base of every error a user can cause or meet; survives pickling between processes."""

    exit_code = 1

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __reduce__(self) -> tuple[object, ...]:
        return (_rebuild, (type(self), self.message, self.hint))

    def __str__(self) -> str:
        return f"{self.message} ({self.hint})" if self.hint else self.message


def _rebuild(kind: type[DatapruneError], message: str, hint: str | None) -> DatapruneError:
    return kind(message, hint=hint)


class UsageError(DatapruneError):
    """A wrong name, option or combination of them."""

    exit_code = 2


class RecipeError(UsageError):
    """A recipe that cannot be found, parsed or validated."""


class SourceError(DatapruneError):
    """Data that cannot be read the way it was asked for."""


class AlignmentError(DatapruneError):
    """Scores, decisions and rows that do not belong to the same source in the same order."""


class ProbeError(DatapruneError):
    """A probe that failed, diverged, or has learned too little to be believed."""


class PeerLostError(ProbeError):
    """Another worker of the same unit is gone, or failed; it says itself why, if it can."""


class TableError(DatapruneError):
    """A file that is not the table it is taken for, or is damaged."""


class VersionError(DatapruneError):
    """A version that cannot be built, found or trusted."""


class VersionExistsError(VersionError):
    """The tag is taken by a version with other content."""


class VersionNotFoundError(VersionError):
    """No version of that name and tag in the store."""


class HubError(DatapruneError):
    """The Hugging Face Hub refused something, or holds other content than it should."""


class HubMissingError(HubError):
    """The Hub has no such repository, revision or file, or does not show it to this token."""


class HubUnsureError(HubError):
    """The Hub failed or its reply was lost, so that what it did is not known; asking again is safe.

    retry_after_s: how long the Hub asked to be left alone; 0 if it did not say.
    overtaken: somebody else was faster: there is progress, and asking again is bound to end.
    """

    retry_after_s: float = 0.0
    overtaken: bool = False


class MissingExtraError(DatapruneError):
    """An optional dependency is needed and not installed."""


class PartialError(DatapruneError):
    """Units are missing: what could be computed was written and says that it is partial."""

    exit_code = 3


class BusyError(DatapruneError):
    """Another process is working in the same folder."""

    exit_code = 4


def nearest(name: str, known: Iterable[str]) -> str:
    """A hint for a mistyped name: the closest known one, then all of them."""
    names = sorted(known)
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    listed = ", ".join(names)
    return f"did you mean {close[0]}? known: {listed}" if close else f"known: {listed}"
