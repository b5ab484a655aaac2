/* Tests of engines with a folder: reopening, one process at a time, snapshots, and kills at any moment under each `appendfsync`.
 * Other processes are this program again: `persistence opener FOLDER`, `persistence writer FOLDER POLICY`. */
#define _XOPEN_SOURCE 700
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <keystead.h>
#include <pthread.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static int passed, failed;
static const char *program;

static void check(int holds, const char *what, const char *when, int line) {
  if (holds) {
    passed++;
  } else {
    failed++;
    fprintf(stderr, "line %d%s: %s (last error: %s)\n", line, when, what, ks_last_error());
  }
}

#define CHECK(condition) check((condition), #condition, "", __LINE__)

/* What hangs longer than any machine takes, in milliseconds. */
#define HANGS 120000

static void pause_ms(long milliseconds) {
  struct timespec time = {milliseconds / 1000, milliseconds % 1000 * 1000000};
  nanosleep(&time, NULL);
}

static void give_up(const char *step) {
  fprintf(stderr, "%s failed: %s (last error: %s)\n", step, strerror(errno), ks_last_error());
  exit(1);
}

static void path_in(char *path, const char *folder, const char *name) {
  if (snprintf(path, 256, "%s/%s", folder, name) >= 256) give_up("joining a path");
}

static ks_status open_with(const char *folder, const char *config, ks_engine **engine) {
  char path[256];
  ks_options options;
  memset(&options, 0, sizeof options);
  options.size = sizeof options;
  path_in(path, folder, "app.ks");
  options.path = path;
  options.config = config;
  return ks_open(&options, engine);
}

static ks_status open_in(const char *folder, ks_engine **engine) {
  return open_with(folder, NULL, engine);
}

/* The number of a key; -1 if it has none. */
static long long number_of(const ks_engine *engine, const char *key) {
  char text[32] = {0};
  size_t length = 0;
  if (ks_get(engine, 0, key, strlen(key), text, sizeof text - 1, &length) != KS_OK) return -1;
  return strtoll(text, NULL, 10);
}

static ks_status set(const ks_engine *engine, const char *key, const char *value) {
  return ks_set(engine, 0, key, strlen(key), value, strlen(value), 0, 0);
}

static size_t notes_of(const ks_engine *engine, const char *expected) {
  ks_reply *notes = NULL;
  size_t count;
  CHECK(ks_opening_notes(engine, &notes) == KS_OK && notes != NULL && notes->type_ == KS_REPLY_ARRAY);
  count = notes->elements;
  if (expected != NULL) CHECK(count == 1 && notes->element[0]->type_ == KS_REPLY_STRING && strstr(notes->element[0]->str, expected) != NULL);
  ks_free_reply(notes);
  return count;
}

/* Starts this program again, with what it says in a file of the folder. */
static pid_t start(const char *role, const char *folder, const char *policy) {
  char said[256];
  pid_t child = fork();
  if (child < 0) give_up("fork");
  if (child > 0) return child;
  path_in(said, folder, "said");
  if (freopen(said, "w", stdout) == NULL || dup2(STDOUT_FILENO, STDERR_FILENO) < 0) _exit(100);
  execl(program, program, role, folder, policy, (char *)NULL);
  _exit(101);
}

/* What a process said. */
static const char *said_in(const char *folder) {
  static char text[1024];
  char path[256];
  size_t length = 0;
  FILE *file;
  path_in(path, folder, "said");
  file = fopen(path, "r");
  if (file != NULL) {
    length = fread(text, 1, sizeof text - 1, file);
    fclose(file);
  }
  text[length] = 0;
  return text;
}

/* The status that a process ends with. */
static int end_of(pid_t child) {
  int status = 0;
  while (waitpid(child, &status, 0) < 0) {
    if (errno != EINTR) give_up("waitpid");
  }
  return status;
}

