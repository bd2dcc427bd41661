// Loads one fault as a host would, on a thread of its own, and prints what it sees.
// driver LIBRARY INPUT close|keep|outlive: close after that thread has ended, never, or on that thread.
#include "fault.h"

#include <dirent.h>
#include <dlfcn.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>

static const char *path, *input, *mode;
static void *library;

static uint32_t begin(const ExtmanHostTable *table, uint64_t call, const uint8_t *content_type, size_t len) {
  (void)table;
  (void)call;
  (void)content_type;
  (void)len;
  return EXTMAN_STATUS_OK;
}

static uint32_t write_out(const ExtmanHostTable *table, uint64_t call, const uint8_t *data, size_t len) {
  (void)table;
  (void)call;
  printf("output %.*s\n", (int)len, (const char *)data);
  return EXTMAN_STATUS_OK;
}

static const ExtmanHostTable host = {.struct_size = sizeof host,
                                     .abi_major = EXTMAN_ABI_MAJOR,
                                     .abi_minor = EXTMAN_ABI_MINOR,
                                     .sink_begin = begin,
                                     .sink_write = write_out};

static void use(const ExtmanPluginModule *module) {
  uint8_t text[100];
  ExtmanTextBuffer error = {text, sizeof text, 0};
  ExtmanOutcome outcome = {.struct_size = sizeof outcome};
  ExtmanReport report = {.struct_size = sizeof report};
  const ExtmanCreateRequest create = {.struct_size = sizeof create};
  const ExtmanCheckRequest check = {.struct_size = sizeof check, .kind = 1};
  const ExtmanRequest request = {.struct_size = sizeof request,
                                 .call = 1,
                                 .input = {(const uint8_t *)input, strlen(input)}};
  void *instance = NULL;
  printf("create %u\n", module->lifecycle->create(&host, &create, &instance, &error));
  uint32_t status = module->health->check(instance, &check, &report, &error);
  printf("check %u health %u\n", status, report.health);
  printf("invoke %u", module->capability->invoke(instance, &request, &outcome, &error));
  printf(" error %zu of %zu\n", (size_t)error.len, (size_t)error.capacity);
  const ExtmanStepRequest end = {sizeof end, 2};
  uint32_t destroyed = module->lifecycle->destroy(instance, &end, &error);
  if (destroyed != EXTMAN_STATUS_OK) {
    printf("destroy %u\n", destroyed);
  }
}

static void close_library(void) {
  printf("closing\n");
  dlclose(library);
  void *again = dlopen(path, RTLD_NOW | RTLD_NOLOAD);
  printf("%s\n", again == NULL ? "unmapped" : "resident");
}

static void *lane(void *unused) {
  library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  if (library == NULL) {
    printf("dlopen: %s\n", dlerror());
    return unused;
  }
  printf("opened\n");
  const ExtmanPluginModule *(*entry)(void) = NULL;
  *(void **)&entry = dlsym(library, "extman_plugin_entry");
  const ExtmanPluginModule *module = entry();
  const ExtmanLifecycleVtable *lifecycle = module->lifecycle;
  if (module->magic != EXTMAN_MODULE_MAGIC) {
    printf("bad magic\n");
  } else if (module->abi_major != EXTMAN_ABI_MAJOR) {
    printf("ABI major %u\n", module->abi_major);
  } else if (lifecycle == NULL) {
    printf("no lifecycle table\n");
  } else if (lifecycle->struct_size < sizeof *lifecycle) {
    printf("lifecycle table of %zu bytes, destroy is at %zu\n", (size_t)lifecycle->struct_size,
           offsetof(ExtmanLifecycleVtable, destroy));
  } else if (lifecycle->create == NULL) {
    printf("no create\n");
  } else {
    use(module);
  }
  if (strcmp(mode, "outlive") == 0) {
    close_library();
    fflush(stdout);
  }
  return unused;
}

static int threads(void) {
  int count = 0;
  DIR *tasks = opendir("/proc/self/task");
  for (struct dirent *task = tasks ? readdir(tasks) : NULL; task != NULL; task = readdir(tasks)) {
    count += task->d_name[0] != '.';
  }
  return count;
}

int main(int argc, char **argv) {
  if (argc != 4) {
    return 2;
  }
  path = argv[1];
  input = argv[2];
  mode = argv[3];
  pthread_t thread;
  pthread_create(&thread, NULL, lane, NULL);
  pthread_join(thread, NULL);
  struct sigaction action;
  sigaction(SIGUSR2, NULL, &action);
  printf("threads %d\nSIGUSR2 %s\n", threads(), action.sa_handler == SIG_DFL ? "default" : "handled");
  if (strcmp(mode, "close") == 0) {
    close_library();
  }
  fflush(stdout);
  return 0;
}
