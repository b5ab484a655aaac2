/* The part of keystead.h that is written in C: commands as formats, since a function with `...` can't be written in Rust.
 * `cargo xtask gen` puts what follows this comment into the header. */

/* The words of a command under construction; of ks_vcommand alone, as all that begins with ks_argv_ or ks_word_. */
struct ks_argv {
  size_t count;
  char **words;
  size_t *lengths;
};

/* A word that grows. */
struct ks_word {
  char *bytes;
  size_t length;
  size_t capacity;
};

static inline enum ks_status ks_argv_no_memory(void) {
  return ks_set_last_error(KS_ERR_OOM, "OOM the system has no memory for the command");
}

static inline enum ks_status ks_argv_wrong(const char *text) {
  return ks_set_last_error(KS_ERR_USAGE, text);
}

static inline enum ks_status ks_argv_add(struct ks_argv *argv, const struct ks_word *word) {
  size_t count = argv->count + 1;
  char **words = (char **)realloc(argv->words, count * sizeof *words);
  size_t *lengths;
  if (words == NULL) return ks_argv_no_memory();
  argv->words = words;
  lengths = (size_t *)realloc(argv->lengths, count * sizeof *lengths);
  if (lengths == NULL) return ks_argv_no_memory();
  argv->lengths = lengths;
  words[argv->count] = (char *)malloc(word->length + 1);
  if (words[argv->count] == NULL) return ks_argv_no_memory();
  if (word->length > 0) memcpy(words[argv->count], word->bytes, word->length);
  words[argv->count][word->length] = 0;
  lengths[argv->count] = word->length;
  argv->count = count;
  return KS_OK;
}

static inline enum ks_status ks_word_add(struct ks_word *word, const char *bytes, size_t length) {
  if (length == 0) return KS_OK;
  if (bytes == NULL) return ks_argv_wrong("ERR a value of the command is a null pointer");
  if (length > SIZE_MAX / 4 - word->length) return ks_argv_no_memory();
  if (word->length + length > word->capacity) {
    size_t capacity = 2 * (word->length + length) + 16;
    char *larger = (char *)realloc(word->bytes, capacity);
    if (larger == NULL) return ks_argv_no_memory();
    word->bytes = larger;
    word->capacity = capacity;
  }
  memcpy(word->bytes + word->length, bytes, length);
  word->length += length;
  return KS_OK;
}

static inline enum ks_status ks_word_add_integer(struct ks_word *word, long long value) {
  char text[32];
  int length = snprintf(text, sizeof text, "%lld", value);
  return ks_word_add(word, text, (size_t)length);
}

static inline enum ks_status ks_word_add_unsigned(struct ks_word *word, unsigned long long value) {
  char text[32];
  int length = snprintf(text, sizeof text, "%llu", value);
  return ks_word_add(word, text, (size_t)length);
}

/* As many digits as tell the number from all others, with a point whatever the locale says. */
static inline enum ks_status ks_word_add_double(struct ks_word *word, double value) {
  char text[64];
  int at, length = snprintf(text, sizeof text, "%.17g", value);
  for (at = 0; at < length; at++) {
    char byte = text[at];
    int is_point = !(byte >= '0' && byte <= '9') && !(byte >= 'a' && byte <= 'z') && byte != '-' && byte != '+';
    if (is_point) text[at] = '.';
  }
  return ks_word_add(word, text, (size_t)length);
}

/* As ks_command, with the values in a va_list. */
static inline ks_reply *ks_vcommand(ks_session *session, const char *format, va_list values) {
  struct ks_argv argv = {0, NULL, NULL};
  struct ks_word word = {NULL, 0, 0};
  ks_reply *reply = NULL;
  enum ks_status status = KS_OK;
  int is_open = 0;
  size_t at;
  if (format == NULL) {
    ks_argv_wrong("ERR the format is a null pointer");
    return NULL;
  }
  for (at = 0; status == KS_OK && format[at] != 0; at++) {
    if (format[at] == ' ') {
      if (is_open) status = ks_argv_add(&argv, &word);
      word.length = 0;
      is_open = 0;
      continue;
    }
    is_open = 1;
    if (format[at] != '%') {
      status = ks_word_add(&word, &format[at], 1);
      continue;
    }
    at++;
    switch (format[at]) {
      case 's': {
        const char *text = va_arg(values, const char *);
        status = text == NULL ? ks_word_add(&word, NULL, 1) : ks_word_add(&word, text, strlen(text));
        break;
      }
      case 'b': {
        const char *bytes = va_arg(values, const char *);
        size_t length = va_arg(values, size_t);
        status = ks_word_add(&word, bytes, length);
        break;
      }
      case 'd':
      case 'i':
        status = ks_word_add_integer(&word, va_arg(values, int));
        break;
      case 'u':
        status = ks_word_add_unsigned(&word, va_arg(values, unsigned));
        break;
      case 'f':
      case 'g':
        status = ks_word_add_double(&word, va_arg(values, double));
        break;
      case 'l':
        at++;
        if (format[at] == 'd') {
          status = ks_word_add_integer(&word, va_arg(values, long));
        } else if (format[at] == 'u') {
          status = ks_word_add_unsigned(&word, va_arg(values, unsigned long));
        } else if (format[at] == 'l' && format[at + 1] == 'd') {
          at++;
          status = ks_word_add_integer(&word, va_arg(values, long long));
        } else if (format[at] == 'l' && format[at + 1] == 'u') {
          at++;
          status = ks_word_add_unsigned(&word, va_arg(values, unsigned long long));
        } else {
          status = ks_argv_wrong("ERR the format has a %l without d, u, ld or lu behind it");
        }
        break;
      case 'z':
        at++;
        if (format[at] == 'u') {
          status = ks_word_add_unsigned(&word, va_arg(values, size_t));
        } else {
          status = ks_argv_wrong("ERR the format has a %z without u behind it");
        }
        break;
      case '%':
        status = ks_word_add(&word, "%", 1);
        break;
      default:
        status = ks_argv_wrong("ERR the format has a % with a letter that ks_command does not know");
    }
  }
  if (status == KS_OK && is_open) status = ks_argv_add(&argv, &word);
  if (status == KS_OK) {
    /* Without words there is no array either. */
    const char *const *words = (const char *const *)argv.words;
    reply = ks_command_argv(session, argv.count, words, argv.lengths);
  }
  for (at = 0; at < argv.count; at++) free(argv.words[at]);
  free(argv.words);
  free(argv.lengths);
  free(word.bytes);
  return reply;
}

/* Executes a command given as a format, in hiredis's manner: words are separated by spaces, and may hold %s (a string), %b (bytes and
 * their size_t), %d %i %u %ld %lu %lld %llu %zu, %f %g and %%. A value never splits a word, whatever it holds.
 *
 * Returns the reply, to be freed with ks_free_reply, or NULL: the format or a value is wrong or there is no memory, as ks_last_error() tells. */
static inline ks_reply *ks_command(ks_session *session, const char *format, ...) {
  va_list values;
  ks_reply *reply;
  va_start(values, format);
  reply = ks_vcommand(session, format, values);
  va_end(values);
  return reply;
}
