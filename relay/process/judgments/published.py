"""The lab's keys: they stand in public files, so that whoever reaches a listener could send with them."""

from collections.abc import Iterator

from relay.domain.directory import ApiKey
from relay.process.judgments.case import Case, Finding, Judgment
from relay.process.judgments.hosts import host_of_url, is_loopback
from relay.process.judgments.listeners import public_listeners

PUBLISHED_KEYS = frozenset(
    (
        "0cd8aa8e318f217efe116ec843be06342c1f104de55b94b52afd88cc94558686",
        "44f384e32294623cbdb2a2039f90093010b50dd55edb96c1d8b6fc1c4a1e5a18",
        "4aba1013ff92e478d6c0385d2cb607629d40ecca8a73c2155eb404f1379d79f6",
        "5c9c901432fec6520a89f4442303a0d75f18dad3c72c39e5e0e8e4e518bb1e2f",
        "5ded0012298ecf4d9b1459d9cba40c62bc7f12ed65d7e3867a6e85c4e25e5398",
        "9720ff55f62616cbb80f3d62efc740718976875044ba6ebf5f90d1b9041e72ce",
        "cbb5d9c4d2a440b2026bf379b8ac3a4b62fd26d6b98a6894c0d52fa15ec790f8",
        "cd6d222b035e6bf7d22d56818af326dcbefe679b1dcf6b5ec49c82adbe10b2b0",
        "d4f2ee0ec350063f4ad2f103c411f670f5657a895d23dab6910d1920606b4289",
        "d81da4ffdb901317ba7364ebaee4b30bc22598bd4219829c0bfb780a60bdce2f",
        "db71c2bf1ec51b0193410783f0eca35d0bbeed0ff80303c8aa5bbad0981603c3",
        "eea2862199c628a51bcaeba16664386fb05245ab268ec2178d74833072794d11",
        "f78e62129c4132ee7cbd28069d1ba2cf25850303ce94025e8013a15cfbaa1373",
        "f794cbb435cc9c7765b10520a855135b11d9fcb0c8dbd3998016942666318514",
    )
)
"""SHA-256 of every key that config/directory.toml or the lab of relay.testing holds in clear text."""

_MOST_NAMED = 5


def _open_to_all(case: Case) -> Iterator[Finding]:
    public = public_listeners(case)
    for book in case.books:
        keys = [key for key in book.of(ApiKey) if key.sha256 in PUBLISHED_KEYS]
        if not keys:
            continue
        if public:
            where = ", ".join(map(str, public[:_MOST_NAMED]))
            what = f"keys that everybody knows, and listeners that others may reach ({where}): {_named(keys)}"
            remedy = _REMEDY_IN_STORE if book is case.stored else _REMEDY_IN_FILE
            yield Finding(book.place, f"{what}; {remedy}, or listen on 127.0.0.1 alone", refuses=True)
        elif _is_led_to(case):
            what = f"keys that everybody knows, and a proxy leads others here: {_named(keys)}"
            yield Finding(book.place, f"{what}; make your own with `relay key create`")


_REMEDY_IN_FILE = "remove them from it and make your own with `relay key create`"
_REMEDY_IN_STORE = (
    "apply a file without them (`relay directory apply`), or `relay key revoke` each; make your own with"
    " `relay key create`"
)


def _named(keys: list[ApiKey]) -> str:
    named = [f"account {key.account}: {key.label}" for key in keys[:_MOST_NAMED]]
    more = len(keys) - len(named)
    return ", ".join(named) + (f" and {more} more" if more else "")


def _is_led_to(case: Case) -> bool:
    """Whether a proxy on this machine stands between others and the listeners."""
    config = case.config
    host = host_of_url(config.http.public_url)
    return bool(config.http.trusted_proxies or config.smtp.proxy_protocol or (host and not is_loopback(host)))


PUBLISHED: tuple[Judgment, ...] = (_open_to_all,)
