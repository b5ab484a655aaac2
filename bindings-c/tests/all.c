/* Tests of the C interface: every function, every type of reply, the errors, and the printf-style command.
 * Built with -Wall -Wextra -Werror and run under valgrind by `cargo xtask test c`. */
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "check.h"

static int text_is(const ks_reply *reply, ks_reply_type type, const char *text) {
  return reply != NULL && reply->type_ == type && reply->len == strlen(text) && memcmp(reply->str, text, reply->len) == 0;
}

static void typed_calls(ks_engine *engine) {
  char buffer[8];
  size_t length = 99;
  int64_t number = 0;
  CHECK(ks_get(engine, 0, "k", 1, buffer, sizeof buffer, &length) == KS_MISSING && length == 0);
  CHECK(ks_set(engine, 0, "k", 1, "hello, world", 12, 0, KS_SET_XX) == KS_NOT_SET);
  CHECK(ks_set(engine, 0, "k", 1, "hello, world", 12, 60000, KS_SET_NX) == KS_OK);
  CHECK(ks_get(engine, 0, "k", 1, buffer, sizeof buffer, &length) == KS_OK);
  CHECK(length == 12 && memcmp(buffer, "hello, w", 8) == 0);
  CHECK(ks_get(engine, 0, "k", 1, NULL, 0, &length) == KS_OK && length == 12);
  CHECK(ks_get(engine, 0, "k", 1, NULL, 8, &length) == KS_ERR_USAGE);
  CHECK(ks_ttl(engine, 0, "k", 1, &number) == KS_OK && number > 59000 && number <= 60000);
  CHECK(ks_set(engine, 0, "k", 1, "", 0, 0, KS_SET_KEEPTTL) == KS_OK);
  CHECK(ks_ttl(engine, 0, "k", 1, &number) == KS_OK && number > 59000);
  CHECK(ks_set(engine, 0, "k", 1, "x", 1, 0, KS_SET_NX | KS_SET_XX) == KS_ERR_USAGE);
  CHECK(strstr(ks_last_error(), "exclude") != NULL);
  CHECK(ks_set(engine, 0, "k", 1, "x", 1, 0, 8) == KS_ERR_USAGE && strstr(ks_last_error(), "flags") != NULL);
  CHECK(ks_incr(engine, 0, "n", 1, 41, &number) == KS_OK && number == 41);
  CHECK(ks_incr(engine, 0, "n", 1, 1, &number) == KS_OK && number == 42);
  CHECK(ks_incr(engine, 0, "n", 1, INT64_MAX, &number) == KS_ERR_COMMAND);
  CHECK(ks_ttl(engine, 0, "n", 1, &number) == KS_OK && number == -1);
  CHECK(ks_expire(engine, 0, "n", 1, 5000) == KS_OK && ks_expire(engine, 0, "none", 4, 5000) == KS_MISSING);
  CHECK(ks_expire(engine, 0, "n", 1, 0) == KS_ERR_USAGE);
  CHECK(ks_exists(engine, 0, "n", 1) == KS_OK && ks_exists(engine, 1, "n", 1) == KS_MISSING);
  CHECK(ks_exists(engine, 16, "n", 1) == KS_ERR_COMMAND);
  CHECK(ks_del(engine, 0, "n", 1) == KS_OK && ks_del(engine, 0, "n", 1) == KS_MISSING);
}

