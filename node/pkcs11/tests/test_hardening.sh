#!/bin/sh
# What the compiler was asked for is in the module that is installed: read from the binary itself.
set -u
module=${MODULE:-keyfold-pkcs11.so}
headers=$(readelf --wide --program-headers "$module") || exit 2
dynamic=$(readelf --wide --dynamic "$module")
notes=$(readelf --wide --notes "$module")
symbols=$(readelf --wide --dyn-syms "$module")
code=$(objdump --disassemble=C_GetFunctionList "$module")

checks=0
failed=0
check() { # check NAME TEXT PATTERN
    checks=$((checks + 1))
    if printf '%s\n' "$2" | grep -Eq "$3"; then echo "ok $checks - $1"; else echo "not ok $checks - $1"; failed=1; fi
}
check_not() { # check_not NAME TEXT PATTERN
    checks=$((checks + 1))
    if printf '%s\n' "$2" | grep -Eq "$3"; then echo "not ok $checks - $1"; failed=1; else echo "ok $checks - $1"; fi
}

check "relocations are read-only" "$headers" 'GNU_RELRO'
check "from the start (BIND_NOW)" "$dynamic" '\((BIND_NOW|FLAGS)\).*NOW|\(BIND_NOW\)'
check "the stack is not executable" "$headers" 'GNU_STACK .* RW '
check_not "no segment is writable and executable" "$headers" 'LOAD .* RWE '
check_not "the code needs no relocation" "$dynamic" 'TEXTREL'
check "stacks are protected" "$symbols" 'UND __stack_chk_fail'
check "string functions are checked (_FORTIFY_SOURCE)" "$symbols" 'UND __[a-z]+_chk'
check "returns are checked (CET shadow stack)" "$notes" 'SHSTK'
check "targets of indirect calls are marked (CET)" "$code" '^ .*endbr64'
check_not "no run path leads elsewhere" "$dynamic" 'R(UN)?PATH'

# What is not exported cannot be called: there is no PKCS#11 3.x interface beside the guarded list.
exported=$(printf '%s\n' "$symbols" | awk '$5 == "GLOBAL" && $7 != "UND" { print $8 }')
check "C_GetFunctionList is exported" "$exported" '^C_GetFunctionList$'
check_not "and nothing else" "$exported" '^([^C]|C_[^G]|C_Get[^F])'
echo "1..$checks"
exit $failed
