"""An account with three IPs in its default pool, in a store of its own, and mail for its doors."""

from tests.service.test_transmit import world

__all__ = ["world"]
