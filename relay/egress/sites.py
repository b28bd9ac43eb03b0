"""Where the mail of a domain goes next: its route, and by MX what DNS says, as long as that holds."""

import asyncio
import math
from collections.abc import Sequence

from relay.domain.reply import Reply
from relay.domain.route import MxRoute, Route, SmarthostRoute, ends_in_sink, route_for
from relay.domain.site import SINK, Site, mx_site, smarthost_site
from relay.ports.directory import Directory
from relay.ports.outbound import MxResolver

_MOST = 50_000
_AT_ONCE = 50


class Sites:
    """The sites of recipient domains, for all lanes of a process."""

    def __init__(self, directory: Directory, resolver: MxResolver, sinks: Sequence[str]) -> None:
        """sinks: domains whose mail, and that of all below them, goes nowhere."""
        self._directory, self._resolver, self._sinks = directory, resolver, sinks
        self._routes: tuple[Route, ...] = ()
        self._known: dict[str, tuple[Site, float]] = {}
        self._lookups = asyncio.Semaphore(_AT_ONCE)
        self._clock = asyncio.get_running_loop().time

    def known(self, domain: str) -> Site | None:
        """Without waiting: the site, when no question must be asked."""
        self._follow_routes()
        entry = self._known.get(domain)
        if entry is not None and entry[1] > self._clock():
            return entry[0]
        if ends_in_sink(self._sinks, domain):
            return self._remember(domain, SINK, math.inf)
        target = route_for(self._routes, domain)
        if isinstance(target, SmarthostRoute):
            return self._remember(domain, smarthost_site(target), math.inf)
        return None

    async def find(self, domain: str) -> Site | Reply:
        """The site, or why there is none. A domain that no route covers goes by its MX."""
        site = self.known(domain)
        if site is not None:
            return site
        target = route_for(self._routes, domain)
        route = target if isinstance(target, MxRoute) else MxRoute()
        async with self._lookups:
            mx = await self._resolver.mx(domain)
        if mx.failure is not None:
            return mx.failure
        return self._remember(domain, mx_site(route, mx.hosts), mx.lasts_s)

    def _follow_routes(self) -> None:
        """Forget everything when the directory's routes are others than before."""
        routes = self._directory.snapshot.routes
        if routes is not self._routes:
            if routes != self._routes:
                self._known.clear()
            self._routes = routes

    def _remember(self, domain: str, site: Site, lasts_s: float) -> Site:
        if len(self._known) >= _MOST:
            self._known.clear()
        self._known[domain] = (site, self._clock() + lasts_s)
        return site
