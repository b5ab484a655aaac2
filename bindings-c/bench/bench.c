/* Times of the C interface, in the rows of GOALS [C], one JSON object a line as benches/compare wants them.
 * Correctness is tested in ../tests. Keys have 16 bytes, values 100; "cold" is 100,000 keys in random order.
 *
 * cc -O2 -o bench bench.c $(pkg-config --cflags --libs keystead) -pthread && ./bench [rounds] */
#include <keystead.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { KEYS = 100000, KEY = 16, VALUE = 100, HOT = 200000, BATCH = 100, MAX_ROUNDS = 101 };

static ks_engine *engine;
static char (*names)[KEY + 1];
static const void *shuffled[KEYS];
static size_t key_lengths[KEYS];
static char buffer[BATCH * VALUE];
static size_t lengths[BATCH], length, total;
static int64_t number;
static const char *hot;

static uint64_t now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

static void must(enum ks_status got, enum ks_status expected) {
  if (got != expected) {
    fprintf(stderr, "status %d instead of %d: %s\n", (int)got, (int)expected, ks_last_error());
    exit(1);
  }
}

/* Each returns how many operations it ran. */
static size_t get_hot(void) {
  for (int i = 0; i < HOT; i++) must(ks_get(engine, 0, hot, KEY, buffer, VALUE, &length), KS_OK);
  return HOT;
}
static size_t get_cold(void) {
  for (int i = 0; i < KEYS; i++) must(ks_get(engine, 0, shuffled[i], KEY, buffer, VALUE, &length), KS_OK);
  return KEYS;
}
static size_t get_missing(void) {
  for (int i = 0; i < HOT; i++) must(ks_get(engine, 0, "none:00000000000", KEY, buffer, VALUE, &length), KS_MISSING);
  return HOT;
}
static size_t get_expiring(void) {
  for (int i = 0; i < HOT; i++) must(ks_get(engine, 0, "expiring", 8, buffer, VALUE, &length), KS_OK);
  return HOT;
}
static size_t set_hot(void) {
  for (int i = 0; i < HOT; i++) must(ks_set(engine, 0, "set", 3, buffer, VALUE, 0, 0), KS_OK);
  return HOT;
}
static size_t set_ttl(void) {
  for (int i = 0; i < HOT; i++) must(ks_set(engine, 0, "setx", 4, buffer, VALUE, 60000, 0), KS_OK);
  return HOT;
}
static size_t set_cold(void) {
  for (int i = 0; i < KEYS; i++) must(ks_set(engine, 0, shuffled[i], KEY, buffer, VALUE, 0, 0), KS_OK);
  return KEYS;
}
static size_t incr(void) {
  for (int i = 0; i < HOT; i++) must(ks_incr(engine, 0, "n", 1, 1, &number), KS_OK);
  return HOT;
}
static size_t hget(void) {
  for (int i = 0; i < HOT; i++) must(ks_hget(engine, 0, "hash", 4, "field", 5, buffer, VALUE, &length), KS_OK);
  return HOT;
}
static size_t mget_hot(void) {
  for (int i = 0; i < HOT / BATCH; i++)
    must(ks_mget(engine, 0, BATCH, shuffled, key_lengths, buffer, sizeof buffer, lengths, &total), KS_OK);
  return HOT;
}
static size_t mget_cold(void) {
  for (int i = 0; i < KEYS; i += BATCH)
    must(ks_mget(engine, 0, BATCH, shuffled + i, key_lengths, buffer, sizeof buffer, lengths, &total), KS_OK);
  return KEYS;
}

/* Gets of one key in `time` seconds' worth of a thread; the threads begin together. */
static atomic_int ready, go;
static const int THREAD_GETS = 2000000;

static void *reader(void *unused) {
  char own[VALUE];
  size_t got;
  (void)unused;
  atomic_fetch_add(&ready, 1);
  while (!atomic_load(&go)) {
  }
  for (int i = 0; i < THREAD_GETS; i++) must(ks_get(engine, 0, hot, KEY, own, VALUE, &got), KS_OK);
  return NULL;
}

/* Nanoseconds a get takes a thread, on `count` threads at once. */
static double on_threads(int count) {
  pthread_t threads[2];
  atomic_store(&ready, 0);
  atomic_store(&go, 0);
  for (int i = 0; i < count; i++) pthread_create(&threads[i], NULL, reader, NULL);
  while (atomic_load(&ready) < count) {
  }
  uint64_t begin = now();
  atomic_store(&go, 1);
  for (int i = 0; i < count; i++) pthread_join(threads[i], NULL);
  return (double)(now() - begin) / THREAD_GETS;
}