static void many_and_fields(ks_engine *engine, ks_session *session) {
  const void *keys[200];
  size_t key_lengths[200], lengths[200], total = 0, length = 0;
  char names[200][8], buffer[1024];
  for (int at = 0; at < 200; at++) {
    keys[at] = names[at];
    key_lengths[at] = (size_t)snprintf(names[at], sizeof names[at], "m%d", at);
    if (at % 3 != 0) ks_set(engine, 0, names[at], key_lengths[at], names[at], key_lengths[at], 0, 0);
  }
  ks_free_reply(ks_command(session, "HSET m3 field value"));
  CHECK(ks_mget(engine, 0, 200, keys, key_lengths, buffer, sizeof buffer, lengths, &total) == KS_OK);
  size_t from = 0;
  int right = 1;
  for (int at = 0; at < 200; at++) {
    if (at % 3 == 0) {
      right = right && lengths[at] == SIZE_MAX;
    } else {
      right = right && lengths[at] == key_lengths[at] && memcmp(buffer + from, names[at], lengths[at]) == 0;
      from += lengths[at];
    }
  }
  CHECK(right && from == total);
  CHECK(ks_mget(engine, 0, 3, keys, key_lengths, buffer, 3, lengths, &total) == KS_OK && total == 4 && memcmp(buffer, "m1", 2) == 0);
  CHECK(ks_mget(engine, 0, 3, keys, key_lengths, NULL, 0, lengths, &total) == KS_OK && total == 4);
  CHECK(ks_mget(engine, 0, 0, NULL, NULL, NULL, 0, NULL, &total) == KS_OK && total == 0);
  CHECK(ks_mget(engine, 99, 1, keys, key_lengths, buffer, 8, lengths, &total) == KS_ERR_COMMAND);

  CHECK(ks_hget(engine, 0, "m3", 2, "field", 5, buffer, 3, &length) == KS_OK && length == 5 && memcmp(buffer, "val", 3) == 0);
  CHECK(ks_hget(engine, 0, "m3", 2, "none", 4, buffer, 3, &length) == KS_MISSING && length == 0);
  CHECK(ks_hget(engine, 0, "none", 4, "field", 5, NULL, 0, &length) == KS_MISSING && length == 0);
  CHECK(ks_hget(engine, 0, "m3", 2, "field", 5, NULL, 3, &length) == KS_ERR_USAGE);
  CHECK(ks_hget(engine, 0, "m1", 2, "field", 5, buffer, 3, &length) == KS_ERR_WRONGTYPE);
  CHECK(ks_get(engine, 0, "m3", 2, buffer, 8, &length) == KS_ERR_WRONGTYPE);
}

static void commands(ks_session *session) {
  ks_reply *reply;
  const char bytes[] = {'a', 0, '\r', '\n', ' ', 'b'};

  reply = ks_command(session, "SET %s %b EX %d", "binary key", bytes, sizeof bytes, 100);
  CHECK(text_is(reply, KS_REPLY_STATUS, "OK"));
  ks_free_reply(reply);

  reply = ks_command(session, "GET %s", "binary key");
  CHECK(reply->type_ == KS_REPLY_STRING && reply->len == sizeof bytes && memcmp(reply->str, bytes, sizeof bytes) == 0);
  ks_free_reply(reply);

  reply = ks_command(session, "  SET   key:%d:%s %lld%% ", 7, "x", 1234567890123LL);
  CHECK(text_is(reply, KS_REPLY_STATUS, "OK"));
  ks_free_reply(reply);
  reply = ks_command(session, "GET key:7:x");
  CHECK(text_is(reply, KS_REPLY_STRING, "1234567890123%"));
  ks_free_reply(reply);

  reply = ks_command(session, "SET empty %s", "");
  CHECK(text_is(reply, KS_REPLY_STATUS, "OK"));
  ks_free_reply(reply);
  reply = ks_command(session, "STRLEN empty");
  CHECK(reply->type_ == KS_REPLY_INTEGER && reply->integer == 0);
  ks_free_reply(reply);

  reply = ks_command(session, "GET nothing");
  CHECK(reply->type_ == KS_REPLY_NIL && reply->str == NULL);
  ks_free_reply(reply);

  reply = ks_command(session, "HSET h f %g g %zu", 1.5, (size_t)18);
  CHECK(reply->type_ == KS_REPLY_INTEGER && reply->integer == 2);
  ks_free_reply(reply);
  reply = ks_command(session, "HGETALL h");
  CHECK(reply->type_ == KS_REPLY_ARRAY && reply->elements == 4);
  CHECK(text_is(reply->element[1], KS_REPLY_STRING, "1.5") && text_is(reply->element[3], KS_REPLY_STRING, "18"));
  ks_free_reply(reply);

  reply = ks_command(session, "INCR h");
  CHECK(reply->type_ == KS_REPLY_ERROR && reply->integer == KS_ERR_WRONGTYPE);
  CHECK(strncmp(reply->str, "WRONGTYPE ", 10) == 0);
  ks_free_reply(reply);
  reply = ks_command(session, "NOSUCH");
  CHECK(reply->type_ == KS_REPLY_ERROR && reply->integer == KS_ERR_COMMAND);
  ks_free_reply(reply);

  CHECK(ks_command(session, "GET %q", 1) == NULL);
  CHECK(ks_command(session, "") == NULL);
  CHECK(ks_command(NULL, "PING") == NULL);
}

