/* Tests of what callers do wrong: null pointers for every argument of every function, sizes of options, names, formats.
 * Each is an error that ks_last_error() tells in words, changes nothing, and gives back 0 or NULL. */
#include <locale.h>

#include "check.h"

/* The call is refused, and its error, not that of an earlier call, names what is wrong. */
#define REFUSED(call, what) \
  check((ks_set_last_error(KS_OK, NULL), (call) == KS_ERR_USAGE) && strstr(ks_last_error(), what) != NULL, #call, __LINE__)

#define NO_REPLY(call, what) \
  check((ks_set_last_error(KS_OK, NULL), (call) == NULL) && strstr(ks_last_error(), what) != NULL, #call, __LINE__)

static void null_pointers(ks_engine *engine, ks_session *session) {
  ks_session *opened = session;
  ks_reply not_given, *notes = &not_given;
  const void *keys[] = {"k", NULL};
  const char *words[] = {"PING", NULL};
  const size_t key_lengths[] = {1, 1};
  size_t lengths[2] = {7, 7}, length = 7, total = 7;
  int64_t number = 7;
  char buffer[8];

  REFUSED(ks_open(NULL, NULL), "engine");
  REFUSED(ks_session_open(NULL, &opened), "engine");
  CHECK(opened == NULL);
  REFUSED(ks_session_open(engine, NULL), "session");
  ks_close(NULL);
  ks_session_close(NULL);
  ks_free_reply(NULL);

  NO_REPLY(ks_command_argv(NULL, 1, words, NULL), "session");
  NO_REPLY(ks_command_argv(session, 1, NULL, NULL), "words");
  NO_REPLY(ks_command_argv(session, 0, words, NULL), "word");
  NO_REPLY(ks_command_argv(session, 2, words, NULL), "a word");
  NO_REPLY(ks_command_argv(session, 2, words, key_lengths), "a word");
  NO_REPLY(ks_command_argv(session, SIZE_MAX / 64, words, NULL), "memory");

  REFUSED(ks_get(NULL, 0, "k", 1, buffer, 8, &length), "engine");
  CHECK(length == 0);
  REFUSED(ks_get(engine, 0, NULL, 1, buffer, 8, &length), "key");
  REFUSED(ks_get(engine, 0, "k", 1, NULL, 8, &length), "buffer");
  REFUSED(ks_get(engine, 0, "k", 1, buffer, 8, NULL), "length");
  CHECK(ks_get(engine, 0, NULL, 0, NULL, 0, &length) == KS_MISSING);

  REFUSED(ks_mget(NULL, 0, 1, keys, key_lengths, buffer, 8, lengths, &total), "engine");
  CHECK(total == 0);
  REFUSED(ks_mget(engine, 0, 1, NULL, key_lengths, buffer, 8, lengths, &total), "keys");
  REFUSED(ks_mget(engine, 0, 1, keys, NULL, buffer, 8, lengths, &total), "key_lengths");
  REFUSED(ks_mget(engine, 0, 1, keys, key_lengths, NULL, 8, lengths, &total), "buffer");
  REFUSED(ks_mget(engine, 0, 1, keys, key_lengths, buffer, 8, NULL, &total), "lengths");
  REFUSED(ks_mget(engine, 0, 1, keys, key_lengths, buffer, 8, lengths, NULL), "total");
  REFUSED(ks_mget(engine, 0, 2, keys, key_lengths, buffer, 8, lengths, &total), "a key");
  CHECK(ks_mget(engine, 0, 0, NULL, NULL, NULL, 0, NULL, &total) == KS_OK);

  REFUSED(ks_hget(NULL, 0, "k", 1, "f", 1, buffer, 8, &length), "engine");
  REFUSED(ks_hget(engine, 0, NULL, 1, "f", 1, buffer, 8, &length), "key");
  REFUSED(ks_hget(engine, 0, "k", 1, NULL, 1, buffer, 8, &length), "field");
  REFUSED(ks_hget(engine, 0, "k", 1, "f", 1, NULL, 8, &length), "buffer");
  REFUSED(ks_hget(engine, 0, "k", 1, "f", 1, buffer, 8, NULL), "length");

  REFUSED(ks_snapshot(NULL, "misuse.rdb"), "engine");
  REFUSED(ks_snapshot(engine, NULL), "path");
  REFUSED(ks_restore(NULL, "misuse.rdb"), "engine");
  REFUSED(ks_restore(engine, NULL), "path");
  REFUSED(ks_opening_notes(engine, NULL), "notes");
  REFUSED(ks_opening_notes(NULL, &notes), "engine");
  CHECK(notes == NULL);

  REFUSED(ks_set(NULL, 0, "k", 1, "v", 1, 0, 0), "engine");
  REFUSED(ks_set(engine, 0, NULL, 1, "v", 1, 0, 0), "key");
  REFUSED(ks_set(engine, 0, "k", 1, NULL, 1, 0, 0), "value");
  CHECK(ks_exists(engine, 0, "k", 1) == KS_MISSING);
  CHECK(ks_set(engine, 0, NULL, 0, NULL, 0, 0, 0) == KS_OK && ks_del(engine, 0, NULL, 0) == KS_OK);

  REFUSED(ks_del(NULL, 0, "k", 1), "engine");
  REFUSED(ks_del(engine, 0, NULL, 1), "key");
  REFUSED(ks_exists(NULL, 0, "k", 1), "engine");
  REFUSED(ks_exists(engine, 0, NULL, 1), "key");
  REFUSED(ks_incr(NULL, 0, "k", 1, 1, &number), "engine");
  CHECK(number == 0);
  REFUSED(ks_incr(engine, 0, NULL, 1, 1, &number), "key");
  REFUSED(ks_incr(engine, 0, "k", 1, 1, NULL), "sum");
  REFUSED(ks_expire(NULL, 0, "k", 1, 1000), "engine");
  REFUSED(ks_expire(engine, 0, NULL, 1, 1000), "key");
  REFUSED(ks_ttl(NULL, 0, "k", 1, &number), "engine");
  REFUSED(ks_ttl(engine, 0, NULL, 1, &number), "key");
  REFUSED(ks_ttl(engine, 0, "k", 1, NULL), "ttl_ms");
  CHECK(ks_exists(engine, 0, "k", 1) == KS_MISSING);
  CHECK(ks_set_last_error(KS_ERR_IO, "own") == KS_ERR_IO && strcmp(ks_last_error(), "own") == 0);
}

/* The options of a header without `path`, of one without `config`, and of one without `name` too. */
struct old_options {
  size_t size;
  const char *name;
  const char *config;
};

struct older_options {
  size_t size;
  const char *name;
};

struct newer_options {
  size_t size;
  const char *name;
  const char *config;
  const char *path;
  uint32_t more;
  const char *others;
};

static void sizes_of_options(void) {
  struct old_options *old = (struct old_options *)malloc(sizeof *old);
  struct older_options *older = (struct older_options *)malloc(sizeof *older);
  size_t *oldest = (size_t *)malloc(sizeof *oldest);
  struct newer_options newer;
  ks_options options;
  ks_engine *one = NULL, *other = NULL;
  /* On the heap, where valgrind sees whoever reads on. */
  old->size = sizeof *old;
  old->name = NULL;
  old->config = "maxmemory 10mb\n";
  CHECK(ks_open((const ks_options *)old, &one) == KS_OK && ks_set(one, 0, "k", 1, "v", 1, 0, 0) == KS_OK);
  ks_close(one);
  old->config = "maxmemory lots\n";
  REFUSED(ks_open((const ks_options *)old, &one), "maxmemory");
  free(old);
  older->size = sizeof *older;
  older->name = "misuse-older";
  CHECK(ks_open((const ks_options *)older, &one) == KS_OK && ks_open((const ks_options *)older, &other) == KS_OK);
  CHECK(ks_set(one, 0, "k", 1, "v", 1, 0, 0) == KS_OK && ks_exists(other, 0, "k", 1) == KS_OK);
  ks_close(one);
  ks_close(other);
  *oldest = sizeof *oldest;
  CHECK(ks_open((const ks_options *)oldest, &one) == KS_OK);
  CHECK(ks_exists(one, 0, "k", 1) == KS_MISSING);
  ks_close(one);
  free(older);
  free(oldest);

  memset(&newer, 0, sizeof newer);
  newer.size = sizeof newer;
  newer.config = "maxmemory 10mb\n";
  CHECK(ks_open((const ks_options *)&newer, &one) == KS_OK);
  ks_close(one);
  newer.more = 1;
  REFUSED(ks_open((const ks_options *)&newer, &one), "does not know");
  CHECK(one == NULL);
  newer.more = 0;
  newer.others = "x";
  REFUSED(ks_open((const ks_options *)&newer, &one), "does not know");

  memset(&options, 0, sizeof options);
  REFUSED(ks_open(&options, &one), "size");
  options.size = sizeof options.size - 1;
  REFUSED(ks_open(&options, &one), "size");
  options.size = SIZE_MAX;
  REFUSED(ks_open(&options, &one), "size");
}

static void names(void) {
  ks_options options;
  ks_engine *one = NULL, *other = NULL;
  memset(&options, 0, sizeof options);
  options.size = sizeof options;
  options.name = "caf\xe9";
  REFUSED(ks_open(&options, &one), "UTF-8");
  CHECK(one == NULL);
  options.name = "caf\xe8";
  REFUSED(ks_open(&options, &one), "UTF-8");
  options.name = "caf\xc3\xa9";
  CHECK(ks_open(&options, &one) == KS_OK);
  options.name = "caf\xef\xbf\xbd";
  CHECK(ks_open(&options, &other) == KS_OK);
  CHECK(ks_set(one, 0, "k", 1, "v", 1, 0, 0) == KS_OK && ks_exists(other, 0, "k", 1) == KS_MISSING);
  ks_close(one);
  ks_close(other);
  options.path = "misuse.ks";
  REFUSED(ks_open(&options, &one), "not both");
  CHECK(one == NULL);
  options.name = NULL;
  options.path = "caf\xe9.ks";
  CHECK(ks_open(&options, &one) == KS_ERR_USAGE && one == NULL && strstr(ks_last_error(), "UTF-8") != NULL);
}

static void formats(ks_engine *engine, ks_session *session) {
  const char *const locales[] = {"de_DE.UTF-8", "de_DE", "fr_FR.UTF-8", "C.UTF-8"};
  ks_reply *reply;
  size_t at;
  NO_REPLY(ks_command(session, "SET k %q", 1), "format");
  NO_REPLY(ks_command(session, "SET k %"), "format");
  NO_REPLY(ks_command(session, "SET k %l", 1L), "%l");
  NO_REPLY(ks_command(session, "SET k %lx", 1L), "%l");
  NO_REPLY(ks_command(session, "SET k %llx", 1LL), "%l");
  NO_REPLY(ks_command(session, "SET k %zd", (size_t)1), "%z");
  NO_REPLY(ks_command(session, "SET k %s", (const char *)NULL), "null");
  NO_REPLY(ks_command(session, "SET k %b", (const char *)NULL, (size_t)1), "null");
  NO_REPLY(ks_command(session, "SET k %b", "x", SIZE_MAX), "memory");
  NO_REPLY(ks_command(session, ""), "word");
  NO_REPLY(ks_command(session, "   "), "word");
  NO_REPLY(ks_command(session, NULL), "format");
  NO_REPLY(ks_command(NULL, "PING"), "session");
  CHECK(ks_exists(engine, 0, "k", 1) == KS_MISSING);
  reply = ks_command(session, "MSET a %b b %ld c %lu d %llu e %i f %u g -%%", (const char *)NULL, (size_t)0, -5L, 6UL, ~0ULL, -7, 8U);
  CHECK(reply != NULL && reply->type_ == KS_REPLY_STATUS);
  ks_free_reply(reply);
  reply = ks_command(session, "MGET a b c d e f g");
  CHECK(reply != NULL && reply->elements == 7 && reply->element[0]->len == 0 && strcmp(reply->element[1]->str, "-5") == 0);
  CHECK(strcmp(reply->element[3]->str, "18446744073709551615") == 0 && strcmp(reply->element[6]->str, "-%") == 0);
  ks_free_reply(reply);
  /* Machines need not have any; where they do, their point may be a comma. */
  for (at = 0; at < sizeof locales / sizeof *locales; at++) setlocale(LC_NUMERIC, locales[at]);
  reply = ks_command(session, "MSET x %g y %f z %g", 1.5, -1e300, 0.1);
  ks_free_reply(reply);
  reply = ks_command(session, "MGET x y z");
  CHECK(strcmp(reply->element[0]->str, "1.5") == 0 && strcmp(reply->element[1]->str, "-1.0000000000000001e+300") == 0);
  CHECK(strcmp(reply->element[2]->str, "0.10000000000000001") == 0);
  ks_free_reply(reply);
}

int main(void) {
  ks_engine *engine = NULL;
  ks_session *session = NULL;
  CHECK(ks_open(NULL, &engine) == KS_OK && ks_session_open(engine, &session) == KS_OK);
  null_pointers(engine, session);
  sizes_of_options();
  names();
  formats(engine, session);
  ks_session_close(session);
  ks_close(engine);
  printf("%d passed, %d failed\n", passed, failed);
  return failed != 0;
}
