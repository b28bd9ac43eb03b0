"""What the core asks of the world: Protocols only. `store` and `net` answer, `runtime` joins them."""
