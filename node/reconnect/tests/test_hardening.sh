#!/bin/sh
MODULE=keyfold-reconnect.so exec ../pkcs11/tests/test_hardening.sh
