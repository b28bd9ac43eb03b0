"""What `relay run --with-sink` prints: where to send, and lines to copy."""

import tomllib
from typing import Any

from relay.config.config import Config
from relay.config.problems import ConfigError
from relay.frames.rest.errors import BASE
from relay.process.directory.file import load_directory
from relay.process.runtime import Relay

SINK = "127.0.0.1:2526"
"""Where the next hop listens when the directory file names none on this machine."""

_CURL = """
  curl {url}/transmissions -H 'Authorization: {key}' -H 'Content-Type: application/json' -d '
  {{"options": {{"ip_pool": "{pool}"}}, "recipients": [{{"address": "someone@example.org"}}],
   "content": {{"from": "you@example.com", "subject": "hello", "text": "Hello."}}}}'
"""
_SDK = """
Clients that speak TLS only, such as `sparkpost` for Python, want its CA file (Node: NODE_EXTRA_CA_CERTS):

  export REQUESTS_CA_BUNDLE='{authority}'
  python3 - <<'END'
  from sparkpost import SparkPost
  print(SparkPost('{key}', '{place}').transmissions.send(
      recipients=['someone@example.org'], from_email='you@example.com', subject='hello', text='Hello.',
      ip_pool='{pool}'))
  END
"""


def welcome(config: Config, relay: Relay, link: str | None) -> str:
    """Where to send, and lines to copy that send through a pool. link: for the first operator."""
    (host, port), url = relay.smtp_address, relay.http_url
    (key, rest_key, pool), sink = _lab(config), sink_address(config)
    header = f'X-MSYS-API: {{"options": {{"ip_pool": "{pool}"}}}}'
    api = f"\n  REST      {url}{BASE}   Authorization: {rest_key}   {url}/api/docs" if url else ""
    console = f"\n  console   {link or f'{url}/'}" if url and "web" in config.roles else ""
    console += "   sign in once, choose a password" if link else ""
    tls_url = relay.http.tls_url if url else None
    if tls_url and relay.http.pair:
        authority = relay.http.pair.certificate.absolute()
        api += f"\n  by TLS    {tls_url}{BASE}   with the CA file {authority}"
        place = tls_url.removeprefix("https://")
        sdk = _SDK.format(authority=authority, place=place, key=rest_key, pool=pool)
    else:
        sdk = ""
    curl = _CURL.format(url=f"{url}{BASE}", key=rest_key, pool=pool) if url else ""
    return f"""
The relay is running. Nothing leaves this machine: the sink on {sink} takes all mail.

  SMTP      {host}:{port}   user SMTP_Injection   password {key}{api}{console}
  next hop  {sink}, which prints one line for each message it receives

Send a message through the pool {pool!r}:

  swaks --server {host}:{port} --auth PLAIN --auth-user SMTP_Injection --auth-password {key} \\
        --from you@example.com --to someone@example.org --header '{header}'

  python3 - <<'END'
  import smtplib
  message = 'From: you@example.com\\r\\nSubject: hello\\r\\n{header}\\r\\n\\r\\nHello.\\r\\n'
  with smtplib.SMTP('{host}', {port}) as relay:
      relay.login('SMTP_Injection', '{key}')
      relay.sendmail('you@example.com', ['someone@example.org'], message)
  END
{curl}{sdk}
Ctrl-C stops it.
"""


def _lab(config: Config) -> tuple[str, str, str]:
    """Keys in clear text for SMTP and for REST, which may be one, and a filled pool of their account."""
    tables = _directory_tables(config)
    filled = {(ip.get("account"), ip["pool"]) for ip in tables.get("sending_ip", ()) if ip.get("pool")}
    for account in tables.get("account", ()):
        keys = [key for key in account.get("api_key", ()) if "key" in key and not key.get("subaccount")]
        by_smtp, by_rest = (
            next((str(key["key"]) for key in keys if grant in key["grants"]), "YOUR-KEY")
            for grant in ("smtp/inject", "transmissions/modify")
        )
        pools = sorted(pool for owner, pool in filled if owner == account.get("id") and pool != "default")
        if keys and pools:
            return by_smtp, by_rest, pools[0]
    return "YOUR-KEY", "YOUR-KEY", "YOUR-POOL"


def sink_address(config: Config) -> str:
    """The first smarthost of the directory file that is on the loopback interface, else the lab's."""
    smarthosts = [str(route.get("smarthost", "")) for route in _directory_tables(config).get("route", ())]
    return next((address for address in smarthosts if address.startswith("127.")), SINK)


def _directory_tables(config: Config) -> dict[str, Any]:
    """The directory file as it stands, with keys in clear text; nothing of one that is not valid."""
    try:
        load_directory(config.directory)
    except ConfigError:
        return {}
    return tomllib.loads(config.directory.read_text(encoding="utf-8"))
