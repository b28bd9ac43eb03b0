"""Certificates and contexts."""

import ssl
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from cryptography import x509

from relay.domain.route import TlsPolicy
from relay.net.tls import client_context, ensure_self_signed, server_context


def test_a_certificate_is_made_once(tmp_path: Path) -> None:
    certificate, key = ensure_self_signed(tmp_path / "new", "relay.test")
    before = certificate.read_bytes(), key.read_bytes()
    assert ensure_self_signed(tmp_path / "new", "other.test") == (certificate, key)
    assert (certificate.read_bytes(), key.read_bytes()) == before
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == ["relay.crt", "relay.key"]


def test_the_key_is_for_its_owner_alone(tmp_path: Path) -> None:
    _, key = ensure_self_signed(tmp_path, "relay.test")
    assert stat.S_IMODE(key.stat().st_mode) == 0o600


def test_processes_that_start_together_agree_on_one_pair(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: ensure_self_signed(tmp_path, f"relay{number}.test"), range(16)))
    certificate, key = ensure_self_signed(tmp_path, "relay.test")
    server_context(certificate, key)
    assert len(list(tmp_path.iterdir())) == 2


def test_a_lost_certificate_is_made_again_for_the_same_key(tmp_path: Path) -> None:
    certificate, key = ensure_self_signed(tmp_path, "relay.test")
    before = key.read_bytes()
    certificate.unlink()
    server_context(*ensure_self_signed(tmp_path, "relay.test"))
    assert key.read_bytes() == before


@pytest.mark.parametrize("hostname", ["relay.test", "127.0.0.1", "[::1]", "a" * 60 + "." + "b" * 60])
def test_the_certificate_names_the_host(tmp_path: Path, hostname: str) -> None:
    certificate, _ = ensure_self_signed(tmp_path, hostname)
    parsed = x509.load_pem_x509_certificate(certificate.read_bytes())
    names = parsed.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert [str(name.value) for name in names] == [hostname.strip("[]")]


def test_servers_speak_tls_1_2_and_later(certificate: tuple[Path, Path]) -> None:
    assert server_context(*certificate).minimum_version is ssl.TLSVersion.TLSv1_2


def test_only_required_tls_judges_the_certificate() -> None:
    required, opportunistic = client_context(TlsPolicy.REQUIRED), client_context(TlsPolicy.OPPORTUNISTIC)
    assert (required.verify_mode, required.check_hostname) == (ssl.CERT_REQUIRED, True)
    assert (opportunistic.verify_mode, opportunistic.check_hostname) == (ssl.CERT_NONE, False)
    assert client_context(TlsPolicy.REQUIRED) is required
