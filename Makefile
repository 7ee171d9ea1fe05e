# meshcore: what a newcomer and CI run. `make help` lists the targets.
CC ?= gcc
BUILD ?= build/core
CFLAGS ?= -O2 -g
WARN := -Wall -Wextra -Werror -Wno-unused-parameter
CPPFLAGS_ALL = -std=gnu11 $(WARN) -Icsrc -Icsrc/include -Ithird_party/llhttp/include $(CPPFLAGS)

CORE_SRC := $(sort $(wildcard csrc/*/*.c csrc/*/*/*.c))
LLHTTP_SRC := $(wildcard third_party/llhttp/src/*.c)
CORE_OBJ := $(CORE_SRC:%.c=$(BUILD)/%.o)
LLHTTP_OBJ := $(LLHTTP_SRC:%.c=$(BUILD)/%.o)
TEST_SRC := $(sort $(wildcard tests/c/*/test_*.c))
TEST_BIN := $(TEST_SRC:tests/c/%.c=$(BUILD)/tests/%)

.PHONY: core test-c clean
core: $(BUILD)/libmeshcore.a

$(BUILD)/libmeshcore.a: $(CORE_OBJ) $(LLHTTP_OBJ)
	@rm -f $@
	ar rcs $@ $^

$(BUILD)/third_party/%.o: third_party/%.c
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) -std=gnu11 -Ithird_party/llhttp/include -MMD -c $< -o $@

$(BUILD)/%.o: %.c
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) $(CPPFLAGS_ALL) -MMD -c $< -o $@

# The C tests link a core of their own whose allocator can be told to fail.
test-c:
	@$(MAKE) --no-print-directory BUILD=build/core-test CPPFLAGS="-DMC_TEST_ALLOC $(CPPFLAGS)" run-test-c

.PHONY: run-test-c
run-test-c: $(TEST_BIN)
	@set -e; for t in $(TEST_BIN); do $$t; done

$(BUILD)/tests/%: tests/c/%.c $(BUILD)/libmeshcore.a
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) $(CPPFLAGS_ALL) -MMD -MF $@.d $< $(BUILD)/libmeshcore.a -lm -lpthread -o $@

clean:
	rm -rf build

-include $(CORE_OBJ:.o=.d) $(LLHTTP_OBJ:.o=.d) $(addsuffix .d,$(TEST_BIN))