static void reopening(const char *folder) {
  ks_engine *one = NULL, *other = NULL;
  CHECK(open_in(folder, &one) == KS_OK && notes_of(one, NULL) == 0);
  CHECK(set(one, "k", "7") == KS_OK && ks_expire(one, 0, "k", 1, 1000000) == KS_OK);
  CHECK(open_in(folder, &other) == KS_OK && number_of(other, "k") == 7);
  ks_close(one);
  CHECK(set(other, "later", "8") == KS_OK);
  ks_close(other);
  CHECK(open_in(folder, &one) == KS_OK);
  CHECK(number_of(one, "k") == 7 && number_of(one, "later") == 8 && notes_of(one, NULL) == 0);
  ks_close(one);
}

static void places(const char *folder) {
  char path[256];
  ks_engine *engine = NULL;
  FILE *file;
  path_in(path, folder, "file");
  file = fopen(path, "w");
  if (file == NULL) give_up("making a file");
  fclose(file);
  CHECK(open_in(path, &engine) == KS_ERR_IO && engine == NULL && strstr(ks_last_error(), "Not a directory") != NULL);
  path_in(path, folder, "none");
  CHECK(open_in(path, &engine) == KS_ERR_IO && engine == NULL && strstr(ks_last_error(), path) != NULL);
}

/* Opens the folder in another process, and says how that went. */
static int opener(const char *folder) {
  ks_engine *engine = NULL;
  ks_status status = open_in(folder, &engine);
  printf("%d %s", (int)status, status == KS_OK ? "" : ks_last_error());
  if (status == KS_OK) status = set(engine, "opener", "1");
  ks_close(engine);
  return status != KS_OK;
}

static void one_process(const char *folder) {
  char holder[64], expected[64];
  ks_engine *engine = NULL;
  CHECK(open_in(folder, &engine) == KS_OK);
  snprintf(holder, sizeof holder, "is in use by process %ld (", (long)getpid());
  snprintf(expected, sizeof expected, "%d ", (int)KS_ERR_IO);
  CHECK(end_of(start("opener", folder, "")) == 1 << 8);
  CHECK(strncmp(said_in(folder), expected, strlen(expected)) == 0 && strstr(said_in(folder), holder) != NULL);
  /* The other did no harm, and takes its turn. */
  CHECK(set(engine, "k", "9") == KS_OK);
  ks_close(engine);
  CHECK(end_of(start("opener", folder, "")) == 0);
  CHECK(open_in(folder, &engine) == KS_OK && number_of(engine, "k") == 9 && number_of(engine, "opener") == 1);
  ks_close(engine);
}

/* Changes a byte in the middle of a file. */
static void damage(const char *path) {
  char byte;
  int file = open(path, O_RDWR);
  off_t middle = lseek(file, 0, SEEK_END) / 2;
  if (file < 0 || pread(file, &byte, 1, middle) != 1) give_up("reading what is to be damaged");
  byte ^= 1;
  if (pwrite(file, &byte, 1, middle) != 1 || close(file) != 0) give_up("damaging a file");
}

static void snapshots(const char *folder) {
  char file[256], missing[256];
  ks_engine *engine = NULL, *own = NULL;
  path_in(file, folder, "copy.rdb");
  path_in(missing, folder, "none/copy.rdb");
  CHECK(open_in(folder, &engine) == KS_OK);
  CHECK(set(engine, "n", "1") == KS_OK && ks_snapshot(engine, file) == KS_OK);
  CHECK(set(engine, "n", "2") == KS_OK && set(engine, "new", "1") == KS_OK);
  CHECK(ks_restore(engine, file) == KS_OK && number_of(engine, "n") == 1 && number_of(engine, "new") == -1);
  CHECK(set(engine, "after", "3") == KS_OK);
  ks_close(engine);
  CHECK(open_in(folder, &engine) == KS_OK);
  CHECK(number_of(engine, "n") == 1 && number_of(engine, "new") == -1 && number_of(engine, "after") == 3);
  CHECK(ks_open(NULL, &own) == KS_OK && ks_restore(own, file) == KS_OK && number_of(own, "n") == 1);
  ks_close(own);

  damage(file);
  CHECK(ks_restore(engine, file) == KS_ERR_IO && number_of(engine, "n") == 1 && number_of(engine, "after") == 3);
  CHECK(ks_restore(engine, missing) == KS_ERR_IO && strstr(ks_last_error(), "No such file") != NULL);
  CHECK(ks_snapshot(engine, missing) == KS_ERR_IO && strstr(ks_last_error(), "No such file") != NULL);
  CHECK(number_of(engine, "n") == 1 && set(engine, "n", "4") == KS_OK);
  ks_close(engine);
  CHECK(open_in(folder, &engine) == KS_OK && number_of(engine, "n") == 4 && number_of(engine, "after") == 3);
  ks_close(engine);
}

