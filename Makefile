# SPDX-License-Identifier: Apache-2.0
#
#   make demo    install what is missing, build, show the main job with real mail
#   make test    the same set-up, then every test
#   make         build build/salvaposta (needs the packages; see packaging/deps.sh)
#   make check   unit tests only; SAN=1 under ASan and UBSan
#   make bench   measure against Debian's Postfix
#   make crash   200 kills, power cuts and faults, the long form
#   make scale   ten million held messages through the whole relay (SCALE_COUNT=; 12 GB of disk)
#   make install DESTDIR= PREFIX=/usr     also the systemd units; make uninstall, likewise

CC	?= gcc
ifeq ($(origin CC),default)
CC	= gcc
endif
PREFIX	?= /usr/local
DESTDIR	?=
# systemd looks into these of /usr and of /usr/local alike.
UNITDIR	?= $(PREFIX)/lib/systemd/system
SYSUSERSDIR ?= $(PREFIX)/lib/sysusers.d
DOCDIR	?= $(PREFIX)/share/doc/salvaposta
O	?= build
ifeq ($(SAN),1)
O	= build-san
SANFLAGS = -fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer
endif

PKGS	= libcares libevent_core libconfuse sqlite3 jansson libssl libcrypto \
	  libseccomp libidn2 libzstd opendkim
WARN	= -Wall -Wextra -Werror -Wshadow -Wstrict-prototypes -Wmissing-prototypes \
	  -Wformat=2 -Wvla -Wwrite-strings -Wpointer-arith -Wundef -Wcast-qual
OPT	?= -O2 -g
PKG_CFLAGS := $(shell pkg-config --cflags $(PKGS) 2>/dev/null)
PKG_LIBS := $(shell pkg-config --libs $(PKGS) 2>/dev/null)
ALL_CFLAGS = -std=gnu17 -D_GNU_SOURCE -I. $(WARN) $(OPT) $(SANFLAGS) \
	  -fstack-protector-strong $(PKG_CFLAGS) $(CFLAGS)
LIBS	= $(PKG_LIBS) -lspf2 -lpthread

