/* Faults of the storage, for a program that is started with this library preloaded (Linux, glibc).

   Calls on regular files and folders under $FAULTS_UNDER are counted, from one on; those numbered `first` to `last`
   meet their fate: they fail with an errno, end the program as kill -9 does, or do half of what was asked. All other
   calls go through. The count lies in the file $FAULTS_STATE, which every process of a command has mapped, also one that
   is started by exec; it starts anew with `faults_arm`. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

enum kind { READ = 1, WRITE = 2, SYNC = 4, NAME = 8, SIZE = 16, MAKE = 32, COPY = 64, DROP = 128 };
enum fate { FAIL = 0, KILL = 1, HALF = 2 };
enum verdict { GO, STOP, HALVE };

struct state {
    long seen, first, last, hits;
    int error, fate;
    unsigned kinds;
    char what[64 + PATH_MAX];
};

static struct state *state;
static char under[PATH_MAX];
static size_t under_length;

/* --- what the harness calls, by ctypes --------------------------------------------------------------------------- */

void faults_arm(long first, long last, int error, int fate, unsigned kinds) {
    memset(state, 0, sizeof *state);
    state->first = first;
    state->last = last;
    state->error = error;
    state->fate = fate;
    state->kinds = kinds;
}

long faults_seen(void) { return state->seen; }
long faults_hits(void) { return state->hits; }
const char *faults_what(void) { return state->what; } /* the first call that met its fate: name and path */

__attribute__((constructor)) static void set_up(void) {
    const char *given = getenv("FAULTS_UNDER"), *shared = getenv("FAULTS_STATE");
    if (given == NULL || shared == NULL) return;
    int fd = open(shared, O_RDWR | O_CLOEXEC);
    if (fd < 0 || ftruncate(fd, sizeof *state) != 0) abort();
    void *mapped = mmap(NULL, sizeof *state, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (mapped == MAP_FAILED) abort();
    close(fd);
    state = mapped;
    if (realpath(given, under) != NULL) under_length = strlen(under);
}

/* --- which calls are meant ---------------------------------------------------------------------------------------- */

static int is_under(const char *path) {
    return under_length > 0 && strncmp(path, under, under_length) == 0 &&
           (path[under_length] == '/' || path[under_length] == 0);
}

static int path_of(int fd, char *path) {
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, PATH_MAX - 1);
    if (length < 0) return 0;
    path[length] = 0;
    return 1;
}

static int full_path(int folder, const char *path, char *full) {
    if (path[0] == '/') return snprintf(full, PATH_MAX, "%s", path) < PATH_MAX;
    char base[PATH_MAX];
    if (folder == AT_FDCWD ? getcwd(base, sizeof base) == NULL : !path_of(folder, base)) return 0;
    return snprintf(full, PATH_MAX, "%s/%s", base, path) < PATH_MAX;
}

static enum verdict judge(unsigned kind, const char *name, const char *path) {
    if (state == NULL || state->first == 0 || !(state->kinds & kind) || !is_under(path)) return GO;
    long number = __atomic_add_fetch(&state->seen, 1, __ATOMIC_SEQ_CST);
    if (number < state->first || number > state->last) return GO;
    if (__atomic_fetch_add(&state->hits, 1, __ATOMIC_SEQ_CST) == 0)
        snprintf(state->what, sizeof state->what, "%s %s", name, path);
    if (state->fate == KILL) {
        kill(getpid(), SIGKILL);
        for (;;) pause();
    }
    if (state->fate == HALF) return HALVE;
    errno = state->error;
    return STOP;
}

static enum verdict judge_fd(unsigned kind, const char *name, int fd) {
    int before = errno;
    struct stat found;
    char path[PATH_MAX];
    if (state == NULL || state->first == 0) return GO;
    int meant = fstat(fd, &found) == 0 && (S_ISREG(found.st_mode) || (kind == SYNC && S_ISDIR(found.st_mode)));
    meant = meant && path_of(fd, path);
    errno = before;
    return meant ? judge(kind, name, path) : GO;
}

static enum verdict judge_path(unsigned kind, const char *name, int folder, const char *path) {
    int before = errno;
    char full[PATH_MAX];
    int meant = full_path(folder, path, full);
    errno = before;
    return meant ? judge(kind, name, full) : GO;
}

static size_t half(size_t count) { return count > 1 ? count / 2 : count; }

/* --- the calls ---------------------------------------------------------------------------------------------------- */

