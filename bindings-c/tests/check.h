/* What tests count, and what they say of a condition that does not hold. */
#include <keystead.h>
#include <stdio.h>

static int passed, failed;

static void check(int holds, const char *what, int line) {
  if (holds) {
    passed++;
  } else {
    failed++;
    fprintf(stderr, "line %d: %s (last error: %s)\n", line, what, ks_last_error());
  }
}

#define CHECK(condition) check((condition), #condition, __LINE__)