/* The file of the log that is written last. */
static char last_file[256];

static int note_last(const char *path, const struct stat *about, int kind, struct FTW *place) {
  size_t length = strlen(path);
  (void)about, (void)kind, (void)place;
  if (length > 9 && length < sizeof last_file && strcmp(path + length - 9, ".incr.aof") == 0) strcpy(last_file, path);
  return 0;
}

static void notes(const char *folder) {
  ks_engine *engine = NULL;
  FILE *file;
  CHECK(open_in(folder, &engine) == KS_OK && set(engine, "k", "1") == KS_OK);
  ks_close(engine);
  nftw(folder, note_last, 8, FTW_PHYS);
  file = fopen(last_file, "a");
  if (file == NULL || fputs("*3\r\n$3\r\nSET\r\n$1", file) < 0 || fclose(file) != 0) give_up("writing half a command");
  CHECK(open_in(folder, &engine) == KS_OK && notes_of(engine, "The last 15 bytes") == 1 && number_of(engine, "k") == 1);
  ks_close(engine);
}

#define THREADS 2

/* A thread of the process that is killed. */
struct writer {
  ks_engine *engine;
  int thread, notes;
};

_Noreturn static void write_on(const struct writer *own) {
  ks_session *session = NULL;
  char count[16];
  int64_t round;
  snprintf(count, sizeof count, "count:%d", own->thread);
  if (ks_session_open(own->engine, &session) != KS_OK) give_up("opening a session");
  for (round = number_of(own->engine, count) + 1;; round++) {
    int64_t sum = 0;
    ks_reply *reply;
    if (round == 0) round = 1;
    reply = ks_command(session, "RPUSH list:%d %lld", own->thread, (long long)round);
    if (reply == NULL || reply->type_ != KS_REPLY_INTEGER) give_up("RPUSH");
    ks_free_reply(reply);
    if (ks_incr(own->engine, 0, count, strlen(count), 1, &sum) != KS_OK || sum != round) give_up("ks_incr");
    if (pwrite(own->notes, &round, sizeof round, own->thread * (off_t)sizeof round) != sizeof round) give_up("noting what was acknowledged");
    /* All of it is loaded again under valgrind. */
    if (round % 16 == 0) pause_ms(1);
  }
}

static void *write_as(void *own) {
  write_on((const struct writer *)own);
}

/* Writes until it is killed. */
_Noreturn static void writer(const char *folder, const char *policy) {
  char config[64], path[256];
  struct writer all[THREADS];
  pthread_t threads[THREADS];
  ks_engine *engine = NULL;
  ks_session *session = NULL;
  int thread;
  snprintf(config, sizeof config, "appendfsync %s\n", policy);
  path_in(path, folder, "notes");
  if (open_with(folder, config, &engine) != KS_OK || ks_session_open(engine, &session) != KS_OK) give_up("opening in the child");
  for (thread = 0; thread < THREADS; thread++) {
    all[thread].engine = engine;
    all[thread].thread = thread;
    all[thread].notes = open(path, O_WRONLY);
    if (all[thread].notes < 0 || pthread_create(&threads[thread], NULL, write_as, &all[thread]) != 0) give_up("starting a writer");
  }
  for (;;) {
    ks_free_reply(ks_command(session, "BGREWRITEAOF"));
    pause_ms(15);
  }
}

static void read_notes(int notes, int64_t noted[THREADS]) {
  if (pread(notes, noted, THREADS * sizeof *noted, 0) != (ssize_t)(THREADS * sizeof *noted)) give_up("reading what was acknowledged");
}