#define REAL(name, ...)                                                     \
    static __typeof__(name) *real;                                          \
    if (real == NULL) real = (__typeof__(name) *)dlsym(RTLD_NEXT, #name);

#define MOVES(kind, name, parameters, fd, count, ...)       \
    ssize_t name parameters {                               \
        REAL(name)                                          \
        switch (judge_fd(kind, #name, fd)) {                \
            case STOP: return -1;                           \
            case HALVE: count = half(count); /* and go */   \
            case GO: break;                                 \
        }                                                   \
        return real(__VA_ARGS__);                           \
    }

#define ACTS(kind, name, parameters, fd, ...)                       \
    int name parameters {                                           \
        REAL(name)                                                  \
        return judge_fd(kind, #name, fd) == STOP ? -1 : real(__VA_ARGS__); \
    }

MOVES(READ, read, (int fd, void *to, size_t count), fd, count, fd, to, count)
MOVES(READ, pread, (int fd, void *to, size_t count, off_t at), fd, count, fd, to, count, at)
MOVES(READ, pread64, (int fd, void *to, size_t count, off64_t at), fd, count, fd, to, count, at)
MOVES(WRITE, write, (int fd, const void *data, size_t count), fd, count, fd, data, count)
MOVES(WRITE, pwrite, (int fd, const void *data, size_t count, off_t at), fd, count, fd, data, count, at)
MOVES(WRITE, pwrite64, (int fd, const void *data, size_t count, off64_t at), fd, count, fd, data, count, at)
MOVES(COPY, sendfile, (int fd, int from, off_t *at, size_t count), fd, count, fd, from, at, count)
MOVES(COPY, sendfile64, (int fd, int from, off64_t *at, size_t count), fd, count, fd, from, at, count)
MOVES(COPY, copy_file_range,
      (int from, off64_t *at, int fd, off64_t *to, size_t count, unsigned flags), fd, count, from, at, fd, to, count, flags)

#define VECTOR(kind, name, parameters, fd, pieces, ...)                                            \
    ssize_t name parameters {                                                                      \
        REAL(name)                                                                                 \
        switch (judge_fd(kind, #name, fd)) {                                                       \
            case STOP: return -1;                                                                  \
            case HALVE: pieces = (int)half((size_t)pieces); /* and go */                           \
            case GO: break;                                                                        \
        }                                                                                          \
        return real(__VA_ARGS__);                                                                  \
    }

VECTOR(READ, readv, (int fd, const struct iovec *to, int pieces), fd, pieces, fd, to, pieces)
VECTOR(READ, preadv, (int fd, const struct iovec *to, int pieces, off_t at), fd, pieces, fd, to, pieces, at)
VECTOR(READ, preadv64, (int fd, const struct iovec *to, int pieces, off64_t at), fd, pieces, fd, to, pieces, at)
VECTOR(WRITE, writev, (int fd, const struct iovec *data, int pieces), fd, pieces, fd, data, pieces)
VECTOR(WRITE, pwritev, (int fd, const struct iovec *data, int pieces, off_t at), fd, pieces, fd, data, pieces, at)
VECTOR(WRITE, pwritev64, (int fd, const struct iovec *data, int pieces, off64_t at), fd, pieces, fd, data, pieces, at)

ACTS(SYNC, fsync, (int fd), fd, fd)
ACTS(SYNC, fdatasync, (int fd), fd, fd)
ACTS(SIZE, ftruncate, (int fd, off_t length), fd, fd, length)
ACTS(SIZE, ftruncate64, (int fd, off64_t length), fd, fd, length)
ACTS(SIZE, fallocate, (int fd, int mode, off_t at, off_t length), fd, fd, mode, at, length)
ACTS(SIZE, fallocate64, (int fd, int mode, off64_t at, off64_t length), fd, fd, mode, at, length)

/* These two give the error back instead of setting errno. */
int posix_fallocate(int fd, off_t at, off_t length) {
    REAL(posix_fallocate)
    return judge_fd(SIZE, "posix_fallocate", fd) == STOP ? errno : real(fd, at, length);
}

int posix_fallocate64(int fd, off64_t at, off64_t length) {
    REAL(posix_fallocate64)
    return judge_fd(SIZE, "posix_fallocate64", fd) == STOP ? errno : real(fd, at, length);
}

int rename(const char *old, const char *new) {
    REAL(rename)
    return judge_path(NAME, "rename", AT_FDCWD, new) == STOP ? -1 : real(old, new);
}

int renameat(int old_folder, const char *old, int folder, const char *new) {
    REAL(renameat)
    return judge_path(NAME, "renameat", folder, new) == STOP ? -1 : real(old_folder, old, folder, new);
}

int link(const char *old, const char *new) {
    REAL(link)
    return judge_path(NAME, "link", AT_FDCWD, new) == STOP ? -1 : real(old, new);
}

int linkat(int old_folder, const char *old, int folder, const char *new, int flags) {
    REAL(linkat)
    return judge_path(NAME, "linkat", folder, new) == STOP ? -1 : real(old_folder, old, folder, new, flags);
}

#define MAKES(flags) (((flags) & O_CREAT) || ((flags) & O_TMPFILE) == O_TMPFILE)

int unlink(const char *path) {
    REAL(unlink)
    return judge_path(DROP, "unlink", AT_FDCWD, path) == STOP ? -1 : real(path);
}

int unlinkat(int folder, const char *path, int flags) {
    REAL(unlinkat)
    return judge_path(DROP, "unlinkat", folder, path) == STOP ? -1 : real(folder, path, flags);
}

/* Only an open that makes a file: it needs room in the folder. */
static enum verdict judge_open(const char *name, int folder, const char *path, int flags) {
    struct stat found;
    int before = errno;
    int there = (flags & O_TMPFILE) != O_TMPFILE && fstatat(folder, path, &found, AT_SYMLINK_NOFOLLOW) == 0;
    errno = before;
    return there || !MAKES(flags) ? GO : judge_path(MAKE, name, folder, path);
}

#define MODE(flags, mode)                   \
    mode_t mode = 0;                        \
    if (MAKES(flags)) {                     \
        va_list rest;                       \
        va_start(rest, flags);              \
        mode = (mode_t)va_arg(rest, int);   \
        va_end(rest);                       \
    }

#define OPENS(name)                                                                                          \
    int name(const char *path, int flags, ...) {                                                             \
        REAL(name)                                                                                           \
        MODE(flags, mode)                                                                                    \
        return judge_open(#name, AT_FDCWD, path, flags) == STOP ? -1 : real(path, flags, mode); \
    }

#define OPENS_AT(name)                                                                                              \
    int name(int folder, const char *path, int flags, ...) {                                                        \
        REAL(name)                                                                                                  \
        MODE(flags, mode)                                                                                           \
        return judge_open(#name, folder, path, flags) == STOP ? -1 : real(folder, path, flags, mode); \
    }

OPENS(open)
OPENS(open64)
OPENS_AT(openat)
OPENS_AT(openat64)
