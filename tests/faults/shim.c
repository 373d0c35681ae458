/* Preloaded into a process: counts its operations on files below some folders, and lets the n-th of them fail, kills
 * the process at it, or plays a disk that is full from it on. It stands between every library of the process and the C
 * library, so LanceDB's own writes in Rust are reached as Python's are. What is not armed passes through. */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

enum { OPEN, CREATE, WRITE, SYNC, RENAME, REMOVE, MKDIR, LIST, TRUNCATE, LANCE, KINDS };
enum { COUNT, FAIL, FULL, KILL, TEAR };
enum { TEXT = 8192, GROWING = 1 << CREATE | 1 << WRITE | 1 << RENAME | 1 << MKDIR };

static char folders[TEXT]; /* a line each */
static volatile int armed, mode, code;   /* code: of the error */
static volatile long which;
static int note; /* where it is written down which operation was struck, before anything else happens */
static atomic_int struck;
static unsigned kinds;
static atomic_long seen, counts[KINDS];

static void *real(const char *name) { return dlsym(RTLD_NEXT, name); }
#define REAL(name) static __typeof__(&name) next; if (!next) next = (__typeof__(&name))real(#name)

/* Arms the process: the n-th operation of the kinds (bits) from now on. */
void faults_arm(const char *below, int how, long n, int error, unsigned of, int file) {
    armed = 0;
    strncpy(folders, below, TEXT - 1);
    struck = 0;
    note = file;
    for (int kind = 0; kind < KINDS; kind++) counts[kind] = 0;
    seen = 0;
    mode = how;
    which = n;
    code = error;
    kinds = of;
    armed = 1;
}

void faults_disarm(void) { armed = 0; }
long faults_count(int kind) { return counts[kind]; }

/* 0: go on. -1: it fails, errno is set. 1: it is done in part, and the process is killed then. */
static int strike(int kind, const char *path) {
    if (!(kinds & 1u << kind)) return 0;
    counts[kind]++;
    long now = ++seen;
    int due = mode == FULL ? now >= which && (GROWING & 1 << kind) : mode != COUNT && now == which;
    if (!due) return 0;
    if (!atomic_exchange(&struck, 1)) {
        char line[PATH_MAX + 16];
        int length = snprintf(line, sizeof line, "%d %.*s\n", kind, PATH_MAX, path);
        syscall(SYS_write, note, line, (size_t)length);
    }
    if (mode == TEAR && kind == WRITE) return 1;
    if (mode == KILL || mode == TEAR) kill(getpid(), SIGKILL);
    errno = mode == FULL ? ENOSPC : code;
    return -1;
}

/* Of a call from Python: whether it fails. */
int faults_call(const char *name) { return armed ? strike(LANCE, name) : 0; }

static const char *whole(int at, const char *path, char *room) {
    char link[64];
    ssize_t length = 0;
    if (path[0] == '/') return path;
    if (at == AT_FDCWD) {
        if (!getcwd(room, PATH_MAX)) return path;
        length = (ssize_t)strlen(room);
    } else {
        snprintf(link, sizeof link, "/proc/self/fd/%d", at);
        if ((length = readlink(link, room, PATH_MAX)) < 0) return path;
    }
    snprintf(room + length, PATH_MAX, "/%s", path);
    return room;
}

static int below(const char *path) {
    for (const char *one = folders; *one;) {
        const char *end = strchr(one, '\n');
        size_t length = end ? (size_t)(end - one) : strlen(one);
        if (!strncmp(path, one, length) && (path[length] == '/' || !path[length])) return 1;
        one += length + (end != NULL);
    }
    return 0;
}

static int at_path(int kind, int at, const char *path) {
    char room[2 * PATH_MAX];
    if (!armed || !path) return 0;
    path = whole(at, path, room);
    return below(path) ? strike(kind, path) : 0;
}

static int at_fd(int kind, int fd) {
    char link[64], room[PATH_MAX];
    if (!armed) return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, room, sizeof room - 1);
    room[length < 0 ? 0 : length] = 0;
    return below(room) ? strike(kind, room) : 0;
}

static int opening(int flags) {
    return (flags & O_ACCMODE) != O_RDONLY || (flags & (O_CREAT | O_TRUNC)) ? CREATE : OPEN;
}

#define MODE(flags) \
    mode_t bits = 0; \
    if ((flags) & (O_CREAT | __O_TMPFILE)) { va_list rest; va_start(rest, flags); bits = va_arg(rest, mode_t); va_end(rest); }

int open(const char *path, int flags, ...) {
    REAL(open);
    MODE(flags)
    return at_path(opening(flags), AT_FDCWD, path) < 0 ? -1 : next(path, flags, bits);
}
int open64(const char *path, int flags, ...) {
    REAL(open64);
    MODE(flags)
    return at_path(opening(flags), AT_FDCWD, path) < 0 ? -1 : next(path, flags, bits);
}
int openat(int at, const char *path, int flags, ...) {
    REAL(openat);
    MODE(flags)
    return at_path(opening(flags), at, path) < 0 ? -1 : next(at, path, flags, bits);
}
int openat64(int at, const char *path, int flags, ...) {
    REAL(openat64);
    MODE(flags)
    return at_path(opening(flags), at, path) < 0 ? -1 : next(at, path, flags, bits);
}
static FILE *open_stream(FILE *(*next)(const char *, const char *), const char *path, const char *how) {
    if (at_path(how[0] == 'r' && !strchr(how, '+') ? OPEN : CREATE, AT_FDCWD, path) < 0) return NULL;
    return next(path, how);
}
FILE *fopen(const char *path, const char *how) { REAL(fopen); return open_stream(next, path, how); }
FILE *fopen64(const char *path, const char *how) { REAL(fopen64); return open_stream(next, path, how); }

