"""`relay check`: what is wrong, what probably is, and the good neighbour of each that is neither."""

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path

import pytest

from relay.process.judgments.published import PUBLISHED_KEYS
from relay.process.judgments.settings import cores
from relay.testing.lab import LAB, write_files
from relay.testing.process import Printed
from tests.cli.conftest import Cli

Settings = Mapping[str, Mapping[str, object]]

ROOT = Path(__file__).parents[2]
OWN_KEY = "b100000000000000000000000000000000000001"
LAB_KEY = "a100000000000000000000000000000000000001"

IP = (
    '[[sending_ip]]\naddress = "127.0.0.11"\nhostname = "mta11.relay.test"\naccount = 1\npool = "marketing"\n'
)
ACCOUNT = '[[account]]\nid = 1\nname = "Acme"\nplan = "self_serve"\n[[account.pool]]\nname = "Marketing"\n'
KEY = f'[[account.api_key]]\nlabel = "lab"\nkey = "{OWN_KEY}"\ngrants = ["smtp/inject"]\n'
PART = '[[account.subaccount]]\nid = 7\nname = "Joe"\nip_pool = "marketing"\n'
ALL = '[[route]]\ndomains = ["*"]\nsmarthost = "127.0.0.1:2526"\n'
SHARED = '[[sending_ip]]\naddress = "127.0.0.91"\nhostname = "mta91.relay.test"\nshared = true\n'
CLEAN = SHARED + IP + ACCOUNT + KEY + PART + ALL

OPEN = {"hostname": "mail.acme.org"}
"""For listeners that others may reach."""
HTTP = ["smtp", "api", "egress"]


def route(domains: str, target: str = 'smarthost = "127.0.0.1:2526"') -> str:
    return f"[[route]]\ndomains = {domains}\n{target}\n"


def judged(cli: Cli, settings: Settings, directory: str = CLEAN, *more: str) -> Printed:
    """What check says of those settings and that directory file."""
    text = {"smtp": {"auth_without_tls": False, **settings.get("smtp", {})}}
    cli.config = write_files(
        cli.folder, directory, "127.0.0.1:2526", "127.0.0.1:2525", {**settings, **text}, "127.0.0.1:8025"
    )
    return cli("check", *more)


def told(cli: Cli, printed: Printed) -> list[str]:
    """Its lines, with shorter names of the files."""
    text = printed.err.replace(f"{cli.folder}/", "")
    return text.splitlines()


def smtp(**settings: object) -> Settings:
    return {"": OPEN, "smtp": settings}


def http(listen: str, **settings: object) -> Settings:
    return {"": {**OPEN, "roles": HTTP}, "http": {"listen": listen, **settings}}


CLEAR = (
    "http.listen: 0.0.0.0:8025 answers others in clear text, keys and passwords too:"
    " name http.certificate and http.key, or http.public_url where a proxy speaks TLS"
)
PORT_465 = (
    "port 465 speaks TLS from the first octet, which this relay does not do, so that its mail waits;"
    ' use port 587 with tls = "required", which is STARTTLS'
)
NUMBERED = 'address = "127.0.0.11"\nhostname = "8.8.4.4"'
DOMAIN = '[[account.sending_domain]]\ndomain = "acme.test"\n'
SIXTEEN = [f"{first}.0.0.0/8" for first in range(11, 75, 2)][:16]
EMPTY = (
    "and it has no sending IP that takes mail: mail that names it is refused, and scheduled mail leaves from"
    " the default pool; give it one (sending_ip.pool)"
)
LOOP = "bounces as a loop; expected another host or port"


