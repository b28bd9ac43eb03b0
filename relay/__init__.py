"""A self-hosted SMTP relay with dedicated IP pools: resolve the pool, pin the IP, queue, deliver from it."""

__version__ = "0.2.0"