/* What is written before the error, or before the end, is half. */
ssize_t write(int fd, const void *data, size_t size) {
    REAL(write);
    int how = at_fd(WRITE, fd);
    if (!how) return next(fd, data, size);
    int error = errno;
    if (mode != FULL && next(fd, data, size / 2) < 0) return -1;
    if (how > 0) kill(getpid(), SIGKILL);
    errno = error;
    return -1;
}
static ssize_t write_at(ssize_t (*next)(int, const void *, size_t, off_t), int fd, const void *data, size_t size, off_t at) {
    int how = at_fd(WRITE, fd);
    if (!how) return next(fd, data, size, at);
    int error = errno;
    if (mode != FULL && next(fd, data, size / 2, at) < 0) return -1;
    if (how > 0) kill(getpid(), SIGKILL);
    errno = error;
    return -1;
}
ssize_t pwrite(int fd, const void *data, size_t size, off_t at) { REAL(pwrite); return write_at(next, fd, data, size, at); }
ssize_t pwrite64(int fd, const void *data, size_t size, off64_t at) { REAL(pwrite64); return write_at(next, fd, data, size, at); }
ssize_t writev(int fd, const struct iovec *parts, int count) {
    REAL(writev);
    int how = at_fd(WRITE, fd);
    if (!how) return next(fd, parts, count);
    int error = errno;
    if (mode != FULL && next(fd, parts, count / 2) < 0) return -1;
    if (how > 0) kill(getpid(), SIGKILL);
    errno = error;
    return -1;
}

#define PASS(test, call) { int how = (test); if (how > 0) kill(getpid(), SIGKILL); return how < 0 ? -1 : (call); }

ssize_t sendfile64(int out, int in, off64_t *at, size_t size) {
    static ssize_t (*next)(int, int, off64_t *, size_t);
    if (!next) next = (__typeof__(next))real("sendfile64");
    PASS(at_fd(WRITE, out), next(out, in, at, size))
}
ssize_t sendfile(int out, int in, off_t *at, size_t size) {
    static ssize_t (*next)(int, int, off_t *, size_t);
    if (!next) next = (__typeof__(next))real("sendfile");
    PASS(at_fd(WRITE, out), next(out, in, at, size))
}
ssize_t copy_file_range(int in, off64_t *from, int out, off64_t *to, size_t size, unsigned flags) {
    REAL(copy_file_range);
    PASS(at_fd(WRITE, out), next(in, from, out, to, size, flags))
}
int ftruncate(int fd, off_t size) { REAL(ftruncate); PASS(at_fd(TRUNCATE, fd), next(fd, size)) }
int ftruncate64(int fd, off64_t size) { REAL(ftruncate64); PASS(at_fd(TRUNCATE, fd), next(fd, size)) }
int fsync(int fd) { REAL(fsync); PASS(at_fd(SYNC, fd), next(fd)) }
int fdatasync(int fd) { REAL(fdatasync); PASS(at_fd(SYNC, fd), next(fd)) }

int rename(const char *from, const char *to) { REAL(rename); PASS(at_path(RENAME, AT_FDCWD, to), next(from, to)) }
int renameat(int a, const char *from, int b, const char *to) {
    REAL(renameat);
    PASS(at_path(RENAME, b, to), next(a, from, b, to))
}
int renameat2(int a, const char *from, int b, const char *to, unsigned flags) {
    REAL(renameat2);
    PASS(at_path(RENAME, b, to), next(a, from, b, to, flags))
}
int link(const char *from, const char *to) { REAL(link); PASS(at_path(RENAME, AT_FDCWD, to), next(from, to)) }
int linkat(int a, const char *from, int b, const char *to, int flags) {
    REAL(linkat);
    PASS(at_path(RENAME, b, to), next(a, from, b, to, flags))
}
int symlink(const char *from, const char *to) { REAL(symlink); PASS(at_path(RENAME, AT_FDCWD, to), next(from, to)) }
int unlink(const char *path) { REAL(unlink); PASS(at_path(REMOVE, AT_FDCWD, path), next(path)) }
int unlinkat(int at, const char *path, int flags) { REAL(unlinkat); PASS(at_path(REMOVE, at, path), next(at, path, flags)) }
int rmdir(const char *path) { REAL(rmdir); PASS(at_path(REMOVE, AT_FDCWD, path), next(path)) }
int mkdir(const char *path, mode_t bits) { REAL(mkdir); PASS(at_path(MKDIR, AT_FDCWD, path), next(path, bits)) }
int mkdirat(int at, const char *path, mode_t bits) { REAL(mkdirat); PASS(at_path(MKDIR, at, path), next(at, path, bits)) }

DIR *opendir(const char *path) {
    REAL(opendir);
    return at_path(LIST, AT_FDCWD, path) < 0 ? NULL : next(path);
}
DIR *fdopendir(int fd) {
    REAL(fdopendir);
    return at_fd(LIST, fd) < 0 ? NULL : next(fd);
}
