/* A faulty system under one process and its children: a wall clock that is off, and a disk without room. Preloaded; switched by the
 * file that EXTMAN_FAULTY names, while the process runs. It calls the kernel itself, so that it needs nobody before main. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

/* As in faulty.rs. */
struct control {
    _Atomic int64_t offset_s;
    _Atomic uint64_t full;
    /* What went through here: proof that the process under test does not read the clock or write past this. */
    _Atomic uint64_t clock_reads;
    _Atomic uint64_t writes;
    _Atomic uint64_t refused;
    /* Files whose path begins so. */
    char prefix[1024];
};

static struct control none;
static struct control *control = &none;

__attribute__((constructor)) static void begin(void) {
    const char *path = getenv("EXTMAN_FAULTY");
    int fd = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
    if (fd < 0) return;
    void *mapped = mmap(NULL, sizeof none, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (mapped != MAP_FAILED) control = mapped;
    close(fd);
}

static int is_wall(clockid_t clock) {
    return clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE;
}

int clock_gettime(clockid_t clock, struct timespec *now) {
    int result = (int)syscall(SYS_clock_gettime, clock, now);
    if (result == 0 && is_wall(clock)) {
        atomic_fetch_add(&control->clock_reads, 1);
        now->tv_sec += atomic_load(&control->offset_s);
    }
    return result;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone) {
    struct timespec exact;
    (void)zone;
    if (clock_gettime(CLOCK_REALTIME, &exact) != 0) return -1;
    now->tv_sec = exact.tv_sec;
    now->tv_usec = exact.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *out) {
    struct timespec exact;
    if (clock_gettime(CLOCK_REALTIME, &exact) != 0) return -1;
    if (out) *out = exact.tv_sec;
    return exact.tv_sec;
}

/* Whether a file of ours is asked to take more than there is room for. */
static int refuses(int fd) {
    size_t length = strnlen(control->prefix, sizeof control->prefix);
    if (length == 0) return 0;
    char link[64], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t read = readlink(link, path, sizeof path);
    if (read < (ssize_t)length || memcmp(path, control->prefix, length) != 0) return 0;
    atomic_fetch_add(&control->writes, 1);
    if (!atomic_load(&control->full)) return 0;
    atomic_fetch_add(&control->refused, 1);
    errno = ENOSPC;
    return 1;
}

ssize_t write(int fd, const void *bytes, size_t count) {
    return refuses(fd) ? -1 : syscall(SYS_write, fd, bytes, count);
}

ssize_t pwrite64(int fd, const void *bytes, size_t count, off64_t at) {
    return refuses(fd) ? -1 : syscall(SYS_pwrite64, fd, bytes, count, at);
}

ssize_t pwrite(int fd, const void *bytes, size_t count, off_t at) {
    return pwrite64(fd, bytes, count, at);
}

ssize_t writev(int fd, const struct iovec *parts, int count) {
    return refuses(fd) ? -1 : syscall(SYS_writev, fd, parts, count);
}

ssize_t pwritev(int fd, const struct iovec *parts, int count, off_t at) {
    return refuses(fd) ? -1 : syscall(SYS_pwritev, fd, parts, count, at, 0);
}

/* Making a file shorter needs no room. */
static int grows(int fd, off64_t length) {
    off64_t here = lseek64(fd, 0, SEEK_CUR), end = lseek64(fd, 0, SEEK_END);
    if (here >= 0) lseek64(fd, here, SEEK_SET);
    return length > end;
}

int ftruncate64(int fd, off64_t length) {
    return grows(fd, length) && refuses(fd) ? -1 : (int)syscall(SYS_ftruncate, fd, length);
}

int ftruncate(int fd, off_t length) {
    return ftruncate64(fd, length);
}

int fallocate64(int fd, int mode, off64_t at, off64_t length) {
    return refuses(fd) ? -1 : (int)syscall(SYS_fallocate, fd, mode, at, length);
}

int fallocate(int fd, int mode, off_t at, off_t length) {
    return fallocate64(fd, mode, at, length);
}

int posix_fallocate64(int fd, off64_t at, off64_t length) {
    return fallocate64(fd, 0, at, length) == 0 ? 0 : errno;
}

int posix_fallocate(int fd, off_t at, off_t length) {
    return posix_fallocate64(fd, at, length);
}

int fsync(int fd) {
    return refuses(fd) ? -1 : (int)syscall(SYS_fsync, fd);
}

int fdatasync(int fd) {
    return refuses(fd) ? -1 : (int)syscall(SYS_fdatasync, fd);
}