LIB_SRC	:= $(filter-out relay/main.c,$(wildcard base/*.c base/proto/*.c queue/*.c policy/*.c relay/*.c admin/*.c))
LIB_OBJ	:= $(LIB_SRC:%.c=$(O)/%.o)
TESTS	:= $(patsubst %.c,$(O)/%,$(wildcard tests/base/*_test.c tests/queue/*_test.c \
	     tests/policy/*_test.c tests/relay/*_test.c tests/admin/*_test.c))
TOOLS	:= $(patsubst %.c,$(O)/%,$(wildcard tests/bench/*.c))

all: $(O)/salvaposta

$(O)/%.o: %.c
	@mkdir -p $(@D)
	@echo "  CC  $<"
	@$(CC) $(ALL_CFLAGS) -MMD -MP -c -o $@ $<

$(O)/libsalvaposta.a: $(LIB_OBJ)
	@rm -f $@
	@$(AR) rcs $@ $^

$(O)/salvaposta: $(O)/relay/main.o $(O)/libsalvaposta.a
	@echo "  LD  $@"
	@$(CC) $(SANFLAGS) $(LDFLAGS) -o $@ $^ $(LIBS)

$(O)/tests/%_test: $(O)/tests/%_test.o $(O)/libsalvaposta.a
	@echo "  LD  $@"
	@$(CC) $(SANFLAGS) $(LDFLAGS) -o $@ $^ -lcmocka $(LIBS)

$(O)/tests/bench/%: $(O)/tests/bench/%.o $(O)/libsalvaposta.a
	@echo "  LD  $@"
	@$(CC) $(SANFLAGS) $(LDFLAGS) -o $@ $^ $(LIBS)

# Preloaded by the crash tests and by benches: the disk on its worst day.
$(O)/tests/crash/fault.so: tests/crash/fault.c tests/crash/fault.h
	@mkdir -p $(@D)
	@$(CC) -std=gnu17 -D_GNU_SOURCE -I. $(WARN) -O2 -g -fPIC -shared -o $@ tests/crash/fault.c

# Likewise: a wall clock that jumps.
$(O)/tests/crash/clock.so: tests/crash/clock.c
	@mkdir -p $(@D)
	@$(CC) -std=gnu17 -D_GNU_SOURCE -I. $(WARN) -O2 -g -fPIC -shared -o $@ tests/crash/clock.c

tests-built: $(TESTS)
tools: $(TOOLS)

# Prints each test program's own lines and at the end `N passed, N failed`.
check: $(O)/salvaposta $(TESTS)
	@tests/unit.sh $(TESTS)

# The main job with real mail: needs nothing but this checkout and Debian 12.
demo:
	@packaging/deps.sh demo
	@$(MAKE) --no-print-directory -s -j$$(nproc) $(O)/salvaposta
	@/usr/bin/python3 tests/demo/demo.py

test:
	@packaging/deps.sh test
	@$(MAKE) --no-print-directory -s -j$$(nproc) all
	@tests/run.sh

bench:
	@packaging/deps.sh bench
	@$(MAKE) --no-print-directory -s -j$$(nproc) all tools $(O)/tests/crash/fault.so
	@/usr/bin/python3 tests/bench/bench.py $(BENCH)

# The whole relay on a spool of ten million held messages: memory, start, look-ups, accept rate.
SCALE_COUNT ?= 10000000
scale:
	@packaging/deps.sh test
	@$(MAKE) --no-print-directory -s -j$$(nproc) all tools
	@SALVAPOSTA=$(abspath $(O))/salvaposta SCALE_COUNT=$(SCALE_COUNT) /usr/bin/python3 -m pytest \
	    -q -p no:cacheprovider -rs -s tests/e2e/test_scale.py

# The long form of what `make test` runs short: kills, power cuts, faults, damage.
crash:
	@packaging/deps.sh test
	@$(MAKE) --no-print-directory -s -j$$(nproc) $(O)/salvaposta
	@SALVAPOSTA=$(abspath $(O))/salvaposta CRASH_LONG=1 CRASH_KILLS=100 /usr/bin/python3 -m pytest \
	    -q -p no:cacheprovider -rs -s tests/e2e/test_storage*.py tests/e2e/test_crash.py

# Each parser's libFuzzer target for FUZZ_SECONDS, under ASan and UBSan; its seeds are
# in tests/fuzz/corpus/NAME. What it learns goes to build-fuzz/corpus/NAME.
FUZZERS	:= $(patsubst tests/fuzz/%.c,build-fuzz/%,$(wildcard tests/fuzz/*_fuzz.c))
FUZZ_SECONDS ?= 30

fuzzers:
	@$(MAKE) --no-print-directory -s O=build-fuzz CC=clang \
	    SANFLAGS="-fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=undefined" \
	    build-fuzz/libsalvaposta.a $(FUZZERS)

build-fuzz/%_fuzz: tests/fuzz/%_fuzz.c build-fuzz/libsalvaposta.a
	@echo "  LD  $@"
	@clang -std=gnu17 -D_GNU_SOURCE -I. -g -O1 $(PKG_CFLAGS) \
	    -fsanitize=fuzzer,address,undefined -o $@ $^ $(LIBS)

fuzz:
	@packaging/deps.sh fuzz
	@$(MAKE) --no-print-directory -s -j$$(nproc) fuzzers
	@tests/fuzz.sh $(FUZZ_SECONDS) $(FUZZERS)

# Seeds and all inputs that once were a finding, again.
fuzz-replay: fuzzers
	@tests/fuzz.sh 0 $(FUZZERS)

# What is printed from the table of configuration keys.
docs: $(O)/salvaposta
	@$(O)/salvaposta check --example > relay.conf.example
	@$(O)/salvaposta check --man > $(O)/keys.man
	@sed -i -e '/BEGIN of the list from conf_print_man/r $(O)/keys.man' \
	    -e '/BEGIN of the list/,/END of the list/{/BEGIN of the list\|END of the list/!d}' docs/relay.conf.5

UNITS	= salvaposta.service salvaposta-refresh.service salvaposta-refresh.timer

# A configuration is never put in place or removed: it is the administrator's.
install: $(O)/salvaposta
	install -D -m 755 $(O)/salvaposta $(DESTDIR)$(PREFIX)/sbin/salvaposta
	install -D -m 644 docs/salvaposta.8 $(DESTDIR)$(PREFIX)/share/man/man8/salvaposta.8
	install -D -m 644 docs/relay.conf.5 $(DESTDIR)$(PREFIX)/share/man/man5/relay.conf.5
	install -d $(DESTDIR)$(DOCDIR) $(DESTDIR)$(UNITDIR) $(DESTDIR)/etc/salvaposta
	install -m 644 README.md LICENSE relay.conf.example docs/*.md $(DESTDIR)$(DOCDIR)
	install -D -m 644 packaging/systemd/salvaposta.sysusers $(DESTDIR)$(SYSUSERSDIR)/salvaposta.conf
	for u in $(UNITS); do \
	    f=packaging/systemd/$$u; [ -e $$f ] || f=$$f.in; \
	    sed 's|@SBINDIR@|$(PREFIX)/sbin|g' $$f >$(DESTDIR)$(UNITDIR)/$$u && \
	    chmod 644 $(DESTDIR)$(UNITDIR)/$$u || exit 1; \
	done

uninstall:
	rm -f $(DESTDIR)$(PREFIX)/sbin/salvaposta $(DESTDIR)$(PREFIX)/share/man/man8/salvaposta.8 \
	    $(DESTDIR)$(PREFIX)/share/man/man5/relay.conf.5 $(DESTDIR)$(SYSUSERSDIR)/salvaposta.conf \
	    $(UNITS:%=$(DESTDIR)$(UNITDIR)/%)
	rm -rf $(DESTDIR)$(DOCDIR)

format:
	clang-format -i $(LIB_SRC) relay/main.c $(wildcard */*.h base/proto/*.h tests/*/*.c)

clean:
	rm -rf build build-san build-fuzz

.PHONY: all bench check clean crash demo docs format fuzz fuzz-replay fuzzers install scale test tests-built tools uninstall
.SECONDARY:
-include $(shell find $(O) -name '*.d' 2>/dev/null)
