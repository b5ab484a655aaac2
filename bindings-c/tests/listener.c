/* Tests of listeners: clients of other processes talk to an engine that a C program has. */
#define _DEFAULT_SOURCE
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "check.h"

/* The only place of a listener, as a string. */
static void place_of(ks_listener *listener, char *text, size_t room) {
  ks_reply *places = NULL;
  text[0] = 0;
  CHECK(ks_listener_places(listener, &places) == KS_OK && places->type_ == KS_REPLY_ARRAY && places->elements == 1);
  if (places != NULL && places->elements == 1) snprintf(text, room, "%s", places->element[0]->str);
  ks_free_reply(places);
}

/* Whether what listens there answers a PING, and finds what the program has set. */
static int answers(int client, const struct sockaddr *address, socklen_t length) {
  const char *request = "PING\r\nGET k\r\nQUIT\r\n", *expected = "+PONG\r\n$1\r\nv\r\n+OK\r\n";
  char reply[64];
  size_t have = 0;
  if (client < 0 || connect(client, address, length) != 0) return 0;
  if (write(client, request, strlen(request)) != (ssize_t)strlen(request)) return 0;
  for (ssize_t got; have < sizeof reply && (got = read(client, reply + have, sizeof reply - have)) > 0;) have += (size_t)got;
  close(client);
  return have == strlen(expected) && memcmp(reply, expected, have) == 0;
}

static void listens_by_tcp(ks_engine *engine) {
  char place[128];
  ks_listener *listener = NULL;
  CHECK(ks_listen(engine, "127.0.0.1:0", &listener) == KS_OK && listener != NULL);
  place_of(listener, place, sizeof place);
  struct sockaddr_in address = {0};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  const char *port = strrchr(place, ':');
  address.sin_port = htons((uint16_t)(port == NULL ? 0 : atoi(port + 1)));
  CHECK(answers(socket(AF_INET, SOCK_STREAM, 0), (struct sockaddr *)&address, sizeof address));
  ks_listener *other = NULL;
  CHECK(ks_listen(engine, place, &other) == KS_ERR_IO && other == NULL && ks_last_error()[0] != 0);
  ks_listener_close(listener);
  int late = socket(AF_INET, SOCK_STREAM, 0);
  CHECK(connect(late, (struct sockaddr *)&address, sizeof address) != 0);
  close(late);
}

static void listens_at_a_path(ks_engine *engine) {
  char folder[] = "/tmp/keystead-c-XXXXXX", place[128], path[96];
  ks_listener *listener = NULL;
  CHECK(mkdtemp(folder) != NULL);
  snprintf(path, sizeof path, "%s/socket", folder);
  snprintf(place, sizeof place, "unix:%s", path);
  CHECK(ks_listen(engine, place, &listener) == KS_OK);
  char told[128];
  place_of(listener, told, sizeof told);
  CHECK(strcmp(told, place) == 0);
  struct sockaddr_un address = {0};
  address.sun_family = AF_UNIX;
  snprintf(address.sun_path, sizeof address.sun_path, "%s", path);
  CHECK(answers(socket(AF_UNIX, SOCK_STREAM, 0), (struct sockaddr *)&address, sizeof address));
  ks_listener_close(listener);
  CHECK(access(path, F_OK) != 0);
  rmdir(folder);
}

static void refuses(ks_engine *engine) {
  ks_listener *listener = NULL;
  ks_reply *places = NULL;
  const char *wrong[] = {"", "localhost", "localhost:", "127.0.0.1:65536", "::1:80", "unix:", "\xff:1"};
  for (size_t at = 0; at < sizeof wrong / sizeof *wrong; at++) {
    CHECK(ks_listen(engine, wrong[at], &listener) == KS_ERR_USAGE && listener == NULL);
  }
  CHECK(ks_listen(NULL, "127.0.0.1:0", &listener) == KS_ERR_USAGE && strstr(ks_last_error(), "engine") != NULL);
  CHECK(ks_listen(engine, NULL, &listener) == KS_ERR_USAGE && strstr(ks_last_error(), "address") != NULL);
  CHECK(ks_listen(engine, "127.0.0.1:0", NULL) == KS_ERR_USAGE && strstr(ks_last_error(), "listener") != NULL);
  CHECK(ks_listener_places(NULL, &places) == KS_ERR_USAGE && places == NULL);
  ks_listener_close(NULL);
}

int main(void) {
  ks_engine *engine = NULL;
  CHECK(ks_open(NULL, &engine) == KS_OK);
  CHECK(ks_set(engine, 0, "k", 1, "v", 1, 0, 0) == KS_OK);
  listens_by_tcp(engine);
  listens_at_a_path(engine);
  refuses(engine);
  ks_close(engine);
  printf("%d passed, %d failed\n", passed, failed);
  return failed != 0;
}
