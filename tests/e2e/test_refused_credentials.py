"""What the log says of refused credentials, read by fail2ban with the filter of docs/operations.md."""

import asyncio
import base64
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from relay.sink.fake_mta import FakeMta
from relay.testing.process import RelayProcess
from relay.testing.wire import connect_wire

OPERATIONS = Path(__file__).parent.parent.parent / "docs" / "operations.md"
PROXY = "127.0.0.2"
FORGED = "203.0.113.66"
LINE = f"2026-01-05T09:00:00.000Z WARNING refused client={FORGED} door=smtp reason=key"
NAMES = [
    "SMTP_Injection",
    f"x\n{LINE}",
    f"x\r\n{LINE}\r\n",
    f"from {FORGED}",
    f'" client={FORGED} door=smtp',
    f'", "level": "warning", "logger": "relay.refused", "message": "client={FORGED} door=smtp "}}',
    f"\u2028{LINE}\x85{LINE}\0",
    "'" * 3000,
]
"""User names, and whatever else a client may say. In each the address of somebody else, or too much."""
SECRET = "geheim-0123456789"


def _filter(folder: Path) -> Path:
    (found,) = re.findall(r"```ini\n(\[Definition\]\n.*?)```", OPERATIONS.read_text(), re.DOTALL)
    path = folder / "relay.conf"
    path.write_text(found)
    return path


async def _matched(program: str, log: Path, conf: Path) -> Counter[str]:
    """How many lines fail2ban counts for each address."""
    child = await asyncio.create_subprocess_exec(
        program, "-o", "ip", str(log), str(conf), stdout=asyncio.subprocess.PIPE
    )
    out, _ = await asyncio.wait_for(child.communicate(), 60)  # noqa: TID251 - a child process
    assert child.returncode in (0, None)
    return Counter(out.decode().split())


async def _guess_by_smtp(running: RelayProcess, name: str, proxied: str) -> None:
    async with connect_wire((running.host, running.port), PROXY) as wire:
        await wire.write(f"PROXY TCP4 {proxied} 127.0.0.1 4000 25\r\n".encode())
        assert (await wire.reply())[:3] == "220"
        # The name of EHLO may hold anything too.
        await wire.ask(b"EHLO client=" + FORGED.encode())
        shown = base64.b64encode(f"\0{name.replace(chr(0), '')}\0{SECRET}".encode())
        assert (await wire.ask(b"AUTH PLAIN " + shown))[:3] == "535"
        await wire.send(f"client={FORGED} door=smtp".encode())


@pytest.mark.parametrize("style", ["text", "json"])
async def test_fail2ban_counts_each_refusal_for_the_client_and_none_for_anybody_else(
    tmp_path: Path, mta: FakeMta, program: Callable[[str], str], style: str
) -> None:
    settings: dict[str, dict[str, object]] = {
        "": {"roles": ["smtp", "api", "web", "egress"]},
        "smtp": {"proxy_protocol": [f"{PROXY}/32"]},
        "http": {"trusted_proxies": ["127.0.0.1/32"]},
        "log": {"format": style},
    }
    async with RelayProcess(tmp_path, mta.address, settings=settings) as running:
        for name in NAMES:
            await _guess_by_smtp(running, name, "192.0.2.7")
        host, port = running.http_address
        url = f"http://{host}:{port}"
        async with httpx.AsyncClient(base_url=url) as client:
            for name in NAMES:
                behind = {"X-Forwarded-For": f"{FORGED}, 192.0.2.8"}
                shown = base64.b64encode(f"{name}:".encode()).decode()
                headers = {**behind, "Authorization": f"Basic {shown}"}
                answer = await client.get("/api/v1/ip-pools", headers=headers)
                assert answer.status_code == 401
                asked = await client.get(f"/sign-in?next=/{FORGED}")
                (csrf,) = re.findall(r'name="csrf" value="([^"]+)"', asked.text)
                form = {"csrf": csrf, "name": name, "password": SECRET}
                behind = {"X-Forwarded-For": "nonsense, 2001:db8::9", "User-Agent": LINE}
                answer = await client.post("/sign-in", data=form, headers=behind)
                assert answer.status_code in (403, 422, 429), answer.text
            assert (await client.get("/api/v1/ip-pools")).status_code == 401, "no credential, no guess"
    log, conf, fail2ban = running.log.read_text(), _filter(tmp_path), program("fail2ban-regex")
    expected = {"192.0.2.7": len(NAMES), "192.0.2.8": len(NAMES), "2001:db8::9": len(NAMES)}
    assert await _matched(fail2ban, running.log, conf) == expected
    journal = tmp_path / "journal"
    journal.write_text("".join(f"host.example relay[7]: {line}\n" for line in log.splitlines()))
    assert await _matched(fail2ban, journal, conf) == expected
    assert SECRET not in log
    assert FORGED not in log