static void resp3(ks_session *session) {
  ks_reply *reply = ks_command(session, "HELLO 3");
  CHECK(reply->type_ == KS_REPLY_MAP && reply->elements == 14);
  ks_free_reply(reply);
  reply = ks_command(session, "HGETALL h");
  CHECK(reply->type_ == KS_REPLY_MAP && reply->elements == 4);
  ks_free_reply(reply);
  reply = ks_command(session, "CLIENT INFO");
  CHECK(reply->type_ == KS_REPLY_VERB && strcmp(reply->vtype, "txt") == 0 && strstr(reply->str, "resp=3") != NULL);
  ks_free_reply(reply);
}

static void transactions(ks_session *session) {
  ks_reply *reply = ks_command(session, "MULTI");
  ks_free_reply(reply);
  reply = ks_command(session, "SET t 1");
  CHECK(text_is(reply, KS_REPLY_STATUS, "QUEUED"));
  ks_free_reply(reply);
  reply = ks_command(session, "INCR h");
  ks_free_reply(reply);
  reply = ks_command(session, "EXEC");
  CHECK(reply->type_ == KS_REPLY_ARRAY && reply->elements == 2);
  CHECK(text_is(reply->element[0], KS_REPLY_STATUS, "OK") && reply->element[1]->type_ == KS_REPLY_ERROR);
  ks_free_reply(reply);
}

static void *count(void *engine) {
  int round;
  for (round = 0; round < 1000; round++) {
    int64_t sum;
    ks_incr((const ks_engine *)engine, 0, "shared", 6, 1, &sum);
  }
  return NULL;
}

static void threads(ks_engine *engine) {
  pthread_t all[4];
  int64_t sum = 0;
  int index;
  for (index = 0; index < 4; index++) pthread_create(&all[index], NULL, count, engine);
  for (index = 0; index < 4; index++) pthread_join(all[index], NULL);
  CHECK(ks_incr(engine, 0, "shared", 6, 0, &sum) == KS_OK && sum == 4000);
}

static void opening(void) {
  ks_options options = {.size = sizeof options, .name = "c-tests", .config = "maxmemory 10mb\n"};
  ks_engine *one, *other, *failing = NULL;
  CHECK(ks_open(&options, &one) == KS_OK && ks_open(&options, &other) == KS_OK);
  CHECK(ks_set(one, 0, "k", 1, "v", 1, 0, 0) == KS_OK && ks_exists(other, 0, "k", 1) == KS_OK);
  ks_close(one);
  CHECK(ks_exists(other, 0, "k", 1) == KS_OK);
  ks_close(other);
  options.config = "maxmemory lots\n";
  options.name = NULL;
  CHECK(ks_open(&options, &failing) == KS_ERR_USAGE && failing == NULL);
  CHECK(strstr(ks_last_error(), "maxmemory") != NULL);
  options.size = 1;
  CHECK(ks_open(&options, &failing) == KS_ERR_USAGE);
}