@pytest.mark.parametrize(
    ("settings", "directory", "line"),
    [
        # ── bindings ─────────────────────────────────────────────────────────────────────
        pytest.param(
            {},
            CLEAN.replace('ip_pool = "marketing"', 'ip_pool = "marketting"'),
            'directory.toml: account[1].subaccount[7].ip_pool: "marketting": all its mail is refused;'
            " expected a pool of the account: default, marketing",
            id="a pool that is not there",
        ),
        pytest.param(
            {},
            CLEAN.replace('ip_pool = "marketing"', 'ip_pool = "quiet"').replace(
                PART.replace("marketing", "quiet"),
                '[[account.pool]]\nname = "Quiet"\n' + PART.replace("marketing", "quiet"),
            ),
            'directory.toml: account[1].subaccount[7].ip_pool: "quiet" has no sending IP: all its mail is'
            " refused; give the pool one (sending_ip.pool)",
            id="a pool without an IP",
        ),
        pytest.param(
            {},
            CLEAN.replace(PART, '[[account.pool]]\nname = "Quiet"\n' + PART).replace(
                'name = "Marketing"\n', 'name = "Marketing"\nauto_warmup_overflow_pool = "quiet"\n'
            ),
            f"directory.toml: account[1].pool[Quiet]: another pool overflows into it, {EMPTY}",
            id="a pool that others overflow into, without an IP",
        ),
        # ── sending IPs ──────────────────────────────────────────────────────────────────
        pytest.param(
            {},
            IP.replace("127.0.0.11", "192.0.2.1") + CLEAN,
            "directory.toml: sending_ip: not on this machine (n1): 192.0.2.1; their mail waits until each is:"
            " ip address add 192.0.2.1/32 dev DEVICE",
            id="an IP that is not here",
        ),
        pytest.param(
            {},
            CLEAN.replace(SHARED, ""),
            "directory.toml: sending_ip: mail of account 1 that names no pool is refused for now (451, 503):"
            " no IP in the default pool, no shared one either; expected a sending_ip with shared = true, or"
            ' with pool = "default"',
            id="no shared IP where one is needed",
        ),
        pytest.param(
            {},
            CLEAN.replace("self_serve", "enterprise"),
            "directory.toml: account[1]: no IP in the default pool: mail that names no pool is refused,"
            ' bounces of others\' too; expected a sending_ip with pool = "default"',
            id="Enterprise without an IP in the default pool",
        ),
        pytest.param(
            {},
            CLEAN.replace('hostname = "mta', 'node = "n2"\nhostname = "mta'),
            "directory.toml: none of the sending IPs is for this node, n1: all mail waits;"
            " see node in relay.toml",
            id="all IPs of other nodes",
        ),
        pytest.param(
            {},
            IP.replace('"127.0.0.11"', '"127.0.0.12"\nbind = "127.0.0.11"') + CLEAN,
            "directory.toml: sending_ip[127.0.0.11].bind: 127.0.0.11 is that of sending_ip[127.0.0.12] too:"
            " others see one address for both",
            id="two IPs by one address",
        ),
        pytest.param(
            {},
            IP.replace('"127.0.0.11"', '"127.0.0.12"\nbind = "127.0.0.11"\nnode = "n1"') + CLEAN,
            "directory.toml: sending_ip[127.0.0.11].bind: 127.0.0.11 is that of sending_ip[127.0.0.12] too:"
            " others see one address for both",
            id="one of this node, one of all",
        ),
        pytest.param(
            {},
            CLEAN.replace('address = "127.0.0.11"\nhostname = "mta11.relay.test"', NUMBERED),
            'directory.toml: sending_ip[127.0.0.11].hostname: "8.8.4.4" is no name of the internet: many'
            " receivers refuse such an EHLO; expected the name that its reverse DNS gives",
            id="an address for a name",
        ),
        pytest.param(
            {},
            CLEAN.replace('address = "127.0.0.11"', 'address = "8.8.4.4"\nbind = "127.0.0.11"'),
            'directory.toml: sending_ip[8.8.4.4].hostname: "mta11.relay.test" is no name of the internet:'
            " many receivers refuse such an EHLO; expected the name that its reverse DNS gives",
            id="a public IP with a lab's name",
        ),
        # ── routes ───────────────────────────────────────────────────────────────────────
        pytest.param(
            {},
            CLEAN.replace('domains = ["*"]', 'domains = ["a.example"]'),
            "directory.toml: route: no route for all other domains: their mail goes to their MX hosts;"
            ' expected one for "*"',
            id="no catch-all",
        ),
        pytest.param(
            {},
            CLEAN + route('["a.example"]'),
            'directory.toml: route[#2].domains: "a.example" is never used: "*" of route[#1] comes first;'
            " put the narrower one before it",
            id="catch-all first",
        ),
        pytest.param(
            {},
            CLEAN.replace(ALL, route('["*.a.example", "b.a.example"]') + ALL),
            'directory.toml: route[#1].domains: "b.a.example" is never used: "*.a.example" of itself comes'
            " first; put the narrower one before it",
            id="within the same route",
        ),
        pytest.param(
            {},
            CLEAN.replace(ALL, route('["*.a.example"]') + route('["*.b.a.example"]') + ALL),
            'directory.toml: route[#2].domains: "*.b.a.example" is never used: "*.a.example" of route[#1]'
            " comes first; put the narrower one before it",
            id="a subdomain's subdomains",
        ),
        pytest.param(
            {},
            CLEAN.replace("127.0.0.1:2526", "127.0.0.1:2525"),
            f"directory.toml: route[#1].smarthost: 127.0.0.1:2525 is this relay itself: its mail {LOOP}",
            id="a smarthost that is this relay",
        ),
        pytest.param(
            {},
            CLEAN.replace("127.0.0.1:2526", "localhost:2525"),
            f"directory.toml: route[#1].smarthost: localhost:2525 is this relay itself: its mail {LOOP}",
            id="by name",
        ),
        pytest.param(
            {},
            route('["*"]', 'smarthost = "relay.test:2525"'),
            f"directory.toml: route[#1].smarthost: relay.test:2525 is this relay itself: its mail {LOOP}",
            id="by its hostname",
        ),
        pytest.param(
            {},
            CLEAN.replace('smarthost = "127.0.0.1:2526"', "mx = true"),
            "directory.toml: sending_ip: 127.0.0.91, 127.0.0.11: nothing leaves this machine from a loopback"
            " address, and a route leads to others",
            id="loopback IPs to the internet",
        ),
        pytest.param(
            {},
            CLEAN.replace(ALL, route('["x.sink.sparkpostmail.com", "*.sink.sparkpostmail.com"]') + ALL),
            [
                f'directory.toml: route[#1].domains: "{name}" is never used: sink.domains takes that mail'
                " first, and nothing leaves; remove it here or there"
                for name in ("x.sink.sparkpostmail.com", "*.sink.sparkpostmail.com")
            ],
            id="routes of the sink",
        ),
        pytest.param(
            {"sink": {"domains": ["tests.example.org"]}},
            CLEAN.replace(ALL, route('["tests.example.org"]') + ALL),
            'directory.toml: route[#1].domains: "tests.example.org" is never used: sink.domains takes that'
            " mail first, and nothing leaves; remove it here or there",
            id="a route of another sink",
        ),
        pytest.param(
            {},
            CLEAN.replace("127.0.0.1:2526", "127.0.0.1:465"),
            f"directory.toml: route[#1].smarthost: {PORT_465}",
            id="TLS from the first octet",
        ),
        pytest.param(
            {},
            CLEAN.replace(IP, "")
            .replace(SHARED, "")
            .replace(ALL, route('["a.example"]', "mx = true\nport = 465") + ALL)
            .replace('ip_pool = "marketing"\n', ""),
            [
                "directory.toml: sending_ip: mail of account 1 that names no pool is refused for now (451,"
                " 503): no IP in the default pool, no shared one either; expected a sending_ip with shared ="
                ' true, or with pool = "default"',
                f"directory.toml: route[#1].port: {PORT_465}",
            ],
            id="TLS from the first octet by MX",
        ),
        pytest.param(
            {},
            CLEAN + 'ehlo_ignore = ["PIPELININ", "SIZE", "XCLIENT"]\n',
            'directory.toml: route[#1].ehlo_ignore: "PIPELININ" is no keyword that servers are known to'
            " offer; did you mean PIPELINING?",
            id="an unknown keyword",
        ),
        pytest.param(
            {},
            CLEAN + "allow_private = true\n",
            "directory.toml: route[#1].allow_private: has no effect beside a smarthost, which may be private"
            " anyway: leave it out",
            id="allowed anyway",
        ),
        pytest.param(
            {},
            CLEAN + 'ehlo_ignore = ["starttls"]\ntls = "required"\n',
            'directory.toml: route[#1].ehlo_ignore: "STARTTLS" is ignored and TLS is required: all its mail'
            " waits",
            id="TLS required and ignored",
        ),
        # ── senders ──────────────────────────────────────────────────────────────────────
        pytest.param(
            {},
            CLEAN.replace("[[account.pool]]", "require_sending_domain = true\n[[account.pool]]"),
            "directory.toml: account[1].require_sending_domain: true, and it has no sending domain: all its"
            " mail is refused; list one ([[account.sending_domain]]), or set it to false",
            id="no domain where one is needed",
        ),
        pytest.param(
            {},
            CLEAN.replace(ALL, f"{DOMAIN}subaccount = 7\n{ALL}"),
            "directory.toml: account[1].require_sending_domain: true, and its sending domains are subaccount"
            " 7's alone: all other mail of it is refused; list one ([[account.sending_domain]]), or set it to"
            " false",
            id="a domain of a subaccount alone",
        ),
        pytest.param(
            {},
            CLEAN.replace(ALL, DOMAIN + ALL),
            "directory.toml: account[1]: mail of subaccount 7 is refused: no sending domain that it may use;"
            " expected shared_with_subaccounts = true, or one of its own",
            id="a domain that is not shared",
        ),
        pytest.param(
            {},
            CLEAN.replace('["smtp/inject"]', "[]"),
            "directory.toml: account[1].api_key[lab].grants: the key may do nothing: expected grants, such as"
            ' "smtp/inject"',
            id="a key for nothing",
        ),
        # ── keys ─────────────────────────────────────────────────────────────────────────
        pytest.param(
            {},
            CLEAN.replace('"smtp/inject"]', '"smtp/inject"]\nvalid_ips = ["0.0.0.0/0"]'),
            "directory.toml: account[1].api_key[lab].valid_ips: 0.0.0.0/0: that is everybody: leave valid_ips"
            " out, or name networks of your own",
            id="valid_ips of everybody",
        ),
        pytest.param(
            {},
            CLEAN.replace('"smtp/inject"]', '"smtp/inject"]\nvalid_ips = ["0.0.0.0/1", "128.0.0.0/1"]'),
            "directory.toml: account[1].api_key[lab].valid_ips: 0.0.0.0/1, 128.0.0.0/1: that is everybody:"
            " leave valid_ips out, or name networks of your own",
            id="valid_ips of everybody in halves",
        ),
        pytest.param(
            {},
            CLEAN.replace('"smtp/inject"]', '"smtp/inject"]\nvalid_ips = ["0.0.0.0/2", "128.0.0.0/2"]'),
            "directory.toml: account[1].api_key[lab].valid_ips: 0.0.0.0/2, 128.0.0.0/2: that is half of the"
            " internet, or more: leave valid_ips out, or name networks of your own",
            id="valid_ips of half of them",
        ),
        pytest.param(
            {},
            CLEAN.replace('"smtp/inject"]', '"smtp/inject"]\nvalid_ips = ["224.0.0.0/4"]'),
            "directory.toml: account[1].api_key[lab].valid_ips: 224.0.0.0/4: no client comes from there",
            id="valid_ips of nobody",
        ),
        pytest.param(
            {},
            CLEAN.replace('"smtp/inject"]', '"smtp/inject"]\nvalid_ips = ["::ffff:10.0.0.1"]'),
            "directory.toml: account[1].api_key[lab].valid_ips: ::ffff:a00:1: clients by IPv4 are known by"
            " their IPv4 addresses: expected such a network",
            id="valid_ips that are mapped",
        ),
        pytest.param(
            {"": {**OPEN, "roles": HTTP}, "http": {"public_url": "https://relay.acme.org"}},
            CLEAN.replace(OWN_KEY, LAB_KEY),
            "directory.toml: keys that everybody knows, and a proxy leads others here: account 1: lab;"
            " make your own with `relay key create`",
            id="a published key behind a proxy",
        ),
        # ── settings ─────────────────────────────────────────────────────────────────────
        pytest.param(
            {"queue": {"first_retry": "5d"}},
            CLEAN,
            "relay.toml: queue.first_retry: 5d, but mail is given up after queue.expire_after, 3d:"
            " nothing is tried twice",
            id="first_retry past the expiry",
        ),
        pytest.param(
            {"queue": {"max_retry_gap": "1m"}},
            CLEAN,
            "relay.toml: queue.max_retry_gap: 1m is shorter than queue.first_retry, 20m, which never holds",
            id="a longest gap below the first",
        ),
        pytest.param(
            {"queue": {"max_retry_gap": "4d"}},
            CLEAN,
            "relay.toml: queue.max_retry_gap: 4d is not within queue.expire_after, 3d: it never holds",
            id="a longest gap past the expiry",
        ),
        pytest.param(
            {"queue": {"hold_expire_after": "36h"}},
            CLEAN,
            "relay.toml: queue.hold_expire_after: 36h: mail that is held is given up sooner than mail that"
            " waits, queue.expire_after, 3d",
            id="a hold shorter than a wait",
        ),
        pytest.param(
            {"": {"workers": 64}, "smtp": {"max_message_bytes": 100_000}},
            CLEAN,
            f'relay.toml: workers: 64 on {cores()} cores: expected at most so many, or "auto"',
            id="more workers than cores",
        ),
        pytest.param(
            {"smtp": {"max_connections_per_client": 1001}},
            CLEAN,
            "relay.toml: smtp.max_connections_per_client: 1001 is more than smtp.max_connections, 1000:"
            " one client may take them all",
            id="a client's share of all",
        ),
        pytest.param(
            {"limits": {"account_queue_bytes": 1_000_000}},
            CLEAN,
            "relay.toml: limits.account_queue_bytes: 1000000 is less than one message of"
            " smtp.max_message_bytes, 20971520: large ones are refused for ever",
            id="a queue for less than a message",
        ),
        pytest.param(
            {"smtp": {"max_message_bytes": 1000}},
            CLEAN,
            "relay.toml: smtp.max_message_bytes: 1000: ordinary mail is larger; expected at least 65536",
            id="messages of nothing",
        ),
        pytest.param(
            {"smtp": {"idle_timeout_s": 0.001}},
            CLEAN,
            "relay.toml: smtp.idle_timeout_s: 0.001: clients that think for a moment are cut off, amid a"
            " message too; expected at least 5",
            id="no time to think",
        ),
        pytest.param(
            {"queue": {"first_retry": "1ms"}, "limits": {"connect_timeout_s": 0.001}},
            CLEAN,
            [
                "relay.toml: queue.first_retry: 1ms: hosts that are in trouble are asked so often that they"
                " refuse us; expected some minutes",
                "relay.toml: limits.connect_timeout_s: 0.001: hosts that are far away never answer so soon;"
                " expected some seconds",
            ],
            id="in haste",
        ),
        pytest.param(
            {"queue": {"max_retry_gap": "1ms"}},
            CLEAN,
            [
                "relay.toml: queue.max_retry_gap: 1ms is shorter than queue.first_retry, 20m, which never"
                " holds",
                "relay.toml: queue.max_retry_gap: 1ms: hosts that are in trouble are asked so often that they"
                " refuse us; expected some minutes",
            ],
            id="always in haste",
        ),
        pytest.param(
            {"queue": {"first_retry": "30s"}},
            CLEAN,
            "relay.toml: limits.connect_timeout_s: 60 is more than queue.first_retry, 30s: the next attempt"
            " is due before one has given up",
            id="again before it has given up",
        ),
        pytest.param(
            {"sink": {"domains": ["com"]}},
            CLEAN,
            'relay.toml: sink.domains: "com": mail to every domain below .com is swallowed, and counts as'
            " delivered; expected a domain of tests, such as sink.example.com",
            id="a sink for the world",
        ),
        # ── listeners ────────────────────────────────────────────────────────────────────
        pytest.param(
            {"smtp": {"listen": ["0.0.0.0:2527"]}},
            CLEAN,
            'relay.toml: hostname: "relay.test" is no name of the internet, and smtp.listen 0.0.0.0:2527 is'
            ' open to others: expected this machine\'s own, such as "mail.example.com"',
            id="a lab's name for others",
        ),
        pytest.param(
            smtp(listen=["0.0.0.0:2527"], auth_without_tls=True),
            CLEAN,
            "relay.toml: smtp.auth_without_tls: true lets keys cross the network in clear text, to"
            " smtp.listen 0.0.0.0:2527: leave it out",
            id="keys in clear by SMTP",
        ),
        pytest.param(http("0.0.0.0:8025"), CLEAN, f"relay.toml: {CLEAR}", id="keys in clear by HTTP"),
        pytest.param(
            http("0.0.0.0:8025", public_url="https://localhost:8443"),
            CLEAN,
            f"relay.toml: {CLEAR}",
            id="a proxy for nobody else",
        ),
        pytest.param(
            http("127.0.0.1:8025", public_url="http://relay.example.com"),
            CLEAN,
            "relay.toml: http.public_url: http://relay.example.com: keys and passwords cross the network to"
            " relay.example.com in clear text; expected https:// and TLS there",
            id="a proxy in clear text",
        ),
        pytest.param(
            {"": {"hostname": "8.8.4.4"}},
            CLEAN,
            'relay.toml: hostname: "8.8.4.4" is no name: expected this machine\'s own, such as'
            ' "mail.example.com"',
            id="an address for a hostname",
        ),
        # ── networks ─────────────────────────────────────────────────────────────────────
        pytest.param(
            {"": OPEN, "http": {"trusted_proxies": ["0.0.0.0/0"]}},
            CLEAN,
            "relay.toml: http.trusted_proxies[#1]: 0.0.0.0/0: whoever can connect names its own address;"
            " name the proxies alone",
            id="everybody is a proxy",
        ),
        pytest.param(
            {"": OPEN, "http": {"trusted_proxies": ["0.0.0.0/1", "128.0.0.0/1"]}},
            CLEAN,
            [
                f"relay.toml: http.trusted_proxies[#{at}]: {network}: whoever can connect names its own"
                " address; name the proxies alone"
                for at, network in ((1, "0.0.0.0/1"), (2, "128.0.0.0/1"))
            ],
            id="everybody in two halves",
        ),
        pytest.param(
            {"": OPEN, "http": {"trusted_proxies": SIXTEEN}},
            CLEAN,
            f"relay.toml: http.trusted_proxies: {', '.join(SIXTEEN[:10])} and 6 more together: whoever can"
            " connect names its own address; name the proxies alone",
            id="a good part in small pieces",
        ),
        pytest.param(
            {
                "": {**OPEN, "roles": HTTP},
                "http": {
                    "listen": "0.0.0.0:8025",
                    "trusted_proxies": ["8.0.0.0/8"],
                    "public_url": "https://relay.acme.org",
                },
            },
            CLEAN,
            "relay.toml: http.trusted_proxies[#1]: 8.0.0.0/8: who connects from all these addresses of the"
            " internet names its own; name the proxies alone",
            id="many proxies",
        ),
    ],
)
def test_what_is_probably_wrong_is_a_warning(
    cli: Cli, settings: Settings, directory: str, line: str | list[str]
) -> None:
    printed = judged(cli, settings, directory)
    lines = [line] if isinstance(line, str) else line
    assert (printed.status, told(cli, printed)) == (0, [f"warning: {line}" for line in lines])
    assert cli("check", "--strict").status == 1


