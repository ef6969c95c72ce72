"""OpenSSL 3 with pkcs11-provider: requests, CMS, and a TLS server with its key in the cluster."""

from __future__ import annotations

from scenario.shop import Shop
from scenario.waiting import wait_for


def test_a_certificate_request_is_signed_with_the_clusters_key(shop: Shop) -> None:
    shop.run("openssl-request")
    assert "verify OK" in shop.output("openssl req -in web.csr -verify -noout")


def test_a_signed_message_verifies_and_an_altered_one_does_not(certificate: Shop) -> None:
    certificate.run("openssl-cms-sign")
    assert "an order" in certificate.run("openssl-cms-verify")
    certificate.command("sed -i 's/an order/an owner/' order.cms")
    assert "Verification failure" in certificate.attempt("openssl-cms-verify").stderr


def test_curl_trusts_a_tls_server_whose_key_is_in_the_cluster(certificate: Shop) -> None:
    with certificate.serving("openssl-server"):
        wait_for(lambda: certificate.attempt("curl").returncode == 0, "the TLS server's answer", 30)
        assert "s_server" in certificate.run("curl")
        # The system's authorities do not know it.
        other = ("--cacert web.crt", "--cacert /etc/ssl/certs/ca-certificates.crt")
        assert certificate.attempt("curl", replace=other).returncode == 60
    assert certificate.attempt("curl").returncode == 7  # it was this server that answered
