"""Settings that contradict one another, or the machine."""

import os
import resource
from collections.abc import Iterator
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

from relay.config.durations import duration_text
from relay.process.judgments.case import Case, Finding, Judgment

_CGROUP_LIMIT = Path("/sys/fs/cgroup/memory.max")
_SPARE_FILES = 100
"""What a process has open beside connections: store, log, its own listeners."""


_LEAST_MESSAGE = 65_536
"""Octets that every server takes (RFC 5321 §4.5.3.1.7)."""
_LEAST_GAP = timedelta(seconds=10)
_LEAST_IDLE_S = 5
_LEAST_CONNECT_S = 1


def _durations(case: Case) -> Iterator[Finding]:
    queue = case.config.queue
    first, expire = duration_text(queue.first_retry), duration_text(queue.expire_after)
    if queue.first_retry >= queue.expire_after:
        what = f"{first}, but mail is given up after queue.expire_after, {expire}: nothing is tried twice"
        yield case.found("queue.first_retry", what)
    if queue.max_retry_gap is not None and queue.max_retry_gap < queue.first_retry:
        what = f"{duration_text(queue.max_retry_gap)} is shorter than queue.first_retry, {first}"
        yield case.found("queue.max_retry_gap", f"{what}, which never holds")
    elif queue.max_retry_gap is not None and queue.max_retry_gap >= queue.expire_after:
        what = (
            f"{duration_text(queue.max_retry_gap)} is not within queue.expire_after, {expire}: it never holds"
        )
        yield case.found("queue.max_retry_gap", what)
    if queue.hold_expire_after < queue.expire_after:
        what = (
            f"{duration_text(queue.hold_expire_after)}: mail that is held is given up sooner than mail that"
        )
        yield case.found("queue.hold_expire_after", f"{what} waits, queue.expire_after, {expire}")


def _haste(case: Case) -> Iterator[Finding]:
    config, queue = case.config, case.config.queue
    for key, gap in (("first_retry", queue.first_retry), ("max_retry_gap", queue.max_retry_gap)):
        if gap is not None and gap < _LEAST_GAP:
            what = f"{duration_text(gap)}: hosts that are in trouble are asked so often that they refuse us"
            yield case.found(f"queue.{key}", f"{what}; expected some minutes")
    if config.smtp.idle_timeout_s < _LEAST_IDLE_S:
        what = (
            f"{config.smtp.idle_timeout_s:g}: clients that think for a moment are cut off, amid a message too"
        )
        yield case.found("smtp.idle_timeout_s", f"{what}; expected at least {_LEAST_IDLE_S}")
    if config.limits.connect_timeout_s < _LEAST_CONNECT_S:
        what = f"{config.limits.connect_timeout_s:g}: hosts that are far away never answer so soon"
        yield case.found("limits.connect_timeout_s", f"{what}; expected some seconds")
    if config.limits.connect_timeout_s > queue.first_retry.total_seconds():
        what = f"{config.limits.connect_timeout_s:g} is more than queue.first_retry"
        told = f"{what}, {duration_text(queue.first_retry)}: the next attempt is due before one has given up"
        yield case.found("limits.connect_timeout_s", told)


def _sizes(case: Case) -> Iterator[Finding]:
    smtp, workers = case.config.smtp, _workers(case)
    memory = memory_bytes()
    if smtp.body_budget_bytes > memory:
        what = f"{smtp.body_budget_bytes} is more than the memory of this machine, {memory}"
        yield case.found("smtp.body_budget_bytes", what)
    if smtp.body_budget_bytes // workers < smtp.max_message_bytes:
        what = f"{smtp.body_budget_bytes} for {workers} workers is less than one message for each"
        least = workers * smtp.max_message_bytes
        yield case.found("smtp.body_budget_bytes", f"{what}: expected at least {least}")
    if smtp.max_message_bytes < _LEAST_MESSAGE:
        what = f"{smtp.max_message_bytes}: ordinary mail is larger"
        yield case.found("smtp.max_message_bytes", f"{what}; expected at least {_LEAST_MESSAGE}")
    share = case.config.limits.account_queue_bytes
    if share is not None and share < smtp.max_message_bytes:
        what = f"{share} is less than one message of smtp.max_message_bytes, {smtp.max_message_bytes}"
        yield case.found("limits.account_queue_bytes", f"{what}: large ones are refused for ever")
    if smtp.max_connections_per_client > smtp.max_connections:
        what = f"{smtp.max_connections_per_client} is more than smtp.max_connections, {smtp.max_connections}"
        yield case.found("smtp.max_connections_per_client", f"{what}: one client may take them all")
    _, most_files = resource.getrlimit(resource.RLIMIT_NOFILE)
    if resource.RLIM_INFINITY != most_files < smtp.max_connections // workers + _SPARE_FILES:
        what = (
            f"{smtp.max_connections} connections need more open files than the {most_files} that are allowed"
        )
        yield case.found("smtp.max_connections", f"{what}: raise LimitNOFILE (ulimit -n)")


def _workers(case: Case) -> int:
    workers = case.config.workers
    return cores() if workers == "auto" else workers


def _more_workers_than_cores(case: Case) -> Iterator[Finding]:
    if _workers(case) > cores():
        yield case.found(
            "workers", f'{_workers(case)} on {cores()} cores: expected at most so many, or "auto"'
        )


def cores() -> int:
    return os.cpu_count() or 1


def memory_bytes() -> int:
    """Of the machine, or what its control group leaves us."""
    whole = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    with suppress(OSError, ValueError):
        return min(whole, int(_CGROUP_LIMIT.read_text()))
    return whole


SETTINGS: tuple[Judgment, ...] = (_durations, _haste, _sizes, _more_workers_than_cores)
