// The ABI's structs as these faults need them: a stand-in for plugin-api/include/extman_plugin.h with the same names.
#ifndef EXTMAN_PLUGIN_LOCAL_H
#define EXTMAN_PLUGIN_LOCAL_H

#include <stddef.h>
#include <stdint.h>

#define EXTMAN_MODULE_MAGIC UINT64_C(0x4c504e414d545845)
#define EXTMAN_ABI_MAJOR 1
#define EXTMAN_ABI_MINOR 0
#define EXTMAN_STATUS_OK 0
#define EXTMAN_STATUS_INTERNAL 5
#define EXTMAN_HEALTH_UP 1
#define EXTMAN_REPORT_HEALTH 1

typedef struct ExtmanBytes {
  const uint8_t *data;
  uintptr_t len;
} ExtmanBytes;

typedef struct ExtmanTextBuffer {
  uint8_t *data;
  uintptr_t capacity;
  uintptr_t len;
} ExtmanTextBuffer;

typedef struct ExtmanCreateRequest {
  uintptr_t struct_size;
  uint64_t instance;
  ExtmanBytes name;
  ExtmanBytes config;
} ExtmanCreateRequest;

typedef struct ExtmanRequest {
  uintptr_t struct_size;
  uint64_t call;
  ExtmanBytes capability;
  ExtmanBytes content_type;
  ExtmanBytes input;
  uint32_t flags;
  uint32_t reserved;
} ExtmanRequest;

typedef struct ExtmanOutcome {
  uintptr_t struct_size;
  uint64_t valid;
  uint32_t retryable;
  uint32_t reserved;
  uint64_t retry_after_ms;
  uint64_t tokens_in;
  uint64_t tokens_out;
} ExtmanOutcome;

typedef struct ExtmanCheckRequest {
  uintptr_t struct_size;
  uint64_t probe;
  uint32_t kind;
  uint32_t reserved;
} ExtmanCheckRequest;

typedef struct ExtmanReport {
  uintptr_t struct_size;
  uint64_t valid;
  uint32_t health;
  uint32_t connection;
  uint64_t connection_rtt_ns;
  uint64_t connection_age_ms;
  uint64_t queue_depth;
  uint64_t queue_capacity;
  uint64_t in_flight;
  uint64_t heap_bytes;
  uint64_t heap_peak_bytes;
  uint64_t heap_limit_bytes;
} ExtmanReport;

typedef struct ExtmanCheck {
  uintptr_t struct_size;
  uint64_t valid;
  ExtmanBytes name;
  ExtmanBytes message;
  uint32_t health;
  uint32_t reserved;
  uint64_t duration_ns;
  double value;
} ExtmanCheck;

typedef struct ExtmanHostTable {
  uintptr_t struct_size;
  uint32_t abi_major;
  uint32_t abi_minor;
  uint32_t (*log)(uint64_t instance, uint32_t level, ExtmanBytes target, ExtmanBytes text, ExtmanBytes fields);
  uint32_t (*cancelled)(uint64_t token);
  uint64_t (*deadline_ns)(uint64_t token);
  uint32_t (*sink_begin)(uint64_t call, ExtmanBytes content_type);
  uint32_t (*sink_write)(uint64_t call, ExtmanBytes data);
  uint32_t (*emit_check)(uint64_t probe, const ExtmanCheck *check);
  uint32_t (*push_health)(uint64_t instance, const ExtmanReport *report, ExtmanBytes text);
  const void *(*extension)(uint64_t instance, ExtmanBytes id);
} ExtmanHostTable;

typedef struct ExtmanLifecycleVtable {
  uintptr_t struct_size;
  uint32_t (*create)(const ExtmanHostTable *host, const ExtmanCreateRequest *request, void **instance,
                     ExtmanTextBuffer *error);
  uint32_t (*start)(void *instance, ExtmanTextBuffer *error);
  uint32_t (*configure)(void *instance, ExtmanBytes config, ExtmanTextBuffer *error);
  uint32_t (*drain)(void *instance, ExtmanTextBuffer *error);
  uint32_t (*stop)(void *instance, ExtmanTextBuffer *error);
  uint32_t (*snapshot)(void *instance, uint64_t call, ExtmanTextBuffer *error);
  uint32_t (*restore)(void *instance, ExtmanBytes state, ExtmanTextBuffer *error);
  void (*destroy)(void *instance);
} ExtmanLifecycleVtable;

typedef struct ExtmanCapabilityVtable {
  uintptr_t struct_size;
  uint32_t (*invoke)(void *instance, const ExtmanRequest *request, ExtmanOutcome *outcome, ExtmanTextBuffer *error);
} ExtmanCapabilityVtable;

typedef struct ExtmanHealthVtable {
  uintptr_t struct_size;
  uint32_t (*check)(void *instance, const ExtmanCheckRequest *request, ExtmanReport *report, ExtmanTextBuffer *text);
} ExtmanHealthVtable;

typedef struct ExtmanPluginModule {
  uintptr_t struct_size;
  uint64_t magic;
  uint32_t abi_major;
  uint32_t abi_minor;
  const ExtmanLifecycleVtable *lifecycle;
  const ExtmanCapabilityVtable *capability;
  const ExtmanHealthVtable *health;
} ExtmanPluginModule;

#endif
