"""GnuTLS: p11tool and certtool."""

from __future__ import annotations

from scenario.shop import Shop


def test_p11tool_lists_the_key_it_made_and_the_others(mail: Shop) -> None:
    listed = mail.run("p11tool-list")
    assert "object=mail;type=private" in listed
    assert "object=web;type=private" in listed


def test_certtools_request_is_one_that_openssl_verifies(mail: Shop) -> None:
    mail.run("certtool-request")
    assert "verify OK" in mail.output("openssl req -in mail.csr -verify -noout")


def test_certtools_certificate_carries_the_clusters_signature(mail: Shop) -> None:
    mail.run("certtool-certificate")
    check = "openssl verify -check_ss_sig -partial_chain -CAfile mail.crt mail.crt"
    assert mail.command(check).stdout.strip() == "mail.crt: OK"
    assert "mail.example" in mail.command("openssl x509 -in mail.crt -noout -subject").stdout
