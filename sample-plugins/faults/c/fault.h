// What the faults share: the manifest's frame, an echo that works, and a wait that a test can end.
// Each fault is one file beside this one; only what differs from the echo stands there.
#ifndef EXTMAN_FAULT_H
#define EXTMAN_FAULT_H

#include "../../../plugin-api/include/extman_plugin.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#ifdef __cplusplus
#define FAULT_C_BEGIN extern "C" {
#define FAULT_C_END }
#else
#define FAULT_C_BEGIN
#define FAULT_C_END
#endif
#define FAULT_EXPORTED __attribute__((visibility("default")))

// More of the manifest, for a file that defines it first.
#ifndef FAULT_TOML_MORE
#define FAULT_TOML_MORE ""
#endif

#define FAULT_TOML(id)                                                                                                 \
  "[plugin]\nid = \"" id "\"\nversion = \"1.0.0\"\nkind = \"general\"\ntask = \"testing\"\n\n"                         \
  "[[capability]]\nname = \"c.echo\"\n" FAULT_TOML_MORE

// The frame: a header of 184 bytes, the TOML, zeros up to a multiple of eight.
#define FAULT_MANIFEST_AS(symbol, id)                                                                                  \
  FAULT_C_BEGIN                                                                                                        \
  struct symbol##_frame {                                                                                              \
    char magic[8];                                                                                                     \
    uint32_t frame_version, header_size, abi_major, abi_minor, panic, sdk, flags, reserved;                            \
    char target[48], compiler[80];                                                                                     \
    uint64_t toml_len, abi_fingerprint;                                                                                \
    char toml[(sizeof FAULT_TOML(id) + 7) / 8 * 8];                                                                    \
  };                                                                                                                   \
  FAULT_EXPORTED extern const struct symbol##_frame symbol;                                                            \
  __attribute__((used, retain, section(".extman"), aligned(8)))                                                        \
  const struct symbol##_frame symbol = {{'E', 'X', 'T', 'M', 'A', 'N', 'M', 'F'},                                      \
                                        1,                                                                             \
                                        184,                                                                           \
                                        EXTMAN_ABI_MAJOR,                                                              \
                                        EXTMAN_ABI_MINOR,                                                              \
                                        3,                                                                             \
                                        2,                                                                             \
                                        0,                                                                             \
                                        0,                                                                             \
                                        "",                                                                            \
                                        "",                                                                            \
                                        sizeof FAULT_TOML(id) - 1,                                                     \
                                        EXTMAN_ABI_FINGERPRINT,                                                        \
                                        FAULT_TOML(id)};                                                               \
  FAULT_C_END
#define FAULT_MANIFEST(id) FAULT_MANIFEST_AS(extman_manifest, id)

// The whole ABI side with these entries.
#define FAULT_MODULE(create_, destroy_, invoke_)                                                                       \
  static const ExtmanLifecycleVtable fault_lifecycle = {                                                               \
      sizeof(ExtmanLifecycleVtable), create_, NULL, NULL, NULL, NULL, NULL, NULL, destroy_};                           \
  static const ExtmanCapabilityVtable fault_capability = {sizeof(ExtmanCapabilityVtable), invoke_, NULL};              \
  FAULT_MODULE_OF(EXTMAN_MODULE_MAGIC, EXTMAN_ABI_MAJOR, &fault_lifecycle, &fault_capability)

// What answers checks, for a file that defines it first.
#ifndef FAULT_CHECK
#define FAULT_CHECK fault_check
#endif

// The root with these values.
#define FAULT_MODULE_OF(magic_, abi_major_, lifecycle_, capability_)                                                   \
  static const ExtmanHealthVtable fault_health = {sizeof(ExtmanHealthVtable), FAULT_CHECK};                            \
  static const ExtmanPluginModule fault_module = {                                                                     \
      sizeof(ExtmanPluginModule), magic_, abi_major_, EXTMAN_ABI_MINOR, lifecycle_, capability_, &fault_health,        \
      NULL, NULL, NULL};                                                                                               \
  FAULT_C_BEGIN                                                                                                        \
  FAULT_EXPORTED const ExtmanPluginModule *extman_plugin_entry(void);                                                  \
  FAULT_EXPORTED const ExtmanPluginModule *extman_plugin_entry(void) { return &fault_module; }                         \
  FAULT_C_END

typedef struct FaultInstance {
  const ExtmanHostTable *host;
} FaultInstance;

static inline uint32_t fault_create(const ExtmanHostTable *host, const ExtmanCreateRequest *request, void **instance,
                                    ExtmanTextBuffer *error) {
  (void)request;
  (void)error;
  FaultInstance *made = (FaultInstance *)malloc(sizeof *made);
  if (made == NULL) {
    return EXTMAN_STATUS_INTERNAL;
  }
  made->host = host;
  *instance = made;
  return EXTMAN_STATUS_OK;
}

static inline uint32_t fault_destroy(void *instance, const ExtmanStepRequest *request, ExtmanTextBuffer *error) {
  (void)request;
  (void)error;
  free(instance);
  return EXTMAN_STATUS_OK;
}

static inline uint32_t fault_invoke(void *instance, const ExtmanRequest *request, ExtmanOutcome *outcome,
                                    ExtmanTextBuffer *error) {
  (void)outcome;
  (void)error;
  const ExtmanHostTable *host = ((const FaultInstance *)instance)->host;
  uint32_t status = extman_begin(host, request->call, request->content_type);
  return status == EXTMAN_STATUS_OK ? extman_write(host, request->call, request->input) : status;
}

static inline uint32_t fault_check(void *instance, const ExtmanCheckRequest *request, ExtmanReport *report,
                                   ExtmanTextBuffer *text) {
  (void)instance;
  (void)request;
  (void)text;
  if (report->struct_size >= offsetof(ExtmanReport, health) + sizeof report->health) {
    report->valid = EXTMAN_REPORT_HEALTH;
    report->health = EXTMAN_HEALTH_UP;
  }
  return EXTMAN_STATUS_OK;
}

// Makes the file that EXTMAN_FAULT_FILE names, if there is such a variable.
static inline void fault_touch(void) {
  const char *path = getenv("EXTMAN_FAULT_FILE");
  FILE *file = path == NULL ? NULL : fopen(path, "w");
  if (file != NULL) {
    fclose(file);
  }
}

// Makes the file that EXTMAN_FAULT_FILE names, then waits until the one that EXTMAN_FAULT_RELEASE names is there; for
// ever without that variable.
static inline void fault_wait_for_release(void) {
  const struct timespec pause = {0, 5 * 1000 * 1000};
  const char *release = getenv("EXTMAN_FAULT_RELEASE");
  fault_touch();
  while (release == NULL || access(release, F_OK) != 0) {
    nanosleep(&pause, NULL);
  }
}

#endif
