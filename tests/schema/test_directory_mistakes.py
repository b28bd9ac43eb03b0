"""directory.toml: every mistake is told with file, key, value and what was expected, and all at once."""

from pathlib import Path

import pytest

from relay.config.problems import ConfigError
from relay.process.directory.file import load_directory

ACCOUNT = '[[account]]\nid = 1\nname = "Acme"\nplan = "self_serve"\n'
FREE = '[[account]]\nid = 1\nname = "Elm"\nplan = "free"\n'
ENTERPRISE = '[[account]]\nid = 1\nname = "Cedar"\nplan = "enterprise"\n'
POOL = '[[account.pool]]\nname = "News"\n'
KEY = f'[[account.api_key]]\nlabel = "k"\nkey = "{"a" * 40}"\ngrants = []\n'
SUBACCOUNT = '[[account.subaccount]]\nid = 7\nname = "Sub"\n'


def ip(address: str = "127.0.0.1", more: str = "") -> str:
    return f'[[sending_ip]]\naddress = "{address}"\nhostname = "mta.example"\n{more}\n'


def problems_of(folder: Path, text: str) -> tuple[str, ...]:
    file = folder / "directory.toml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        load_directory(file)
    return caught.value.problems


FOUR = "".join(ip(f"127.0.0.{number}", "account = 1") for number in range(1, 5))