@pytest.mark.parametrize(
    ("settings", "directory"),
    [
        pytest.param({}, CLEAN, id="as it should be"),
        pytest.param({}, CLEAN.replace('ip_pool = "marketing"', 'ip_pool = "Marketing"'), id="another case"),
        pytest.param(
            {}, CLEAN.replace('ip_pool = "marketing"', 'ip_pool = "default"'), id="the default pool"
        ),
        pytest.param(
            {},
            CLEAN.replace(PART, '[[account.pool]]\nname = "Quiet"\n' + PART),
            id="a pool without an IP that nothing names",
        ),
        pytest.param(
            {},
            IP.replace("127.0.0.11", "192.0.2.1").replace("account = 1", 'node = "n2"\naccount = 1') + CLEAN,
            id="an IP of another node",
        ),
        pytest.param(
            {},
            CLEAN.replace(ALL, route('["b.a.example", "*.a.example", "a.example"]') + ALL),
            id="narrow before wide",
        ),
        pytest.param(
            {},
            CLEAN.replace('"smtp/inject"]', '"smtp/inject"]\nvalid_ips = ["10.0.0.0/8", "::1"]'),
            id="valid_ips",
        ),
        pytest.param({}, CLEAN.replace(OWN_KEY, LAB_KEY), id="a published key on loopback"),
        pytest.param({"": {"roles": HTTP}}, CLEAN.replace(OWN_KEY, LAB_KEY), id="with HTTP on loopback"),
        pytest.param(
            {"": {"roles": ["egress"]}, "smtp": {"listen": ["0.0.0.0:2525"]}},
            CLEAN.replace(OWN_KEY, LAB_KEY),
            id="a listener of a role that does not run",
        ),
        pytest.param(
            {"queue": {"first_retry": "1h", "max_retry_gap": "1h", "hold_expire_after": "3d"}},
            CLEAN,
            id="durations that fit",
        ),
        pytest.param({"sink": {"domains": ["test", "sink.example.org"]}}, CLEAN, id="sinks of one's own"),
        pytest.param(
            {}, CLEAN.replace(ALL, f"{DOMAIN}shared_with_subaccounts = true\n{ALL}"), id="a domain for all"
        ),
        pytest.param(
            {},
            CLEAN.replace(ALL, f"{DOMAIN}{DOMAIN.replace('acme', 'joe')}subaccount = 7\n{ALL}"),
            id="a domain for each",
        ),
        pytest.param(
            {},
            IP.replace('"127.0.0.11"', '"127.0.0.12"\nbind = "127.0.0.11"\nnode = "n1"')
            + CLEAN.replace('pool = "marketing"', 'pool = "marketing"\nnode = "n2"', 1),
            id="one address on two machines",
        ),
        pytest.param(
            {},
            CLEAN.replace('"smtp/inject"]', "]\noperator = true"),
            id="an operator's key without grants",
        ),
        pytest.param(
            {}, CLEAN + 'ehlo_ignore = ["pipelining", "8BITMIME", "X-OWN"]\n', id="keywords that are known"
        ),
        pytest.param({"": {"workers": cores()}}, CLEAN, id="as many workers as cores"),
        pytest.param(smtp(listen=["0.0.0.0:2527"]), CLEAN, id="open, and right"),
        pytest.param(http("0.0.0.0:8025", public_url="https://relay.acme.org"), CLEAN, id="TLS by a proxy"),
        pytest.param(
            {"smtp": {"listen": ["127.0.0.1:2525", "127.0.0.2:2525", "[::1]:2525"]}},
            CLEAN,
            id="one port on three addresses",
        ),
        pytest.param(
            {
                "": {"roles": HTTP},
                "smtp": {"listen": ["127.0.0.1:2525"]},
                "http": {"listen": "127.0.0.2:2525"},
            },
            CLEAN,
            id="one port for both, elsewhere",
        ),
        pytest.param(
            {"": {"roles": ["smtp"]}, "http": {"listen": "127.0.0.1:2525"}},
            CLEAN,
            id="HTTP that does not run",
        ),
        pytest.param({"smtp": {"listen": ["127.0.0.1:0", "127.0.0.1:0"]}}, CLEAN, id="any free port, twice"),
    ],
)
def test_what_is_right_has_no_line(cli: Cli, settings: Settings, directory: str) -> None:
    printed = judged(cli, settings, directory, "--strict")
    assert (printed.status, told(cli, printed)) == (0, [])


