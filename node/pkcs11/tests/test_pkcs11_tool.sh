#!/bin/sh
# pkcs11-tool --test says the same through the module as on bare SoftHSM, and every key it makes is committed.
# usage: test_pkcs11_tool.sh BUILD-DIRECTORY (for its agent; the module is the one that is installed)
set -u
build=$(cd "$1" && pwd)
module=$(cd "$(dirname "$0")/.." && pwd)/keyfold-pkcs11.so
work=$(mktemp -d)
trap 'kill "$agent" 2>/dev/null; rm -rf "$work"' EXIT

checks=0
check() { # check NAME COMMAND…
    name=$1
    shift
    checks=$((checks + 1))
    if "$@"; then echo "ok $checks - $name"; else echo "not ok $checks - $name"; failed=1; fi
}
failed=0

mkdir "$work/tokens"
echo "directories.tokendir = $work/tokens" >"$work/softhsm2.conf"
printf 'KEYFOLDP\001\377\0\0\0\0\0\0' >"$work/policy" # everything is permitted
export SOFTHSM2_CONF="$work/softhsm2.conf" KEYFOLD_AGENT_SOCKET="$work/agent.sock" KEYFOLD_POLICY="$work/policy"
"$build/agent" "$work/agent.sock" &
agent=$!
softhsm2-util --init-token --free --label test --so-pin 12345678 --pin 12345678 >"$work/init" || exit 2

tool() { # tool MODULE ARGUMENT…
    library=$1
    shift
    pkcs11-tool --module "$library" --token-label test --login --pin 12345678 "$@" 2>&1
}
# Both see the same objects, so that their output can only differ through the module.
tool "$module" --keypairgen --key-type EC:prime256v1 --id 01 --label ec >"$work/make"
check "an EC pair is made through the module" grep -q "Public Key Object; EC" "$work/make"
tool "$module" --keypairgen --key-type rsa:2048 --id 02 --label rsa >"$work/make"
check "an RSA pair is made through the module" grep -q "Public Key Object; RSA" "$work/make"
tool "$module" --keygen --key-type AES:32 --id 03 --label aes >"$work/make"
check "an AES key is made through the module" grep -q "Secret Key Object; AES" "$work/make"

# OpenSC 0.26 prints an address in its memory; all else must be the same.
# shellcheck disable=SC2317  # called through check
same() { # same FILE FILE
    sed -i 's/source_ptr=0x[0-9a-f]*/source_ptr=ADDRESS/' "$@"
    diff "$@" >"$work/difference" && return
    sed 's/^/# /' "$work/difference"
    return 1
}
tool /usr/lib/softhsm/libsofthsm2.so --test >"$work/bare"
bare=$?
tool "$module" --test >"$work/ours"
ours=$?
check "pkcs11-tool --test ends with the same status" [ "$bare" -eq "$ours" ]
check "and says the same" same "$work/bare" "$work/ours"
check "about something" grep -q "RSA-PKCS" "$work/ours"
tool "$module" --list-objects >"$work/ours"
tool /usr/lib/softhsm/libsofthsm2.so --list-objects >"$work/bare"
check "the objects listed are the same" same "$work/bare" "$work/ours"
tool "$module" --delete-object --type secrkey --id 03 >"$work/delete"
check "an object is deleted through the module" sh -c "! tool_output=\$(grep -i error '$work/delete')"

kill "$agent"
wait "$agent" 2>/dev/null
tool "$module" --keygen --key-type AES:32 --id 04 --label refused >"$work/refused"
check "without an agent a login is refused with CKR_DEVICE_ERROR" grep -q "C_Login failed.*CKR_DEVICE_ERROR" "$work/refused"
echo "1..$checks"
exit $failed