BROKEN = [
    pytest.param("rout = 1", "rout", "1", "did you mean route?", id="an unknown table"),
    pytest.param("account = 1", "account", "1", "[[account]]", id="no list of tables"),
    pytest.param('[sending_ip]\naddress = "x"', "sending_ip", "a table", "[[sending_ip]]", id="one table"),
    pytest.param(
        ip(more="wieght = 2"), "sending_ip[127.0.0.1].wieght", "2", "did you mean weight?", id="misspelt"
    ),
    pytest.param(
        ip("127.0.0.256"), "sending_ip[127.0.0.256].address", '"127.0.0.256"', "IPv4 or IPv6", id="no address"
    ),
    pytest.param(ip("0.0.0.0"), "sending_ip[0.0.0.0].address", '"0.0.0.0"', "one host", id="any address"),
    pytest.param(ip("ff02::1"), "sending_ip[ff02::1].address", '"ff02::1"', "one host", id="a group"),
    pytest.param(
        ip("fe80::1%eth0"), "sending_ip[fe80::1%eth0].address", '"fe80', "no link-local address", id="a zone"
    ),
    pytest.param(
        ip(more='bind = "::1"'), "sending_ip[127.0.0.1].bind", '"::1"', "the same family", id="two families"
    ),
    pytest.param(
        '[[sending_ip]]\naddress = "127.0.0.1"\n',
        "sending_ip[127.0.0.1].hostname",
        "missing",
        "a value",
        id="no hostname",
    ),
    pytest.param(ip(more="weight = 0"), "sending_ip[127.0.0.1].weight", "0", "at least 1", id="weightless"),
    pytest.param(ip(more="weight = 101"), "sending_ip[127.0.0.1].weight", "101", "at most 100", id="heavy"),
    pytest.param(
        ip(more="shared = true\naccount = 1") + ACCOUNT,
        "sending_ip[127.0.0.1].account",
        "1",
        "either shared = true or an account",
        id="shared and dedicated",
    ),
    pytest.param(
        ip(more='pool = "news"'),
        "sending_ip[127.0.0.1].pool",
        '"news"',
        "an account beside",
        id="nobody's pool",
    ),
    pytest.param(
        ip() + ip(), "sending_ip[#2].address", '"127.0.0.1"', "another address", id="an address twice"
    ),
    pytest.param(
        ip("::1") + ip("0:0::1"), "sending_ip[0:0::1].address", '"::1"', "another address", id="spelt twice"
    ),
    pytest.param(
        ip(more="account = 9") + ACCOUNT, "sending_ip[127.0.0.1].account", "9", "this file: 1", id="nobody's"
    ),
    pytest.param(
        ip(more='account = 1\npool = "news"') + ACCOUNT,
        "sending_ip[127.0.0.1].pool",
        '"news"',
        "a pool of account 1: default",
        id="an unknown pool",
    ),
    pytest.param(
        ip(more='account = 1\npool = "News"') + ACCOUNT + POOL,
        "sending_ip[127.0.0.1].pool",
        '"News"',
        "default, news",
        id="a pool by its name",
    ),
    pytest.param(
        FOUR + ip("127.0.0.5", "account = 1") + ACCOUNT,
        "account[1].dedicated_ip_limit",
        "4",
        "at least 5",
        id="R13: a fifth IP",
    ),
    pytest.param(
        ip(more="account = 1") + FREE, "account[1].plan", '"free"', "no dedicated IP", id="R1: free plan"
    ),
    pytest.param(ACCOUNT.replace("self_serve", "gold"), "account[1].plan", '"gold"', '"manual"', id="plan"),
    pytest.param(ACCOUNT.replace("id = 1", "id = 0"), "account[0].id", "0", "at least 1", id="account 0"),
    pytest.param(ACCOUNT + ACCOUNT, "account[#2].id", "1", "another id", id="an account twice"),
    pytest.param(ACCOUNT.replace("Acme", "  "), "account[1].name", '"  "', "1 to 64 printable", id="blank"),
    pytest.param(
        ACCOUNT.replace("Acme", "A\\u001b[2J"), "account[1].name", '"A\\u001b[2J"', "printable", id="escapes"
    ),
    pytest.param(
        ACCOUNT + "ip_price_cents = -1", "account[1].ip_price_cents", "-1", "at least 0", id="a gift"
    ),
    pytest.param(
        ACCOUNT + "bill_cycle_day = 29", "account[1].bill_cycle_day", "29", "at most 28", id="day 29"
    ),
    pytest.param(
        ACCOUNT + 'bounce_domain = "a b"', "account[1].bounce_domain", '"a b"', "a domain name", id="bounces"
    ),
    pytest.param(
        ACCOUNT + POOL.replace("News", "Default"),
        "account[1].pool[Default].name",
        '"Default"',
        "reserved",
        id="default is there already",
    ),
    pytest.param(
        ACCOUNT + POOL.replace("News", "SP shared"),
        "account[1].pool[SP shared].name",
        '"SP shared"',
        "reserved",
        id="A6: sp_shared",
    ),
    pytest.param(
        ACCOUNT + POOL.replace("News", "Shared-Pool"),
        "account[1].pool[Shared-Pool].name",
        '"Shared-Pool"',
        "reserved",
        id="shared_pool",
    ),
    pytest.param(
        ACCOUNT + POOL.replace("News", "News  Letter"),
        "account[1].pool[News  Letter].name",
        '"News  Letter"',
        "single spaces",
        id="A1: two spaces",
    ),
    pytest.param(
        ACCOUNT + POOL.replace("News", "x" * 21),
        f"account[1].pool[{'x' * 21}].name",
        f'"{"x" * 21}"',
        "1 to 20 letters",
        id="A1: 21 letters",
    ),
    pytest.param(
        ACCOUNT + POOL.replace("News", "Größe"),
        "account[1].pool[Größe].name",
        '"Größe"',
        "letters and digits",
        id="A1: an umlaut",
    ),
    pytest.param(
        ACCOUNT + POOL + POOL.replace("News", "NEWS"),
        "account[1].pool[NEWS].name",
        '"NEWS"',
        "another pool has it",
        id="an id twice",
    ),
    pytest.param(
        ACCOUNT + POOL + 'auto_warmup_overflow_pool = "x"',
        "account[1].pool[News].auto_warmup_overflow_pool",
        '"x"',
        "another pool without an overflow pool: default, shared pool",
        id="an unknown overflow pool",
    ),
    pytest.param(
        ACCOUNT + POOL + 'auto_warmup_overflow_pool = "news"',
        "account[1].pool[News].auto_warmup_overflow_pool",
        '"news"',
        "another pool",
        id="its own overflow pool",
    ),
    pytest.param(
        ENTERPRISE + POOL + 'auto_warmup_overflow_pool = "shared pool"',
        "account[1].pool[News].auto_warmup_overflow_pool",
        '"shared pool"',
        "another pool",
        id="Enterprise has no shared pool",
    ),
    pytest.param(
        ACCOUNT + SUBACCOUNT + SUBACCOUNT,
        "account[1].subaccount[#2].id",
        "7",
        "another id",
        id="a subaccount twice",
    ),
    pytest.param(
        ACCOUNT + SUBACCOUNT + 'ip_pool = "a-b"',
        "account[1].subaccount[7].ip_pool",
        '"a-b"',
        "letters, digits and underscores",
        id="no pool id",
    ),
    pytest.param(
        ACCOUNT + KEY.replace("a" * 40, "a" * 39), "account[1].api_key[k].key", "", "40 hex", id="a short key"
    ),
    pytest.param(
        ACCOUNT + KEY + f'key_sha256 = "{"b" * 64}"',
        "account[1].api_key[k].key",
        "",
        "either key or key_sha256",
        id="a key and a hash",
    ),
    pytest.param(
        ACCOUNT + KEY.replace(f'key = "{"a" * 40}"', ""),
        "account[1].api_key[k].key",
        "missing",
        "either key or key_sha256",
        id="neither",
    ),
    pytest.param(
        ACCOUNT + KEY + KEY.replace('"k"', '"l"'),
        "account[1].api_key[l].key",
        "",
        "listed once",
        id="a key twice",
    ),
    pytest.param(
        ACCOUNT + KEY.replace("[]", '["smtp/injct"]'),
        "account[1].api_key[k].grants[#1]",
        '"smtp/injct"',
        "smtp/inject",
        id="an unknown grant",
    ),
    pytest.param(
        ACCOUNT + SUBACCOUNT + KEY.replace("[]", '["billing/manage"]\nsubaccount = 7'),
        "account[1].api_key[k].grants",
        '["billing/manage"]',
        "a subaccount may hold",
        id="beyond a subaccount",
    ),
    pytest.param(
        ACCOUNT + KEY + "subaccount = 9",
        "account[1].api_key[k].subaccount",
        "9",
        "a subaccount of account 1: 0",
        id="a key for nobody",
    ),
    pytest.param(
        ACCOUNT + KEY + 'valid_ips = ["10.0.0.1/8"]',
        "account[1].api_key[k].valid_ips[#1]",
        '"10.0.0.1/8"',
        "an address or a network",
        id="host bits",
    ),
    pytest.param(
        ACCOUNT + '[[account.sending_domain]]\ndomain = "[1.2.3.4]"',
        "account[1].sending_domain[[1.2.3.4]].domain",
        '"[1.2.3.4]"',
        "a domain name",
        id="a literal for a domain",
    ),
    pytest.param(
        ACCOUNT + '[[account.sending_domain]]\ndomain = "a.b"\n[[account.sending_domain]]\ndomain = "A.b"',
        "account[1].sending_domain[A.b].domain",
        '"a.b"',
        "another domain",
        id="a domain twice",
    ),
    pytest.param(
        '[[route]]\ndomains = ["*"]', "route[#1]", "missing", "a smarthost or mx = true", id="no way"
    ),
    pytest.param(
        '[[route]]\ndomains = ["*"]\nsmarthost = "a:1"\nusername = "us"',
        "route[#1].password",
        "missing",
        "username and password to be given both or neither",
        id="no password",
    ),
    pytest.param(
        ACCOUNT + '[account.pool]\nname = "News"',
        "account[1].pool",
        "a table",
        "tables that begin with [[account.pool]]",
        id="one table within another",
    ),
    pytest.param(
        ACCOUNT + KEY.replace("[]", '"smtp/inject"'),
        "account[1].api_key[k].grants",
        '"smtp/inject"',
        'a list, such as ["smtp/inject"]',
        id="text for grants",
    ),
    pytest.param(
        ACCOUNT + KEY + 'valid_ips = "10.0.0.1"',
        "account[1].api_key[k].valid_ips",
        '"10.0.0.1"',
        'a list, such as ["10.0.0.1"]',
        id="text for networks",
    ),
    pytest.param(
        '[[route]]\ndomains = "a.example, b.example"\nmx = true',
        "route[#1].domains",
        '"a.example, b.example"',
        'a list, such as ["a.example", "b.example"]',
        id="text for domains",
    ),
    pytest.param(
        '[[route]]\ndomains = ["*"]\nmx = true\nsmarthost = "a:25"',
        "route[#1].mx",
        "true",
        "either a smarthost or mx = true",
        id="two ways",
    ),
    pytest.param(
        "[[route]]\ndomains = []\nmx = true", "route[#1].domains", "[]", "at least one domain", id="for none"
    ),
    pytest.param(
        '[[route]]\ndomains = ["a.*"]\nmx = true', "route[#1].domains[#1]", '"a.*"', '"*.exa', id="pattern"
    ),
    pytest.param(
        '[[route]]\ndomains = ["*"]\nsmarthost = "a"', "route[#1].smarthost", '"a"', "HOST:PORT", id="no port"
    ),
    pytest.param(
        '[[route]]\ndomains = ["*"]\nsmarthost = "a:0"',
        "route[#1].smarthost",
        '"a:0"',
        "HOST:PORT",
        id="port 0",
    ),
    pytest.param(
        '[[route]]\ndomains = ["*"]\nsmarthost = "a:1"\nport = 2',
        "route[#1].port",
        "2",
        "in smarthost itself",
        id="two ports",
    ),
    pytest.param(
        '[[route]]\ndomains = ["*"]\nmx = true\ntls = "on"', "route[#1].tls", '"on"', '"required"', id="TLS"
    ),
    pytest.param(
        '[[route]]\ndomains = ["*"]\nsmarthost = "a:1"\nusername = "u"',
        "route[#1].password",
        "",
        "both or neither",
        id="no password",
    ),
    pytest.param(
        '[[route]]\ndomains = ["*"]\nmx = true\nusername = "u"\npassword = "p"',
        "route[#1].username",
        '"u"',
        "a smarthost to log in to",
        id="a login for MX hosts",
    ),
    *[
        pytest.param(
            f'[[route]]\ndomains = ["*"]\nmx = true\nehlo_ignore = ["SIZE", {keyword}]',
            "route[#1].ehlo_ignore[#2]",
            keyword,
            'an EHLO keyword of letters, digits and hyphens, such as "PIPELINING"',
            id=f"an EHLO keyword: {keyword[:9]}",
        )
        for keyword in ('""', '"SIZE 100"', '"-X"', '"8BIT_MIME"', '"É"', "7", f'"{"X" * 65}"')
    ],
    pytest.param(
        '[[route]]\ndomains = ["*"]\nmx = true\nehlo_ignore = "SIZE"',
        "route[#1].ehlo_ignore",
        '"SIZE"',
        'a list, such as ["SIZE"]',
        id="an EHLO keyword without brackets",
    ),
]


