/* Requests: any split, any pause, the same events. See fuzz_h1.h for the input's form. */
#include "fuzz_h1.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) { return fuzz_h1(MC_H1_REQUEST, data, n); }
