"""What is probably wrong with an installation: files and store that are valid, judged by what they mean."""

from collections.abc import Iterator

from relay.judgments.case import Book, Case, Finding, Judgment
from relay.judgments.certificates import CERTIFICATES
from relay.judgments.directory import DIRECTORY
from relay.judgments.listeners import LISTENERS
from relay.judgments.networks import NETWORKS
from relay.judgments.published import PUBLISHED
from relay.judgments.routes import ROUTES
from relay.judgments.senders import SENDERS
from relay.judgments.settings import SETTINGS
from relay.judgments.storage import STORAGE

__all__ = ["Book", "Case", "Finding", "judge"]

_MOST_OF_A_KIND = 20
_ALL: tuple[Judgment, ...] = (
    *STORAGE,
    *PUBLISHED,
    *LISTENERS,
    *CERTIFICATES,
    *NETWORKS,
    *SETTINGS,
    *DIRECTORY,
    *ROUTES,
    *SENDERS,
)


def judge(case: Case) -> Iterator[Finding]:
    """All that is found, of each kind a few. Opens no connection, and leaves nothing behind."""
    told: set[str] = set()
    for judgment in _ALL:
        found = [finding for finding in dict.fromkeys(judgment(case)) if finding.what not in told]
        told |= {finding.what for finding in found}
        yield from found[:_MOST_OF_A_KIND]
        if len(found) > _MOST_OF_A_KIND:
            more = f"{len(found) - _MOST_OF_A_KIND} more like this"
            yield Finding(found[0].where, more, any(finding.refuses for finding in found))