LINK = "expected no link-local address (fe80::/10): it needs an interface, which cannot be named here"
REMEDY = "remove them from it and make your own with `relay key create`, or listen on 127.0.0.1 alone"


@pytest.mark.parametrize(
    ("settings", "line"),
    [
        pytest.param(
            {"": {"store": "postgresql://joe:secret@db/relay"}},
            'relay.toml: store: "postgresql://joe:(not shown)@db/relay": expected "sqlite:///relative/path"'
            ' or "sqlite:////absolute/path": PostgreSQL is not supported yet',
            id="PostgreSQL",
        ),
        pytest.param(
            {"": {"store": "sqlite://var/relay.db"}},
            'relay.toml: store: "sqlite://var/relay.db": expected "sqlite:///relative/path" or'
            ' "sqlite:////absolute/path"',
            id="two slashes",
        ),
        pytest.param(
            {"": {"store": "sqlite:////proc/nosuch/relay.db"}},
            "relay.toml: store: /proc/nosuch cannot be made in /proc (No such file or directory):"
            " expected a folder that this user may write",
            id="a store in a folder that cannot be",
        ),
        pytest.param(
            {"": {"store": "sqlite:////tmp"}},
            "relay.toml: store: /tmp is a folder: expected a file in it, such as relay.db",
            id="a folder for a store",
        ),
        pytest.param(
            {"smtp": {"listen": ["127.0.0.1:2525", "127.0.0.1:2525"]}},
            "relay.toml: smtp.listen: 127.0.0.1:2525 is smtp.listen 127.0.0.1:2525 already: expected another"
            " port",
            id="a listener twice",
        ),
        pytest.param(
            {"smtp": {"listen_tls": ["127.0.0.1:2525"]}},
            "relay.toml: smtp.listen_tls: 127.0.0.1:2525 is smtp.listen 127.0.0.1:2525 already: expected"
            " another port",
            id="in clear and by TLS",
        ),
        pytest.param(
            {"": {"roles": HTTP}, "http": {"listen": "localhost:2525"}},
            "relay.toml: http.listen: localhost:2525 is within smtp.listen 127.0.0.1:2525, or the other way"
            " round: expected another port",
            id="HTTP where SMTP is",
        ),
        pytest.param(
            {
                "": {**OPEN, "roles": HTTP},
                "smtp": {"listen": ["0.0.0.0:2525"]},
                "http": {"listen": "127.0.0.1:2525"},
            },
            "relay.toml: http.listen: 127.0.0.1:2525 is within smtp.listen 0.0.0.0:2525, or the other way"
            " round: expected another port",
            id="HTTP within all addresses",
        ),
        pytest.param(
            {"smtp": {"listen": ["192.0.2.9:2525"]}, "": OPEN},
            "relay.toml: smtp.listen: 192.0.2.9:2525: 192.0.2.9 is not on this machine: expected an address"
            " of its own, or 0.0.0.0 for all of them",
            id="listening on an address of others",
        ),
        *(
            pytest.param({"": {"roles": HTTP}, section: {key: value}}, line, id=f"{line} link-local")
            for section, key, value, line in (
                (
                    "smtp",
                    "listen",
                    ["[fe80::1]:2525"],
                    f'relay.toml: smtp.listen[#1]: "[fe80::1]:2525": {LINK}',
                ),
                (
                    "smtp",
                    "listen_tls",
                    ["[fe80::1%lo]:2525"],
                    f'relay.toml: smtp.listen_tls[#1]: "[fe80::1%lo]:2525": {LINK}',
                ),
                ("http", "listen", "[febf::1]:1", f'relay.toml: http.listen: "[febf::1]:1": {LINK}'),
                (
                    "http",
                    "listen_tls",
                    ["[fe80::1]:1"],
                    f'relay.toml: http.listen_tls[#1]: "[fe80::1]:1": {LINK}',
                ),
            )
        ),
        pytest.param(
            {"smtp": {"listen": ["[ff02::1]:2525"]}},
            'relay.toml: smtp.listen[#1]: "[ff02::1]:2525": expected an IPv4 or IPv6 address of one host',
            id="listening on a group",
        ),
        pytest.param(
            {"smtp": {"listen": ["0.0.0.0:2525"], "proxy_protocol": ["0.0.0.0/0"]}, "": OPEN},
            "relay.toml: smtp.proxy_protocol[#1]: 0.0.0.0/0: whoever can connect names its own address;"
            " name the proxies alone",
            id="everybody says who he is",
        ),
    ],
)
def test_what_no_start_takes_ends_with_2_and_so_does_the_start(
    cli: Cli, settings: Settings, line: str
) -> None:
    printed = judged(cli, settings)
    assert (printed.status, told(cli, printed)) == (2, [line])
    started = cli("run")
    assert (started.status, told(cli, started)) == (2, [line])


