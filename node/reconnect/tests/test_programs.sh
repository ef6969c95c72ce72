#!/bin/sh
# Programs meet no difference: pkcs11-tool --test says the same as on p11-kit-client, and p11-kit passes the address on.
# usage: test_programs.sh BUILD-DIRECTORY (not used: the module is the one that is installed)
set -u
module=$PWD/keyfold-reconnect.so
client=$(echo /usr/lib/*/pkcs11/p11-kit-client.so)
proxy=$(echo /usr/lib/*/p11-kit-proxy.so)
work=$(mktemp -d)
server=""
trap '[ -z "$server" ] || kill "$server"; rm -rf "$work"' EXIT

checks=0
failed=0
check() { # check NAME COMMAND…
    name=$1
    shift
    checks=$((checks + 1))
    if "$@" >"$work/check" 2>&1; then echo "ok $checks - $name"; else
        echo "not ok $checks - $name"
        sed 's/^/# /' "$work/check"
        failed=1
    fi
}

mkdir "$work/tokens"
echo "directories.tokendir = $work/tokens" >"$work/softhsm2.conf"
SOFTHSM2_CONF=$work/softhsm2.conf
export SOFTHSM2_CONF
softhsm2-util --init-token --free --label keyfold --so-pin 12345678 --pin 12345678 >/dev/null || exit 2
address=unix:path=$work/socket
p11-kit server --foreground --provider /usr/lib/softhsm/libsofthsm2.so --name "$work/socket" pkcs11:token=keyfold >/dev/null &
server=$!
timeout 10 sh -c "until [ -S '$work/socket' ]; do sleep 0.05; done" || exit 2

tool() { # tool MODULE ARGUMENT…
    library=$1
    shift
    P11_KIT_SERVER_ADDRESS=$address pkcs11-tool --module "$library" --login --pin 12345678 "$@" 2>&1
}
tool "$client" --keypairgen --key-type EC:prime256v1 --label ec --id 01 --usage-sign >/dev/null
tool "$client" --keypairgen --key-type rsa:2048 --label rsa --id 02 >/dev/null
# An address of the program's own memory is in what it prints.
tool "$client" --test | sed 's/source_ptr=[^,]*//' >"$work/without"
tool "$module" --test | sed 's/source_ptr=[^,]*//' >"$work/with"
check "pkcs11-tool --test signs" grep -q 'Signatures' "$work/with"
check "and says the same as without the module" diff "$work/without" "$work/with"
tool "$client" --list-objects >"$work/without"
tool "$module" --list-objects >"$work/with"
check "pkcs11-tool --list-objects lists the same" diff "$work/without" "$work/with"

# As role client writes it.
mkdir -p "$work/config/pkcs11/modules"
printf 'module: %s\nx-init-reserved: address=%s\n' "$module" "$address" >"$work/config/pkcs11/modules/keyfold-acme.module"
check "p11-kit passes the address of its file on" sh -c \
    "XDG_CONFIG_HOME=$work/config pkcs11-tool --module '$proxy' --list-token-slots | grep 'token label.*keyfold'"
echo "1..$checks"
exit $failed
