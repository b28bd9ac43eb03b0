"""What is probably wrong with an installation: files and store that are valid, judged by what they mean."""

from collections.abc import Iterator

from relay.process.judgments.case import Case, Finding, Judgment
from relay.process.judgments.certificates import CERTIFICATES
from relay.process.judgments.directory import DIRECTORY
from relay.process.judgments.listeners import LISTENERS
from relay.process.judgments.networks import NETWORKS
from relay.process.judgments.published import PUBLISHED
from relay.process.judgments.routes import ROUTES
from relay.process.judgments.senders import SENDERS
from relay.process.judgments.settings import SETTINGS
from relay.process.judgments.storage import STORAGE

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


def judge_case(case: Case) -> Iterator[Finding]:
    """All that is found, of each kind a few. Opens no connection, and leaves nothing behind."""
    told: set[str] = set()
    for judgment in _ALL:
        found = [finding for finding in dict.fromkeys(judgment(case)) if finding.what not in told]
        told |= {finding.what for finding in found}
        yield from found[:_MOST_OF_A_KIND]
        if len(found) > _MOST_OF_A_KIND:
            more = f"{len(found) - _MOST_OF_A_KIND} more like this"
            yield Finding(found[0].where, more, any(finding.refuses for finding in found))