@pytest.mark.parametrize(
    ("directory", "place"),
    [
        (CLEAN.replace("127.0.0.11", "fe80::1"), 'sending_ip[fe80::1].address: "fe80::1"'),
        (CLEAN.replace("127.0.0.11", "fe80::1%lo"), 'sending_ip[fe80::1%lo].address: "fe80::1%lo"'),
        (
            CLEAN.replace('"127.0.0.11"', '"2001:db8::1"\nbind = "fe80::1"'),
            'sending_ip[2001:db8::1].bind: "fe80::1"',
        ),
        (CLEAN.replace("127.0.0.1:2526", "[fe80::1]:2526"), 'route[#1].smarthost: "[fe80::1]:2526"'),
    ],
)
def test_a_link_local_address_is_refused_by_name(cli: Cli, directory: str, place: str) -> None:
    printed = judged(cli, {}, directory)
    line = f"directory.toml: {place}: {LINK}"
    assert (printed.status, told(cli, printed)) == (2, [line])
    started = cli("run")
    assert (started.status, told(cli, started)) == (2, [line])


# ── trusted networks ─────────────────────────────────────────────────────────────────────


def with_trusted(cli: Cli, listen: str, *entries: str) -> list[str]:
    """What check says of `smtp.trusted = [entries]`."""
    judged(cli, smtp(listen=[listen]))
    text = cli.config.read_text().replace("[smtp]\n", f"[smtp]\ntrusted = [{', '.join(entries)}]\n")
    cli.config.write_text(text)
    return told(cli, cli("check"))