static void messages(ks_engine *engine) {
  ks_session *monitor = NULL, *other = NULL;
  ks_reply *reply = NULL;
  CHECK(ks_session_open(engine, &monitor) == KS_OK && ks_session_open(engine, &other) == KS_OK);
  CHECK(ks_next(monitor, 0, &reply) == KS_MISSING && reply == NULL);
  reply = ks_command(monitor, "MONITOR");
  CHECK(text_is(reply, KS_REPLY_STATUS, "OK"));
  ks_free_reply(reply);
  /* A command that has to wait keeps its thread. */
  reply = ks_command(other, "WAIT 1 1");
  CHECK(reply != NULL && reply->type_ == KS_REPLY_INTEGER && reply->integer == 0);
  ks_free_reply(reply);
  CHECK(ks_next(monitor, -1, &reply) == KS_OK && reply != NULL && reply->type_ == KS_REPLY_STATUS);
  CHECK(reply != NULL && strstr(reply->str, "[0 unix:in-process] \"WAIT\" \"1\" \"1\"") != NULL);
  ks_free_reply(reply);
  CHECK(ks_next(monitor, 1, &reply) == KS_MISSING && reply == NULL);
  /* So has one that waits for a list, until its time is over or there is one. */
  reply = ks_command(other, "BLPOP waited-for 0.01");
  CHECK(reply != NULL && reply->type_ == KS_REPLY_NIL);
  ks_free_reply(reply);
  reply = ks_command(other, "RPUSH waited-for element");
  CHECK(reply != NULL && reply->type_ == KS_REPLY_INTEGER && reply->integer == 1);
  ks_free_reply(reply);
  reply = ks_command(other, "BLPOP none waited-for 0");
  CHECK(reply != NULL && reply->type_ == KS_REPLY_ARRAY && reply->elements == 2 && text_is(reply->element[1], KS_REPLY_STRING, "element"));
  ks_free_reply(reply);
  CHECK(ks_next(NULL, 0, &reply) == KS_ERR_USAGE && ks_next(monitor, 0, NULL) == KS_ERR_USAGE);
  ks_session_close(monitor);
  ks_session_close(other);
}

/* Whether a descriptor can be read from within so many milliseconds; -1: some time. */
static int rings(int descriptor, int milliseconds) {
  struct pollfd place = {.fd = descriptor, .events = POLLIN};
  return poll(&place, 1, milliseconds) == 1;
}

static ks_status begin(ks_session *session, const char *key, const char *seconds, ks_reply **reply) {
  const char *argv[] = {"BLPOP", key, seconds};
  return ks_begin_argv(session, 3, argv, NULL, reply);
}

static void expect_integer(ks_session *session, const char *command, int64_t expected) {
  ks_reply *reply = ks_command(session, command);
  CHECK(reply != NULL && reply->type_ == KS_REPLY_INTEGER && reply->integer == expected);
  ks_free_reply(reply);
}

/* Commands that wait beside a loop of the program's own. */
static void waiting(ks_engine *engine) {
  ks_session *waits = NULL, *other = NULL;
  ks_reply *reply = NULL;
  int descriptor;
  const char *get[] = {"GET", "none"};
  CHECK(ks_session_open(engine, &waits) == KS_OK && ks_session_open(engine, &other) == KS_OK);
  descriptor = ks_descriptor(waits);
  CHECK(descriptor >= 0 && ks_descriptor(waits) == descriptor && ks_descriptor(NULL) == -1);
  CHECK(ks_begin_argv(waits, 2, get, NULL, &reply) == KS_OK && reply != NULL && reply->type_ == KS_REPLY_NIL);
  ks_free_reply(reply);
  CHECK(ks_take(waits, 0, &reply) == KS_ERR_USAGE && reply == NULL);

  CHECK(begin(waits, "jobs", "0", &reply) == KS_MISSING && reply == NULL);
  CHECK(ks_take(waits, 1, &reply) == KS_MISSING && reply == NULL && !rings(descriptor, 0));
  CHECK(ks_begin_argv(waits, 2, get, NULL, &reply) == KS_OK && reply != NULL && reply->type_ == KS_REPLY_ERROR);
  ks_free_reply(reply);
  expect_integer(other, "RPUSH jobs one two", 2);
  CHECK(rings(descriptor, -1) && ks_take(waits, 0, &reply) == KS_OK);
  CHECK(reply != NULL && reply->elements == 2 && text_is(reply->element[1], KS_REPLY_STRING, "one"));
  ks_free_reply(reply);
  expect_integer(other, "LREM jobs 0 two", 1);

  /* The end of its time rings as well. */
  CHECK(begin(waits, "jobs", "0.05", &reply) == KS_MISSING);
  do {
    CHECK(rings(descriptor, -1));
  } while (ks_take(waits, 0, &reply) == KS_MISSING);
  CHECK(reply != NULL && reply->type_ == KS_REPLY_NIL);
  ks_free_reply(reply);

  /* What was popped for somebody who has given up is put back. */
  CHECK(begin(waits, "jobs", "0", &reply) == KS_MISSING);
  expect_integer(other, "RPUSH jobs kept", 1);
  CHECK(ks_cancel(waits) == KS_OK && ks_cancel(waits) == KS_OK && ks_cancel(NULL) == KS_ERR_USAGE);
  CHECK(ks_take(waits, 0, &reply) == KS_ERR_USAGE);
  expect_integer(other, "LLEN jobs", 1);
  CHECK(begin(waits, "none", "0", &reply) == KS_MISSING);
  ks_session_close(waits);
  expect_integer(other, "RPUSH none kept", 1);

  CHECK(ks_begin_argv(NULL, 2, get, NULL, &reply) == KS_ERR_USAGE && ks_begin_argv(other, 2, get, NULL, NULL) == KS_ERR_USAGE);
  CHECK(ks_begin_argv(other, 0, get, NULL, &reply) == KS_ERR_USAGE && ks_take(NULL, 0, &reply) == KS_ERR_USAGE);
  ks_session_close(other);
}

