// Does one thing to the process that it runs in, while it is created or in each call: its configuration names the act.
// {"act": "chdir", "when": "create"}; `when` is "create" or "invoke".
#include "fault.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <locale.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#if defined(__x86_64__)
#include <xmmintrin.h>
#endif

FAULT_MANIFEST("fault-process")

extern int __cxa_atexit(void (*function)(void *), void *argument, void *object);

typedef struct Instance {
  FaultInstance echo; // First: the echo reads it.
  char act[64];
  int in_calls;
} Instance;

static void on_signal(int signal) { (void)signal; }
static void on_timer(union sigval value) { (void)value; }
static void at_exit(void) {}
static void at_exit_with(int status, void *argument) {
  (void)status;
  (void)argument;
}
static void at_exit_of(void *argument) { (void)argument; }
static void *nothing(void *unused) { return unused; }
static void *last_a_moment(void *unused) {
  const struct timespec pause = {0, 200 * 1000 * 1000};
  nanosleep(&pause, NULL);
  return unused;
}

static void limit(int resource, rlim_t soft) {
  struct rlimit limit;
  getrlimit(resource, &limit);
  limit.rlim_cur = soft;
  setrlimit(resource, &limit);
}

static timer_t timer(void) {
  timer_t timer = NULL;
  struct sigevent event;
  memset(&event, 0, sizeof event);
  event.sigev_notify = SIGEV_THREAD;
  event.sigev_notify_function = on_timer;
  timer_create(CLOCK_MONOTONIC, &event, &timer);
  const struct itimerspec often = {{0, 20 * 1000 * 1000}, {0, 20 * 1000 * 1000}};
  timer_settime(timer, 0, &often, NULL);
  return timer;
}

__attribute__((noinline)) static int large_frame(void) {
  volatile char frame[4 << 20];
  for (size_t at = 0; at < sizeof frame; at += 4096) {
    frame[at] = 1;
  }
  return frame[4096];
}

static void threads(int count) {
  for (int made = 0; made < count; made++) {
    pthread_t thread;
    if (pthread_create(&thread, NULL, nothing, NULL) == 0) {
      pthread_join(thread, NULL);
    }
  }
}

static void start_helper(int shares_group) {
  pid_t child = fork();
  if (child == 0) {
    if (!shares_group) {
      setsid();
    }
    execlp("sleep", "sleep", "2", (char *)NULL);
    _exit(1);
  }
}

static void act_on_signals(const char *act) {
  if (strcmp(act, "handle SIGTERM") == 0) {
    signal(SIGTERM, on_signal);
  } else if (strcmp(act, "handle SIGSEGV") == 0) {
    signal(SIGSEGV, on_signal);
  } else if (strcmp(act, "handle SIGCHLD") == 0) {
    signal(SIGCHLD, on_signal);
  } else if (strcmp(act, "ignore SIGTERM, SIGINT") == 0) {
    signal(SIGTERM, SIG_IGN);
    signal(SIGINT, SIG_IGN);
  } else if (strcmp(act, "ignore SIGTERM, past libc") == 0) {
    // The kernel's own struct: handler, flags, restorer, mask.
    const unsigned long ignored[4] = {(unsigned long)SIG_IGN, 0, 0, 0};
    syscall(SYS_rt_sigaction, SIGTERM, ignored, NULL, sizeof(unsigned long));
  } else if (strcmp(act, "default SIGTERM, SIGINT") == 0) {
    signal(SIGTERM, SIG_DFL);
    signal(SIGINT, SIG_DFL);
  } else if (strcmp(act, "ignore SIGCHLD") == 0) {
    signal(SIGCHLD, SIG_IGN);
  } else if (strcmp(act, "default SIGPIPE") == 0) {
    signal(SIGPIPE, SIG_DFL);
  } else if (strcmp(act, "block all signals") == 0) {
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, NULL);
  } else if (strcmp(act, "raise SIGUSR1") == 0) {
    kill(getpid(), SIGUSR1);
  } else if (strcmp(act, "alarm") == 0) {
    ualarm(50 * 1000, 0);
  } else if (strcmp(act, "setitimer") == 0) {
    const struct itimerval often = {{0, 20 * 1000}, {0, 20 * 1000}};
    setitimer(ITIMER_REAL, &often, NULL);
  }
}

static void act_on_descriptors(const char *act) {
  if (strcmp(act, "close 0") == 0) {
    close(0);
  } else if (strcmp(act, "close 1") == 0) {
    close(1);
  } else if (strcmp(act, "close 2") == 0) {
    close(2);
  } else if (strcmp(act, "replace 1") == 0) {
    int null = open("/dev/null", O_WRONLY);
    dup2(null, 1);
    close(null);
  } else if (strcmp(act, "close 3 to 1023") == 0) {
    for (int descriptor = 3; descriptor < 1024; descriptor++) {
      close(descriptor);
    }
  } else if (strcmp(act, "close_range") == 0) {
    close_range(3, ~0U, 0);
  } else if (strcmp(act, "replace 3 to 1023") == 0) {
    for (int descriptor = 3; descriptor < 1024; descriptor++) {
      dup2(0, descriptor);
    }
  } else if (strcmp(act, "close 3 to 1023, past libc") == 0) {
    for (int descriptor = 3; descriptor < 1024; descriptor++) {
      syscall(SYS_close, descriptor);
    }
  } else if (strcmp(act, "print") == 0) {
    printf("loading model... done\n");
    fflush(stdout);
  }
}

static void act_on_threads(const char *act) {
  if (strcmp(act, "nice") == 0) {
    setpriority(PRIO_PROCESS, 0, 5);
  } else if (strcmp(act, "affinity") == 0) {
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(0, &one);
    sched_setaffinity(0, sizeof one, &one);
  } else if (strcmp(act, "thread name") == 0) {
    prctl(PR_SET_NAME, "renamed");
  } else if (strcmp(act, "FTZ, DAZ") == 0) {
#if defined(__x86_64__)
    _mm_setcsr(_mm_getcsr() | 0x8040);
#endif
  } else if (strcmp(act, "pthread_exit") == 0) {
    pthread_exit(NULL);
  } else if (strcmp(act, "4 MiB stack frame") == 0) {
    large_frame();
  } else if (strcmp(act, "4300 threads") == 0) {
    threads(4300);
  } else if (strcmp(act, "detached thread") == 0) {
    pthread_t thread;
    pthread_create(&thread, NULL, last_a_moment, NULL);
    pthread_detach(thread);
  }
}

static void act_on_children(const char *act) {
  if (strcmp(act, "fork, exec, leave") == 0) {
    start_helper(1);
  } else if (strcmp(act, "fork, setsid, exec, leave") == 0) {
    start_helper(0);
  } else if (strcmp(act, "fork, return") == 0) {
    fork();
  } else if (strcmp(act, "fork, exit") == 0) {
    if (fork() == 0) {
      _exit(0);
    }
  } else if (strcmp(act, "reap all children") == 0) {
    while (waitpid(-1, NULL, WNOHANG) > 0) {
    }
  } else if (strcmp(act, "system") == 0) {
    if (system("true") == -1) {
      return;
    }
  } else if (strcmp(act, "setsid") == 0) {
    setsid();
  }
}

static void act_on_kept(const char *act) {
  if (strcmp(act, "timer") == 0) {
    timer();
  } else if (strcmp(act, "timer, deleted") == 0) {
    timer_delete(timer());
  } else if (strcmp(act, "atexit") == 0) {
    atexit(at_exit);
  } else if (strcmp(act, "on_exit") == 0) {
    on_exit(at_exit_with, NULL);
  } else if (strcmp(act, "__cxa_atexit of nobody") == 0) {
    __cxa_atexit(at_exit_of, NULL, NULL);
  } else if (strcmp(act, "dlopen") == 0) {
    dlopen("libm.so.6", RTLD_NOW);
  }
}

static void act_on_process(const char *act) {
  if (strcmp(act, "chdir") == 0) {
    if (chdir("/") != 0) {
      return;
    }
  } else if (strcmp(act, "umask") == 0) {
    umask(0);
  } else if (strcmp(act, "umask, past libc") == 0) {
    syscall(SYS_umask, 0);
  } else if (strcmp(act, "setlocale") == 0) {
    setlocale(LC_ALL, "C.UTF-8");
  } else if (strcmp(act, "setrlimit descriptors") == 0) {
    limit(RLIMIT_NOFILE, 256);
  } else if (strcmp(act, "setrlimit file size") == 0) {
    limit(RLIMIT_FSIZE, 4096);
  } else if (strcmp(act, "setenv") == 0) {
    setenv("FAULT_PROCESS", "secret", 1);
  } else if (strcmp(act, "clearenv") == 0) {
    clearenv();
  } else if (strcmp(act, "mlockall") == 0) {
    mlockall(MCL_CURRENT);
  } else if (strcmp(act, "not dumpable") == 0) {
    prctl(PR_SET_DUMPABLE, 0);
  }
}

static void do_it(const char *act) {
  act_on_signals(act);
  act_on_descriptors(act);
  act_on_threads(act);
  act_on_children(act);
  act_on_kept(act);
  act_on_process(act);
}

// The text of a field of the configuration, which the host writes as JSON without spaces.
static void field(const ExtmanCreateRequest *request, const char *name, char *text, size_t most) {
  char json[512], key[64];
  size_t length = request->config.len < sizeof json - 1 ? request->config.len : sizeof json - 1;
  if (length > 0) {
    memcpy(json, request->config.data, length);
  }
  json[length] = 0;
  snprintf(key, sizeof key, "\"%s\":\"", name);
  const char *from = strstr(json, key);
  const char *to = from == NULL ? NULL : strchr(from + strlen(key), '"');
  text[0] = 0;
  if (to != NULL) {
    snprintf(text, most, "%.*s", (int)(to - from - strlen(key)), from + strlen(key));
  }
}

static uint32_t create(const ExtmanHostTable *host, const ExtmanCreateRequest *request, void **instance,
                       ExtmanTextBuffer *error) {
  (void)error;
  char when[16];
  Instance *made = (Instance *)calloc(1, sizeof *made);
  if (made == NULL) {
    return EXTMAN_STATUS_INTERNAL;
  }
  made->echo.host = host;
  field(request, "act", made->act, sizeof made->act);
  field(request, "when", when, sizeof when);
  made->in_calls = strcmp(when, "invoke") == 0;
  if (!made->in_calls) {
    do_it(made->act);
  }
  *instance = made;
  return EXTMAN_STATUS_OK;
}

static uint32_t invoke(void *instance, const ExtmanRequest *request, ExtmanOutcome *outcome, ExtmanTextBuffer *error) {
  const Instance *self = (const Instance *)instance;
  if (self->in_calls) {
    do_it(self->act);
  }
  return fault_invoke(instance, request, outcome, error);
}

FAULT_MODULE(create, fault_destroy, invoke)