static const struct row {
  const char *name;
  size_t (*run)(void);
  double goal;
} rows[] = {
  {"ks_get, 100 bytes, hot", get_hot, 25},
  {"ks_get, 100 bytes, cold", get_cold, 75},
  {"ks_get of a missing key", get_missing, 0},
  {"ks_get of a key that expires", get_expiring, 0},
  {"ks_set, 100 bytes, hot", set_hot, 0},
  {"ks_set with ttl", set_ttl, 0},
  {"ks_set, 100 bytes, cold", set_cold, 0},
  {"ks_incr", incr, 0},
  {"ks_hget", hget, 0},
  {"ks_mget of 100, per key, hot", mget_hot, 0},
  {"ks_mget of 100, per key, cold", mget_cold, 0},
};
enum { ROWS = sizeof rows / sizeof *rows };

static int by_size(const void *left, const void *right) {
  double difference = *(const double *)left - *(const double *)right;
  return (difference > 0) - (difference < 0);
}

static void own_row(const char *name, double *times, int rounds, double goal) {
  char text[32] = "null";
  qsort(times, (size_t)rounds, sizeof *times, by_size);
  if (goal > 0) snprintf(text, sizeof text, "%.0f", goal);
  printf("{\"face\":\"c\",\"case\":\"%s\",\"ours_ns\":%.1f,\"peer\":\"\",\"peer_ns\":null,\"ratio\":null,\"low\":%.1f,\"high\":%.1f,"
         "\"goal_ns\":%s,\"goal_ratio\":null}\n",
         name, times[rounds / 2], times[0], times[rounds - 1], text);
}

static void prepare(void) {
  ks_session *session;
  char value[VALUE];
  memset(value, 'v', sizeof value);
  must(ks_open(NULL, &engine), KS_OK);
  names = malloc(sizeof *names * KEYS);
  for (int i = 0; i < KEYS; i++) {
    snprintf(names[i], sizeof *names, "key:%012d", i);
    must(ks_set(engine, 0, names[i], KEY, value, VALUE, 0, 0), KS_OK);
    shuffled[i] = names[i];
    key_lengths[i] = KEY;
  }
  srand(1);
  for (int i = KEYS - 1; i > 0; i--) {
    int other = rand() % (i + 1);
    const void *swap = shuffled[i];
    shuffled[i] = shuffled[other];
    shuffled[other] = swap;
  }
  hot = names[4711];
  memcpy(buffer, value, VALUE);
  must(ks_set(engine, 0, "expiring", 8, value, VALUE, 3600000, 0), KS_OK);
  must(ks_session_open(engine, &session), KS_OK);
  ks_free_reply(ks_command(session, "HSET hash field vvvvvvvvvvvvvvvv"));
  ks_session_close(session);
}

int main(int count, char **words) {
  static double times[ROWS][MAX_ROUNDS], ratios[MAX_ROUNDS], one[MAX_ROUNDS], two[MAX_ROUNDS];
  int rounds = count > 1 ? atoi(words[1]) : 9;
  if (rounds < 1 || rounds > MAX_ROUNDS) return 2;
  prepare();
  /* Interleaved, so that a disturbance does not hit one row only; the first round warms up. */
  for (int round = -1; round < rounds; round++) {
    for (int at = 0; at < ROWS; at++) {
      uint64_t begin = now();
      size_t done = rows[at].run();
      if (round >= 0) times[at][round] = (double)(now() - begin) / (double)done;
    }
  }
  for (int round = 0; round < rounds; round++) {
    one[round] = on_threads(1);
    two[round] = on_threads(2);
    ratios[round] = 2 * one[round] / two[round];
  }
  for (int at = 0; at < ROWS; at++) own_row(rows[at].name, times[at], rounds, rows[at].goal);
  qsort(one, (size_t)rounds, sizeof *one, by_size);
  qsort(two, (size_t)rounds, sizeof *two, by_size);
  qsort(ratios, (size_t)rounds, sizeof *ratios, by_size);
  printf("{\"face\":\"c\",\"case\":\"ks_get of one hot key, 2 threads\",\"ours_ns\":%.1f,\"peer\":\"1 thread\",\"peer_ns\":%.1f,"
         "\"ratio\":%.2f,\"low\":%.2f,\"high\":%.2f,\"goal_ns\":null,\"goal_ratio\":1.6}\n",
         two[rounds / 2] / 2, one[rounds / 2], ratios[rounds / 2], ratios[0], ratios[rounds - 1]);
  ks_close(engine);
  free(names);
  return 0;
}