static void expect_message(ks_session *session, const char *kind, const char *word) {
  ks_reply *reply = NULL;
  CHECK(ks_next(session, -1, &reply) == KS_OK && reply != NULL && reply->elements >= 3);
  CHECK(reply != NULL && text_is(reply->element[0], KS_REPLY_STRING, kind));
  if (reply != NULL && reply->element[reply->elements - 1]->type_ == KS_REPLY_STRING) {
    CHECK(text_is(reply->element[reply->elements - 1], KS_REPLY_STRING, word));
  }
  ks_free_reply(reply);
}

static void publishing(ks_engine *engine) {
  ks_session *hears = NULL, *tells = NULL;
  ks_reply *reply = NULL;
  int descriptor;
  CHECK(ks_session_open(engine, &hears) == KS_OK && ks_session_open(engine, &tells) == KS_OK);
  descriptor = ks_descriptor(hears);
  reply = ks_command(hears, "SUBSCRIBE news");
  CHECK(text_is(reply, KS_REPLY_STATUS, "OK"));
  ks_free_reply(reply);
  reply = ks_command(hears, "PSUBSCRIBE n*");
  ks_free_reply(reply);
  expect_message(hears, "subscribe", "");
  expect_message(hears, "psubscribe", "");
  while (ks_next(hears, 0, &reply) != KS_MISSING) ks_free_reply(reply);
  CHECK(!rings(descriptor, 0));
  expect_integer(tells, "PUBLISH news one", 2);
  expect_integer(tells, "PUBLISH nothing two", 1);
  expect_integer(tells, "PUBLISH other three", 0);
  CHECK(rings(descriptor, -1));
  expect_message(hears, "message", "one");
  /* It rings until somebody has seen that there is no more. */
  CHECK(rings(descriptor, 0));
  expect_message(hears, "pmessage", "one");
  expect_message(hears, "pmessage", "two");
  CHECK(ks_next(hears, 0, &reply) == KS_MISSING && !rings(descriptor, 0));
  reply = ks_command(hears, "UNSUBSCRIBE news");
  ks_free_reply(reply);
  expect_message(hears, "unsubscribe", "");
  expect_integer(tells, "PUBLISH news four", 1);
  expect_message(hears, "pmessage", "four");
  ks_session_close(hears);
  expect_integer(tells, "PUBLISH news five", 0);
  ks_session_close(tells);
}

int main(void) {
  ks_engine *engine = NULL;
  ks_session *session = NULL;
  const char *argv[] = {"ECHO", "hello"};
  ks_reply *reply;

  CHECK(ks_open(NULL, &engine) == KS_OK);
  CHECK(ks_session_open(engine, &session) == KS_OK);
  CHECK(strlen(ks_version()) >= 5);
  typed_calls(engine);
  commands(session);
  many_and_fields(engine, session);
  resp3(session);
  transactions(session);
  threads(engine);
  messages(engine);
  waiting(engine);
  publishing(engine);
  reply = ks_command_argv(session, 2, argv, NULL);
  CHECK(text_is(reply, KS_REPLY_STRING, "hello"));
  ks_free_reply(reply);
  opening();

  ks_free_reply(NULL);
  ks_session_close(session);
  ks_session_close(NULL);
  ks_close(engine);
  ks_close(NULL);
  printf("%d passed, %d failed\n", passed, failed);
  return failed != 0;
}
