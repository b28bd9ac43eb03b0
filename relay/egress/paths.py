"""All paths of a lane: made when mail needs them, drained together, forgotten when nothing is there."""

import asyncio
from collections.abc import Callable, Iterator, Sequence

from relay.domain.site import Site
from relay.egress.path import Path
from relay.ports.queue import Claimed


class Paths:
    """By site; with the places on them that fresh mail was promised."""

    def __init__(self, make: Callable[[Site], Path]) -> None:
        self._make = make
        self._by_site: dict[Site, Path] = {}
        self._promised: dict[str, list[Path]] = {}
        self._changed = asyncio.Event()
        self.is_drained = False
        """Whether nothing new is to be taken in hand."""

    def __iter__(self) -> Iterator[Path]:
        return iter(self._by_site.values())

    def __getitem__(self, site: Site) -> Path:
        path = self._by_site.get(site)
        if path is None:
            path = self._by_site[site] = self._make(site)
            path.is_drained = self.is_drained
        return path

    def forget_unused(self) -> None:
        for site in [site for site, path in self._by_site.items() if path.is_unused]:
            del self._by_site[site]

    # ── promises ─────────────────────────────────────────────────────────────────────────

    def promise(self, domain: str, path: Path) -> None:
        """A place for mail of that domain, which is being accepted."""
        path.promise()
        self._promised.setdefault(domain, []).append(path)

    def keep(self, domain: str, mail: Sequence[Claimed]) -> None:
        """Use a promised place, or give it back."""
        paths = self._promised.get(domain)
        if not paths:
            return  # promised by an earlier holder of the lane: the mail is an orphan of its epoch
        paths.pop().keep(mail)
        if not paths:
            del self._promised[domain]

    # ── an end in good order ─────────────────────────────────────────────────────────────

    @property
    def in_hand(self) -> int:
        """Messages in memory, being sent, or promised a place."""
        return sum(path.in_hand for path in self)

    async def drain(self, patience_s: float) -> bool:
        """Take nothing more in hand and wait until nothing is.

        False, and all is as before, when that takes too long.
        """
        self._set_drained(True)
        try:
            async with asyncio.timeout(patience_s):
                while self.in_hand:
                    await self._change()
        except TimeoutError:
            self._set_drained(False)
            return False
        return True

    def close(self) -> None:
        """No more mail; conversations end with what they are carrying."""
        for path in self:
            path.close()

    async def left(self) -> None:
        """Wait, after close(), until the last conversation is over."""
        while not all(path.is_empty for path in self):
            await self._change()

    def tell_change(self) -> None:
        """Something went out of hand, or somebody left."""
        self._changed.set()

    async def _change(self) -> None:
        self._changed.clear()
        await self._changed.wait()

    def _set_drained(self, is_drained: bool) -> None:
        self.is_drained = is_drained
        for path in self:
            path.is_drained = is_drained