@pytest.mark.parametrize(
    ("entry", "line"),
    [
        ("account = 9", "account 9, which directory.toml does not have: expected one of 1"),
        (
            "account = 1, subaccount = 8",
            "account 1, subaccount 8, which directory.toml does not have: expected one of 7",
        ),
        ("account = 1", ""),
        ("account = 1, subaccount = 7", ""),
    ],
)
def test_trusted_for_nobody_is_told(cli: Cli, entry: str, line: str) -> None:
    said = with_trusted(cli, "127.0.0.1:2525", f'{{ network = "10.0.0.0/8", {entry} }}')
    whole = f"warning: relay.toml: smtp.trusted[#1]: 10.0.0.0/8 is trusted for {line}"
    whole += "; its mail is refused: 550 5.7.1"
    assert said == ([whole] if line else [])


@pytest.mark.parametrize("network", ["0.0.0.0/0", "::/0", "128.0.0.0/1", "2000::/3"])
def test_an_open_relay_is_refused_where_others_reach_it(cli: Cli, network: str) -> None:
    entry = f'{{ network = "{network}", account = 1 }}'
    line = f"relay.toml: smtp.trusted[#1]: {network}: an open relay: whoever can connect sends as account 1"
    line += " without a key; name your own networks"
    assert with_trusted(cli, "0.0.0.0:2525", entry) == [line]
    assert cli("run").status == 2
    assert with_trusted(cli, "127.0.0.1:2525", entry) == [f"warning: {line}"]


