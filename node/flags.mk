# How Keyfold's PKCS#11 modules are compiled and linked; included by node/*/Makefile.

CC ?= cc
libdir ?= /usr/lib/$(shell $(CC) -print-multiarch)
# Headers only; nothing of p11-kit is linked.
P11_KIT_CFLAGS ?= -I/usr/include/p11-kit-1

WARNINGS = -Wall -Wextra -Wconversion -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wformat=2 -Wvla -Werror
HARDENING = -fstack-protector-strong -fstack-clash-protection -fcf-protection -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=3
COMMON = -std=c11 -D_GNU_SOURCE $(P11_KIT_CFLAGS) $(WARNINGS) -fPIC -fvisibility=hidden -pthread
# Debian's crti.o does not say that it keeps to the shadow stack, so the linker would not say it of the module either.
LINK = -shared -Wl,-z,relro,-z,now,-z,defs,-z,shstk,-z,noexecstack,--as-needed
CFLAGS ?= -O2 -g
SANITIZE = -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer
