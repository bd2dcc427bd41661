/* A system that fails one thread of the host once a file is there: the clock of the thread that EXTMAN_FAILS names, or what the async
 * runtime waits in. Preloaded; EXTMAN_FAILS_ONCE_THERE names the file. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static int fails(const char *what) {
    const char *named = getenv("EXTMAN_FAILS"), *file = getenv("EXTMAN_FAILS_ONCE_THERE");
    return named && file && strcmp(named, what) == 0 && access(file, F_OK) == 0;
}

int clock_gettime(clockid_t clock, struct timespec *now) {
    char name[17] = "";
    prctl(PR_GET_NAME, name);
    if (strncmp(name, "extman-", 7) == 0 && fails(name)) {
        errno = EINVAL;
        return -1;
    }
    return (int)syscall(SYS_clock_gettime, clock, now);
}

int epoll_wait(int epoll, struct epoll_event *events, int most, int timeout) {
    int (*real)(int, struct epoll_event *, int, int) = dlsym(RTLD_NEXT, "epoll_wait");
    int count;
    do {
        while (fails("epoll_wait")) usleep(10000);
        count = real(epoll, events, most, timeout);
    } while (fails("epoll_wait"));
    return count;
}