@pytest.mark.parametrize(
    "network",
    ["10.0.0.0/8", "192.0.2.0/24", "fc00::/7", "127.0.0.0/8", "8.8.0.0/16", "2a00::/32", "198.18.0.0/15"],
)
def test_networks_of_ones_own_may_be_wide(cli: Cli, network: str) -> None:
    assert with_trusted(cli, "0.0.0.0:2525", f'{{ network = "{network}", account = 1 }}') == []


@pytest.mark.parametrize("network", ["8.0.0.0/8", "8.8.0.0/15", "2a00::/16", "2a00::/31"])
def test_many_addresses_of_the_internet_without_a_key_are_told(cli: Cli, network: str) -> None:
    entry = f'{{ network = "{network}", account = 1 }}'
    line = f"warning: relay.toml: smtp.trusted[#1]: {network}: all these addresses of the internet send as"
    line += " account 1 without a key; name your own networks alone"
    assert with_trusted(cli, "0.0.0.0:2525", entry) == [line]
    assert with_trusted(cli, "127.0.0.1:2525", entry) == []


def test_an_open_relay_in_pieces_is_one(cli: Cli) -> None:
    entries = [f'{{ network = "{first}.0.0.0/8", account = {1} }}' for first in (20, 21)]
    line = "relay.toml: smtp.trusted: 20.0.0.0/8, 21.0.0.0/8 together: an open relay: whoever can connect"
    line += " sends without a key; name your own networks"
    assert line in with_trusted(cli, "0.0.0.0:2525", *entries)
    assert cli("run").status == 2
    assert with_trusted(cli, "127.0.0.1:2525", *entries) == [f"warning: {line}"]


