/* Records what a process does to the files below a folder: every change, every sync, every byte. The test loads it before the C library (LD_PRELOAD); what
 * a power loss may leave of it is the simulator's affair (disk.rs).
 *
 * Changes are made and recorded under one lock, so that the record has their order. A sync is two records: it covers what was recorded before the first. It
 * is not done, but takes a moment, in which others go on. Memory that is mapped for writing is compared with a copy at each record, so it is known as of each.
 *
 * A record: kind (u8) | nanoseconds (u64) | a (u64) | b (u64) | length (u32) | bytes. What can't be recorded ends the process. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum { CREATED = 1, WRITTEN, RESIZED, SYNCING, SYNCED, RENAMED, REMOVED, FOLDER_MADE, FOLDER_SYNCING, MAPPED, NOTED, FOUND };
enum { DESCRIPTORS = 4096, FILES = 65536, MAPS = 64, SECTOR = 512 };

struct file { int id; int is_folder; int is_notes; char path[512]; };
struct map { char *start; char *copy; size_t length; int id; };

static pthread_mutex_t lock = PTHREAD_RECURSIVE_MUTEX_INITIALIZER_NP;
static struct file *open_files[DESCRIPTORS];
static struct { ino_t inode; int id; } known[FILES];
static struct map maps[MAPS];
static int files, syncs, out = -1;
static const char *root, *notes;
static size_t root_length;
static char buffer[1 << 20];
static size_t buffered;


static void fail(const char *what) {
    dprintf(2, "recorder: %s can't be recorded\n", what);
    abort();
}

static void put(const void *bytes, size_t length) {
    for (size_t done = 0; done < length;) {
        if (buffered == sizeof buffer) {
            for (size_t sent = 0; sent < buffered;) {
                ssize_t now = syscall(SYS_write, out, buffer + sent, buffered - sent);
                if (now <= 0) fail("this");
                sent += (size_t)now;
            }
            buffered = 0;
        }
        size_t now = sizeof buffer - buffered;
        if (now > length - done) now = length - done;
        memcpy(buffer + buffered, (const char *)bytes + done, now);
        buffered += now;
        done += now;
    }
}

static void record_only(uint8_t kind, uint64_t a, uint64_t b, const void *bytes, uint32_t length) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    uint64_t numbers[3] = {(uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec, a, b};
    put(&kind, 1);
    put(numbers, sizeof numbers);
    put(&length, 4);
    put(bytes, length);
}

/* What of mapped memory has changed since the last look. */
static void sample(void) {
    for (int i = 0; i < MAPS; i++) {
        struct map *map = &maps[i];
        for (size_t at = 0; map->start && at < map->length; at += 4096) {
            size_t page = map->length - at < 4096 ? map->length - at : 4096;
            if (!memcmp(map->start + at, map->copy + at, page)) continue;
            for (size_t sector = at; sector < at + page; sector += SECTOR) {
                size_t length = map->length - sector < SECTOR ? map->length - sector : SECTOR;
                if (!memcmp(map->start + sector, map->copy + sector, length)) continue;
                memcpy(map->copy + sector, map->start + sector, length);
                record_only(MAPPED, (uint64_t)map->id, sector, map->copy + sector, (uint32_t)length);
            }
        }
    }
}

static void record(uint8_t kind, uint64_t a, uint64_t b, const void *bytes, size_t length) {
    sample();
    if (length > UINT32_MAX) fail("so long a write");
    record_only(kind, a, b, bytes, (uint32_t)length);
}

