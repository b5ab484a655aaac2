/* A file digest service: answers "what is the digest of this file?" for the C headers of this machine, as a build tool
 * would ask again and again, first from disk every time, then with Keystead in front.
 *
 * Digests stay for a minute, so a changed file is noticed after that. */
#define _POSIX_C_SOURCE 200809L
#include <dirent.h>
#include <keystead.h>
#include <time.h>

#define REQUESTS 20000
#define MOST_FILES 400

static char *files[MOST_FILES];
static size_t file_count;

static double now_ms(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (double)time.tv_sec * 1e3 + (double)time.tv_nsec / 1e6;
}

static void find_headers(const char *folder) {
  DIR *directory = opendir(folder);
  struct dirent *found;
  if (directory == NULL) return;
  while (file_count < MOST_FILES && (found = readdir(directory)) != NULL) {
    size_t length = strlen(found->d_name);
    if (length > 2 && strcmp(found->d_name + length - 2, ".h") == 0) {
      char *path = malloc(strlen(folder) + length + 2);
      if (path == NULL) break;
      sprintf(path, "%s/%s", folder, found->d_name);
      files[file_count++] = path;
    }
  }
  closedir(directory);
}

/* FNV-1a over the whole file, read from disk. */
static int digest(const char *path, char text[17]) {
  unsigned long long hash = 14695981039346656037ULL;
  unsigned char bytes[4096];
  size_t count, at;
  FILE *file = fopen(path, "rb");
  if (file == NULL) return 0;
  while ((count = fread(bytes, 1, sizeof bytes, file)) > 0) {
    for (at = 0; at < count; at++) hash = (hash ^ bytes[at]) * 1099511628211ULL;
  }
  fclose(file);
  snprintf(text, 17, "%016llx", hash);
  return 1;
}

/* The same through the cache. */
static int cached_digest(ks_engine *engine, const char *path, char text[17], size_t *hits) {
  size_t length;
  if (ks_get(engine, 0, path, strlen(path), text, 16, &length) == KS_OK) {
    text[16] = 0;
    ++*hits;
    return 1;
  }
  return digest(path, text) && ks_set(engine, 0, path, strlen(path), text, 16, 60000, 0) == KS_OK;
}

static int by_time(const void *one, const void *other) {
  double difference = *(const double *)one - *(const double *)other;
  return (difference > 0) - (difference < 0);
}

int main(void) {
  static double without[REQUESTS], with[REQUESTS];
  const char *folders[] = {"/usr/include", "/usr/include/linux", "../../include"};
  ks_engine *engine = NULL;
  ks_session *session = NULL;
  ks_reply *keys;
  size_t request, hits = 0, at;
  unsigned state = 1;

  for (at = 0; at < sizeof folders / sizeof *folders; at++) find_headers(folders[at]);
  if (file_count == 0 || ks_open(NULL, &engine) != KS_OK || ks_session_open(engine, &session) != KS_OK) {
    fprintf(stderr, "no headers found, or no engine: %s\n", ks_last_error());
    return 1;
  }
  for (request = 0; request < REQUESTS; request++) {
    char fresh[17], cached[17];
    double start, middle;
    /* Squared, so that some headers are asked for more often than others. */
    state = state * 1103515245u + 12345u;
    at = (size_t)((state >> 16) % 1000);
    at = at * at * file_count / 1000000;
    start = now_ms();
    if (!digest(files[at], fresh)) return 1;
    middle = now_ms();
    if (!cached_digest(engine, files[at], cached, &hits) || strcmp(fresh, cached) != 0) return 1;
    without[request] = middle - start;
    with[request] = now_ms() - middle;
  }
  qsort(without, REQUESTS, sizeof *without, by_time);
  qsort(with, REQUESTS, sizeof *with, by_time);
  keys = ks_command(session, "DBSIZE");
  printf("%zu headers, %lld digests cached\n", file_count, keys != NULL ? (long long)keys->integer : -1);
  ks_free_reply(keys);
  printf("DEMO {\"scenario\": \"digest of a C header\", \"requests\": %d, \"hit_rate\": %.3f, \"p50_ms\": %.5f, "
         "\"p99_ms\": %.5f, \"p50_without_ms\": %.5f, \"p99_without_ms\": %.5f}\n",
         REQUESTS, (double)hits / REQUESTS, with[REQUESTS / 2], with[REQUESTS * 99 / 100], without[REQUESTS / 2],
         without[REQUESTS * 99 / 100]);
  for (at = 0; at < file_count; at++) free(files[at]);
  ks_session_close(session);
  ks_close(engine);
  return 0;
}
