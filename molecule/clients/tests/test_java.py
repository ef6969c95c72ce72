"""Java's SunPKCS11: keytool and jarsigner."""

from __future__ import annotations

from scenario.shop import Shop


def test_keytool_lists_the_key_it_made_with_its_certificate(java: Shop) -> None:
    assert "release, PrivateKeyEntry" in java.run("keytool-list")


def test_keytools_request_is_one_that_openssl_verifies(java: Shop) -> None:
    java.run("keytool-request")
    assert "verify OK" in java.output("openssl req -in release.csr -verify -noout")


def test_a_signed_jar_verifies_and_an_altered_one_does_not(java: Shop) -> None:
    made = java.command("jar --create --file order.jar order.txt")
    assert made.returncode == 0, made.stderr
    java.run("jarsigner-sign")
    assert "jar verified." in java.run("jarsigner-verify")
    altered = java.command(
        "mkdir -p altered; echo 'an owner' >altered/order.txt; jar --update --file signed.jar -C altered order.txt"
    )
    assert altered.returncode == 0, altered.stderr
    done = java.attempt("jarsigner-verify")
    assert done.returncode != 0
    assert "digest error" in done.stdout + done.stderr