__attribute__((constructor)) static void begin(void) {
    root = getenv("KEYSTEAD_RECORDED_FOLDER");
    notes = getenv("KEYSTEAD_RECORDED_NOTES");
    const char *path = getenv("KEYSTEAD_RECORD");
    if (!root || !notes || !path) fail("without names");
    root_length = strlen(root);
    out = (int)syscall(SYS_openat, AT_FDCWD, path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (out < 0) fail("here");
}

__attribute__((destructor)) static void end(void) {
    pthread_mutex_lock(&lock);
    sample();
    size_t left = buffered;
    for (size_t sent = 0; sent < left;) {
        ssize_t now = syscall(SYS_write, out, buffer + sent, left - sent);
        if (now <= 0) fail("this");
        sent += (size_t)now;
    }
    buffered = 0;
    pthread_mutex_unlock(&lock);
}

static int is_watched(const char *path) {
    return root && !strncmp(path, root, root_length) && (path[root_length] == '/' || !path[root_length]);
}

/* The number of a file; a new one if it was just made, or was there before the record began. */
static int number(const char *path, const struct stat *found, int is_new) {
    int at = -1;
    for (int i = 0; i < files && at < 0; i++)
        if (known[i].inode == found->st_ino) at = i;
    if (at >= 0 && !is_new) return known[at].id;
    if (at < 0) at = files;
    static int last;
    if (files == FILES) fail("so many files");
    if (at == files) files++;
    known[at].inode = found->st_ino;
    known[at].id = ++last;
    if (!is_new) record(FOUND, (uint64_t)last, 0, path, strlen(path));
    return last;
}

static int open_file(int folder, const char *path, int flags, mode_t mode) {
    /* Paths relative to a folder are no files of an engine. */
    int is_notes = notes && !strcmp(path, notes);
    if (!is_notes && !is_watched(path)) return (int)syscall(SYS_openat, folder, path, flags, mode);
    pthread_mutex_lock(&lock);
    struct stat found;
    int was_there = !stat(path, &found);
    int fd = (int)syscall(SYS_openat, folder, path, flags, mode);
    int failed = errno;
    if (fd >= DESCRIPTORS) fail("so many descriptors");
    if (fd >= 0 && (is_notes || !fstat(fd, &found))) {
        struct file *file = calloc(1, sizeof *file);
        snprintf(file->path, sizeof file->path, "%s", path);
        file->is_notes = is_notes;
        if (!is_notes) {
            file->is_folder = S_ISDIR(found.st_mode);
            if (!file->is_folder) {
                file->id = number(path, &found, !was_there);
                if (!was_there) record(CREATED, (uint64_t)file->id, 0, path, strlen(path));
                else if (flags & O_TRUNC) record(RESIZED, (uint64_t)file->id, 0, "", 0);
            }
        }
        open_files[fd] = file;
    }
    pthread_mutex_unlock(&lock);
    errno = failed;
    return fd;
}

#define MODE(flags) \
    mode_t mode = 0; \
    if ((flags) & (O_CREAT | O_TMPFILE)) { va_list more; va_start(more, flags); mode = va_arg(more, mode_t); va_end(more); }

int open(const char *path, int flags, ...) { MODE(flags) return open_file(AT_FDCWD, path, flags, mode); }
int open64(const char *path, int flags, ...) { MODE(flags) return open_file(AT_FDCWD, path, flags, mode); }
int openat(int folder, const char *path, int flags, ...) { MODE(flags) return open_file(folder, path, flags, mode); }
int openat64(int folder, const char *path, int flags, ...) { MODE(flags) return open_file(folder, path, flags, mode); }

static struct file *of(int fd) { return fd >= 0 && fd < DESCRIPTORS ? open_files[fd] : NULL; }

int close(int fd) {
    pthread_mutex_lock(&lock);
    if (of(fd)) {
        free(open_files[fd]);
        open_files[fd] = NULL;
    }
    int result = (int)syscall(SYS_close, fd);
    pthread_mutex_unlock(&lock);
    return result;
}

static int control(int fd, int command, long argument) {
    pthread_mutex_lock(&lock);
    int result = (int)syscall(SYS_fcntl, fd, command, argument);
    if (result >= 0 && of(fd) && (command == F_DUPFD || command == F_DUPFD_CLOEXEC)) {
        if (result >= DESCRIPTORS) fail("so many descriptors");
        open_files[result] = malloc(sizeof(struct file));
        *open_files[result] = *of(fd);
    }
    pthread_mutex_unlock(&lock);
    return result;
}

#define ARGUMENT(last) va_list more; va_start(more, last); long argument = va_arg(more, long); va_end(more);
int fcntl(int fd, int command, ...) { ARGUMENT(command) return control(fd, command, argument); }
int fcntl64(int fd, int command, ...) { ARGUMENT(command) return control(fd, command, argument); }

/* `offset` -1: where the file stands, or at its end. */
static ssize_t write_file(int fd, const void *bytes, size_t length, off_t offset) {
    pthread_mutex_lock(&lock);
    struct file *file = of(fd);
    ssize_t result;
    if (file && file->is_notes) {
        record(NOTED, 0, 0, bytes, length);
        result = (ssize_t)length;
    } else {
        off_t at = offset;
        if (file && at < 0) {
            struct stat found;
            int is_appending = (int)syscall(SYS_fcntl, fd, F_GETFL, 0) & O_APPEND;
            if (is_appending) fstat(fd, &found);
            at = is_appending ? found.st_size : lseek(fd, 0, SEEK_CUR);
        }
        result = offset < 0 ? syscall(SYS_write, fd, bytes, length) : syscall(SYS_pwrite64, fd, bytes, length, offset);
        if (file && result > 0) record(WRITTEN, (uint64_t)file->id, (uint64_t)at, bytes, (size_t)result);
    }
    pthread_mutex_unlock(&lock);
    return result;
}

ssize_t write(int fd, const void *bytes, size_t length) {
    return of(fd) ? write_file(fd, bytes, length, -1) : syscall(SYS_write, fd, bytes, length);
}
ssize_t pwrite(int fd, const void *bytes, size_t length, off_t offset) { return write_file(fd, bytes, length, offset); }
ssize_t pwrite64(int fd, const void *bytes, size_t length, off64_t offset) { return write_file(fd, bytes, length, offset); }
ssize_t writev(int fd, const struct iovec *parts, int count) {
    if (!of(fd)) return syscall(SYS_writev, fd, parts, count);
    /* Fewer bytes than asked for may be written. */
    return count ? write_file(fd, parts[0].iov_base, parts[0].iov_len, -1) : 0;
}

static int resize(int fd, off_t length) {
    pthread_mutex_lock(&lock);
    int result = (int)syscall(SYS_ftruncate, fd, length);
    if (!result && of(fd)) record(RESIZED, (uint64_t)of(fd)->id, (uint64_t)length, "", 0);
    pthread_mutex_unlock(&lock);
    return result;
}
int ftruncate(int fd, off_t length) { return resize(fd, length); }
int ftruncate64(int fd, off64_t length) { return resize(fd, length); }

static int sync_file(uint8_t kind, int id, const char *path) {
    pthread_mutex_lock(&lock);
    int token = ++syncs;
    record(kind, (uint64_t)token, (uint64_t)id, path, strlen(path));
    pthread_mutex_unlock(&lock);
    usleep(token % 4 * 300);
    pthread_mutex_lock(&lock);
    record(SYNCED, (uint64_t)token, 0, "", 0);
    pthread_mutex_unlock(&lock);
    return 0;
}
int fsync(int fd) {
    struct file *file = of(fd);
    if (!file) return (int)syscall(SYS_fsync, fd);
    return sync_file(file->is_folder ? FOLDER_SYNCING : SYNCING, file->id, file->path);
}
int fdatasync(int fd) { return fsync(fd); }
int msync(void *start, size_t length, int flags) {
    for (int i = 0; i < MAPS; i++)
        if (maps[i].start && (char *)start >= maps[i].start && (char *)start < maps[i].start + maps[i].length)
            return flags & MS_SYNC ? sync_file(SYNCING, maps[i].id, "") : 0;
    return (int)syscall(SYS_msync, start, length, flags);
}
int sync_file_range(int fd, off64_t offset, off64_t length, unsigned flags) {
    return of(fd) ? 0 : (int)syscall(SYS_sync_file_range, fd, offset, length, flags);
}

/* Two paths stand one behind the other, `a` is the length of the first. */
int rename(const char *from, const char *to) {
    pthread_mutex_lock(&lock);
    int result = (int)syscall(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, 0);
    if (!result && (is_watched(from) || is_watched(to))) {
        char both[2 * PATH_MAX];
        size_t length = strlen(from);
        snprintf(both, sizeof both, "%s%s", from, to);
        record(RENAMED, length, 0, both, strlen(both));
    }
    pthread_mutex_unlock(&lock);
    return result;
}
static int removed(const char *path, int flags) {
    pthread_mutex_lock(&lock);
    int result = (int)syscall(SYS_unlinkat, AT_FDCWD, path, flags);
    if (!result && is_watched(path)) record(REMOVED, 0, 0, path, strlen(path));
    pthread_mutex_unlock(&lock);
    return result;
}
int unlink(const char *path) { return removed(path, 0); }
int rmdir(const char *path) { return removed(path, AT_REMOVEDIR); }
int mkdir(const char *path, mode_t mode) {
    pthread_mutex_lock(&lock);
    int result = (int)syscall(SYS_mkdirat, AT_FDCWD, path, mode);
    if (!result && is_watched(path)) record(FOLDER_MADE, 0, 0, path, strlen(path));
    pthread_mutex_unlock(&lock);
    return result;
}

static void *map_file(void *start, size_t length, int protection, int flags, int fd, off_t offset) {
    void *result = (void *)syscall(SYS_mmap, start, length, protection, flags, fd, offset);
    if (result == MAP_FAILED || !of(fd) || !(flags & MAP_SHARED) || !(protection & PROT_WRITE)) return result;
    if (offset) fail("a part of a file that is mapped");
    pthread_mutex_lock(&lock);
    int i = 0;
    while (i < MAPS && maps[i].start) i++;
    if (i == MAPS) fail("so many maps");
    char *copy = malloc(length);
    memcpy(copy, result, length);
    maps[i] = (struct map){result, copy, length, of(fd)->id};
    pthread_mutex_unlock(&lock);
    return result;
}
void *mmap(void *start, size_t length, int protection, int flags, int fd, off_t offset) {
    return map_file(start, length, protection, flags, fd, offset);
}
void *mmap64(void *start, size_t length, int protection, int flags, int fd, off64_t offset) {
    return map_file(start, length, protection, flags, fd, offset);
}
int munmap(void *start, size_t length) {
    for (int i = 0; i < MAPS; i++) {
        if (maps[i].start != start) continue;
        pthread_mutex_lock(&lock);
        sample();
        free(maps[i].copy);
        maps[i] = (struct map){0};
        pthread_mutex_unlock(&lock);
    }
    return (int)syscall(SYS_munmap, start, length);
}

#define UNKNOWN(name) if (of(fd)) fail(name)
int fallocate(int fd, int mode, off_t offset, off_t length) {
    UNKNOWN("fallocate");
    return (int)syscall(SYS_fallocate, fd, mode, offset, length);
}
int fallocate64(int fd, int mode, off64_t offset, off64_t length) { return fallocate(fd, mode, offset, length); }
int posix_fallocate(int fd, off_t offset, off_t length) {
    if (!of(fd)) return fallocate(fd, 0, offset, length) ? errno : 0;
    struct stat found;
    fstat(fd, &found);
    return offset + length > found.st_size && resize(fd, offset + length) ? errno : 0;
}
int posix_fallocate64(int fd, off64_t offset, off64_t length) { return posix_fallocate(fd, offset, length); }
ssize_t copy_file_range(int from, off64_t *read, int fd, off64_t *written, size_t length, unsigned flags) {
    UNKNOWN("copy_file_range");
    return syscall(SYS_copy_file_range, from, read, fd, written, length, flags);
}
ssize_t sendfile(int fd, int from, off_t *offset, size_t length) {
    UNKNOWN("sendfile");
    return syscall(SYS_sendfile, fd, from, offset, length);
}
ssize_t sendfile64(int fd, int from, off64_t *offset, size_t length) { return sendfile(fd, from, offset, length); }
