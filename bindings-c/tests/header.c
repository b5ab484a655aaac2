/* The header can be included twice, in C and in C++, and declares everything that it promises. Compiled in every language of both; run in one. */
#include <keystead.h>
#include <keystead.h>

int main(void) {
  ks_engine *engine = NULL;
  ks_session *session = NULL;
  ks_options options;
  ks_reply *reply;
  char buffer[8];
  size_t length;
  int is_right;
  memset(&options, 0, sizeof options);
  options.size = sizeof options;
  if (ks_open(&options, &engine) != KS_OK || ks_session_open(engine, &session) != KS_OK) return 1;
  reply = ks_command(session, "SET %s %b", "key", "value", (size_t)5);
  is_right = reply != NULL && reply->type_ == KS_REPLY_STATUS;
  ks_free_reply(reply);
  is_right = is_right && ks_get(engine, 0, "key", 3, buffer, sizeof buffer, &length) == KS_OK && length == 5;
  ks_session_close(session);
  ks_close(engine);
  return !is_right;
}