def test_a_trusted_network_within_an_earlier_one_is_told(cli: Cli) -> None:
    wide, narrow = (f'{{ network = "10.{net}", account = 1 }}' for net in ("0.0.0/8", "1.0.0/16"))
    assert with_trusted(cli, "127.0.0.1:2525", wide, narrow) == [
        "warning: relay.toml: smtp.trusted[#2]: 10.1.0.0/16 is within smtp.trusted[#1], 10.0.0.0/8,"
        " which comes first: this one is never used; put it before that"
    ]
    assert with_trusted(cli, "127.0.0.1:2525", narrow, wide) == []


# ── published keys ───────────────────────────────────────────────────────────────────────


def test_the_published_keys_are_those_of_the_files(cli: Cli) -> None:
    text = (ROOT / "config/directory.toml").read_text() + LAB
    listed = re.findall(r'^key = "(\w+)"$', text, re.MULTILINE)
    assert len(listed) >= 10
    assert {hashlib.sha256(key.encode()).hexdigest() for key in listed} == PUBLISHED_KEYS


@pytest.mark.parametrize(
    "name", ["README.md", *sorted(str(p.relative_to(ROOT)) for p in ROOT.glob("docs/**/*.md"))]
)
def test_no_document_tells_another_key_to_everybody(name: str) -> None:
    keys = re.findall(r"\b[0-9a-f]{40}\b", (ROOT / name).read_text(encoding="utf-8"))
    assert {hashlib.sha256(key.encode()).hexdigest() for key in keys} <= PUBLISHED_KEYS


@pytest.mark.parametrize("host", ["0.0.0.0", "0", "[::]", "mail.acme.org", "[::ffff:0.0.0.0]"])
@pytest.mark.parametrize("key", ["smtp.listen", "smtp.listen_tls", "http.listen"])
def test_a_published_key_and_a_listener_for_others_are_refused(cli: Cli, host: str, key: str) -> None:
    section, name = key.split(".")
    address = f"{host}:2588"
    values: dict[str, object] = {name: address if section == "http" else [address]}
    if section == "http":
        values["public_url"] = "https://a.acme.org"
    settings: Settings = {"": {**OPEN, "roles": HTTP}, section: values}
    printed = judged(cli, settings, CLEAN.replace(OWN_KEY, LAB_KEY))
    line = (
        f"directory.toml: keys that everybody knows, and listeners that others may reach ({key} {address}):"
    )
    assert (printed.status, told(cli, printed)) == (2, [f"{line} account 1: lab; {REMEDY}"])
    assert cli("run").status == 2
    applied = cli("directory", "apply", str(cli.directory))
    assert (applied.status, told(cli, applied)) == (2, [f"{line} account 1: lab; {REMEDY}"])
    assert not (cli.folder / "relay.db").exists()


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "127.9.9.9", "localhost", "LOCALHOST", "[::1]", "127.1", "[::ffff:127.0.0.1]"]
)
def test_listeners_on_this_machine_alone_may_have_them(cli: Cli, host: str) -> None:
    printed = judged(cli, smtp(listen=[f"{host}:2588"]), CLEAN.replace(OWN_KEY, LAB_KEY))
    assert (printed.status, told(cli, printed)) == (0, [])
    assert cli("directory", "apply", str(cli.directory)).status == 0


def test_the_environment_may_open_the_listener(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RELAY_SMTP__LISTEN", '["0.0.0.0:2588"]')
    printed = judged(cli, {"": OPEN}, CLEAN.replace(OWN_KEY, LAB_KEY))
    assert printed.status == 2
    assert cli("run").status == 2


def test_a_published_key_in_the_store_is_refused_whatever_the_file_says(cli: Cli) -> None:
    judged(cli, {"": OPEN}, CLEAN.replace(OWN_KEY, LAB_KEY))
    cli.ok("directory", "apply", str(cli.directory))
    printed = judged(cli, smtp(listen=["0.0.0.0:2588"]))
    remedy = "apply a file without them (`relay directory apply`), or `relay key revoke` each; make your own"
    remedy += " with `relay key create`, or listen on 127.0.0.1 alone"
    lines = [line for line in told(cli, printed) if not line.startswith("warning: ")]
    where = "the store: keys that everybody knows, and listeners that others may reach"
    where += " (smtp.listen 0.0.0.0:2588):"
    assert (printed.status, lines) == (2, [f"{where} account 1: lab; {remedy}"])
    assert cli("run").status == 2
    cli(
        "directory",
        "apply",
        str(cli.directory),
        *(["--yes"] if "--yes" in cli.bare("directory", "apply", "--help").out else []),
    )
    assert cli("check").status == 0


def test_a_folder_for_all_is_told_as_a_start_tells_it(cli: Cli) -> None:
    cli.folder.chmod(0o777)
    line = f"others on this machine can look into {cli.folder} (mode 0777): chmod 700 {cli.folder}"
    assert judged(cli, {}).err == f"warning: {cli.config}: store: {line}\n"
    cli.folder.chmod(0o1777)
    line = f"{cli.folder} (mode 1777): keep the store in a folder of its own, with mode 0700"
    assert line in judged(cli, {}).err
    cli.folder.chmod(0o700)
    assert judged(cli, {}).err == ""