@pytest.mark.parametrize(("text", "key", "value", "expectation"), BROKEN)
def test_a_mistake_is_told_with_file_key_value_and_expectation(
    tmp_path: Path, text: str, key: str, value: str, expectation: str
) -> None:
    (problem,) = problems_of(tmp_path, text)
    assert problem.startswith(f"{tmp_path / 'directory.toml'}: {key}: {value}")
    assert expectation in problem.partition(": expected ")[2]


def test_all_mistakes_are_told_at_once_whatever_their_kind(tmp_path: Path) -> None:
    broken = ACCOUNT.replace("self_serve", "gold") + KEY.replace("a" * 40, "b")
    second = ACCOUNT.replace("id = 1", "id = 2")
    text = ip(more="weight = 0") + ip("127.0.0.2", 'account = 2\npool = "x"') + ip("127.0.0.3", "account = 9")
    told = problems_of(tmp_path, text + broken + second + "[[route]]\ndomains = []\nmx = true")
    assert len(told) == 6


def test_a_table_with_a_mistake_causes_no_others(tmp_path: Path) -> None:
    text = ip(more='account = 1\npool = "news"') + ACCOUNT.replace("Acme", "") + POOL
    (problem,) = problems_of(tmp_path, text)
    assert "account[1].name" in problem


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(ACCOUNT + KEY.replace("a" * 40, "hunter2"), id="a key"),
        pytest.param(ACCOUNT + KEY.replace("key =", "kex =").replace("a" * 40, "hunter2"), id="misspelt"),
        pytest.param(ACCOUNT + 'api_key = "hunter2"', id="no table"),
        pytest.param('[[route]]\ndomains = ["*"]\nmx = true\npassword = "hunter2"', id="a password"),
        pytest.param('[[route]]\ndomains = ["*"]\nmx = true\npasword = "hunter2"', id="a misspelt one"),
        pytest.param('[route]\npassword = "hunter2"', id="in the wrong table"),
    ],
)
def test_no_message_tells_a_secret(tmp_path: Path, text: str) -> None:
    assert "hunter2" not in "\n".join(problems_of(tmp_path, text))
