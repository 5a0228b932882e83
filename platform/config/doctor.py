"""What is wrong with this installation, in plain words, and how to mend it.

Each layer looks after its own: `settings.DOCTOR_CHECKS` names tuples of checks, which run in that order. A check whose
needs are broken is not run; to be told of one fault twenty times helps nobody.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum

from django.conf import settings
from django.utils.module_loading import import_string


class Mark(StrEnum):
    FINE = "✓"
    DOUBTFUL = "!"
    BROKEN = "✗"


@dataclass(frozen=True)
class Finding:
    """What one look came to. `part` is what other checks may need."""

    mark: Mark
    part: str
    says: str
    mend: str = ""

    def __str__(self) -> str:
        return f"{self.mark} {self.part}: {self.says}{' ' if self.mend else ''}{self.mend}"


@dataclass(frozen=True)
class Check:
    part: str
    look: Callable[[], Iterable[Finding]]
    needs: tuple[str, ...] = ()


def fine(part: str, says: str) -> Finding:
    return Finding(Mark.FINE, part, says)


def doubtful(part: str, says: str, mend: str = "") -> Finding:
    """It works, and somebody should know."""
    return Finding(Mark.DOUBTFUL, part, says, mend)


def broken(part: str, says: str, mend: str = "") -> Finding:
    return Finding(Mark.BROKEN, part, says, mend)


def examine() -> Iterator[Finding]:
    """Every finding, as it is made."""
    lost: set[str] = set()
    skipped: list[str] = []
    for check in (one for source in settings.DOCTOR_CHECKS for one in import_string(source)):
        if not lost.isdisjoint(check.needs):
            lost.add(check.part)
            skipped.append(check.part)
            continue
        for finding in _look(check):
            if finding.mark is Mark.BROKEN:
                lost.add(finding.part)
            yield finding
    if skipped:
        yield doubtful("the rest", f"not looked at: {', '.join(skipped)}.", "Mend the above, then ask again.")


def _look(check: Check) -> Iterator[Finding]:
    try:
        yield from check.look()
    except Exception as error:  # noqa: BLE001  a part that falls over while it is looked at is what the doctor is for
        says = f"could not be looked at: {type(error).__name__}: {' '.join(str(error).split())}"
        yield broken(check.part, says, "Ask again; if it stays, this is a fault of Burnish.")