/* Waits until every thread of the child has written, and kills it some time later. */
static void kill_in_time(pid_t child, const char *folder, int notes) {
  int64_t before[THREADS], now[THREADS];
  int thread, advanced = 0;
  long waited = 0;
  read_notes(notes, before);
  for (; advanced < THREADS; waited++) {
    int status = 0;
    pause_ms(1);
    read_notes(notes, now);
    for (advanced = 0, thread = 0; thread < THREADS; thread++) advanced += now[thread] > before[thread];
    if (waited > HANGS || waitpid(child, &status, WNOHANG) != 0) {
      fprintf(stderr, "the child does not write: %s\n", said_in(folder));
      kill(child, SIGKILL);
      exit(1);
    }
  }
  pause_ms(rand() % 60);
  kill(child, SIGKILL);
}

static void check_killed(const char *folder, const char *when, int notes) {
  int64_t noted[THREADS];
  ks_engine *engine = NULL;
  ks_session *session = NULL;
  int thread;
  read_notes(notes, noted);
  check(open_in(folder, &engine) == KS_OK && ks_session_open(engine, &session) == KS_OK, "what a kill leaves can be opened", when, __LINE__);
  if (session == NULL) exit(1);
  for (thread = 0; thread < THREADS; thread++) {
    char key[16];
    long long count, last = (long long)noted[thread];
    ks_reply *reply = ks_command(session, "LLEN list:%d", thread);
    snprintf(key, sizeof key, "count:%d", thread);
    count = number_of(engine, key);
    check(count == last || count == last + 1, "the counter is what was acknowledged, or one more", when, __LINE__);
    check(reply->integer == last || reply->integer == last + 1, "the list is what was acknowledged, or one more", when, __LINE__);
    check(reply->integer >= count, "what was written before the counter is there", when, __LINE__);
    ks_free_reply(reply);
    /* The next child goes on where this one had counted to. */
    ks_free_reply(ks_command(session, "LTRIM list:%d 0 %lld", thread, count - 1));
  }
  ks_session_close(session);
  ks_close(engine);
}

static void kills(const char *folder, const char *policy) {
  const int64_t none[THREADS] = {0};
  char path[256], when[64];
  int round, notes;
  path_in(path, folder, "notes");
  notes = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
  if (notes < 0 || pwrite(notes, none, sizeof none, 0) != sizeof none) give_up("making the notes");
  for (round = 0; round < 5; round++) {
    pid_t child = start("writer", folder, policy);
    int status;
    snprintf(when, sizeof when, " (%s, round %d)", policy, round);
    kill_in_time(child, folder, notes);
    status = end_of(child);
    check(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL && said_in(folder)[0] == 0, "the child writes until it is killed", when, __LINE__);
    check_killed(folder, when, notes);
  }
  close(notes);
}

static int remove_it(const char *path, const struct stat *about, int kind, struct FTW *place) {
  (void)about, (void)kind, (void)place;
  return remove(path);
}

int main(int count, char **words) {
  const char *const policies[] = {"everysec", "always", "no"};
  char top[] = "/tmp/keystead-c-XXXXXX", folder[256];
  void (*const tests[])(const char *) = {reopening, places, one_process, snapshots, notes};
  size_t at;
  if (count > 2 && strcmp(words[1], "opener") == 0) return opener(words[2]);
  if (count > 3 && strcmp(words[1], "writer") == 0) writer(words[2], words[3]);
  program = words[0];
  srand((unsigned)time(NULL));
  if (mkdtemp(top) == NULL) give_up("making a folder");
  for (at = 0; at < sizeof tests / sizeof *tests + sizeof policies / sizeof *policies; at++) {
    char name[16];
    snprintf(name, sizeof name, "%u", (unsigned)at);
    path_in(folder, top, name);
    if (mkdir(folder, 0700) != 0) give_up("making a folder");
    if (at < sizeof tests / sizeof *tests) {
      tests[at](folder);
    } else {
      kills(folder, policies[at - sizeof tests / sizeof *tests]);
    }
  }
  nftw(top, remove_it, 8, FTW_DEPTH | FTW_PHYS);
  printf("%d passed, %d failed\n", passed, failed);
  return failed != 0;
}
