//! A plugin in C that is made for one test: its id, its version and its answer are given, and it can wait, crash or stay.

use std::path::{Path, PathBuf};

/// What is to be made.
pub struct Answers {
    id: &'static str,
    version: &'static str,
    answer: &'static str,
    required: Option<&'static str>,
    /// Fields of the manifest's `[plugin]`, and what stands at its end.
    fields: &'static str,
    declared: &'static str,
    /// C code at the beginning of `invoke`.
    in_invoke: String,
    /// `create` crashes as long as this file is not there.
    crashes_without: Option<PathBuf>,
    /// Its root is malformed, and its constructor leaves a thread behind that waits for this file.
    refused_with_thread: Option<PathBuf>,
    /// C code at the file's scope, and at the beginning of `create`.
    code: String,
    in_create: String,
    in_destroy: String,
    /// C code at the beginning of `configure`; without it the plugin has none.
    in_configure: Option<String>,
    /// C code at the beginning of `snapshot` and `restore`; without either the plugin has none.
    in_snapshot: Option<String>,
    in_restore: Option<String>,
    /// Arguments for the compiler.
    arguments: Vec<&'static str>,
    /// C code at the beginning of its check; without it the plugin has none.
    in_check: Option<String>,
}

/// A plugin of this id and version with this answer. Its capabilities are `ID.ask`, which answers with
/// `{"answer": …, "config": …}`, and `ID.wait`, which answers so once the file that is its input is there. The
/// input `panic` has either tell of a panic.
pub fn plugin(id: &'static str, version: &'static str, answer: &'static str) -> Answers {
    Answers {
        id,
        version,
        answer,
        required: None,
        fields: "",
        declared: "",
        in_invoke: String::new(),
        crashes_without: None,
        refused_with_thread: None,
        code: String::new(),
        in_create: String::new(),
        in_destroy: String::new(),
        in_configure: None,
        in_snapshot: None,
        in_restore: None,
        arguments: Vec::new(),
        in_check: None,
    }
}

impl Answers {
    /// It can't be made without this key in its configuration.
    pub fn requires(mut self, key: &'static str) -> Self {
        self.required = Some(key);
        self
    }

    /// Its manifest has this at its end, just after the capability `ID.wait`.
    pub fn declares(mut self, toml: &'static str) -> Self {
        self.declared = toml;
        self
    }

    /// Its manifest's `[plugin]` has these fields.
    pub fn says_of_itself(mut self, toml: &'static str) -> Self {
        self.fields = toml;
        self
    }

    /// Its `invoke` begins with this C code.
    pub fn in_invoke(mut self, code: impl Into<String>) -> Self {
        self.in_invoke = code.into();
        self
    }

    /// It crashes when it is made, as long as this file is not there.
    pub fn crashes_without(mut self, file: &Path) -> Self {
        self.crashes_without = Some(file.to_owned());
        self
    }

    /// It is refused when it is loaded, and can't be unloaded before this file is there: a thread of its own waits for that.
    pub fn refused_with_a_thread_until(mut self, file: &Path) -> Self {
        self.refused_with_thread = Some(file.to_owned());
        self
    }

    /// It has this C code before its functions.
    pub fn code(mut self, code: impl Into<String>) -> Self {
        self.code = code.into();
        self
    }

    /// Its `create` begins with this C code, which may use `request` and `error`.
    pub fn in_create(mut self, code: impl Into<String>) -> Self {
        self.in_create = code.into();
        self
    }

    /// Its `destroy` begins with this C code.
    pub fn in_destroy(mut self, code: impl Into<String>) -> Self {
        self.in_destroy = code.into();
        self
    }

    /// It takes another configuration as it runs; that begins with this C code, which may use `instance`, `request` and `error`.
    pub fn in_configure(mut self, code: impl Into<String>) -> Self {
        self.in_configure = Some(code.into());
        self
    }

    /// It hands its count over, in format 1; that begins with this C code, which may use `instance`, `request` and `error`.
    pub fn in_snapshot(mut self, code: impl Into<String>) -> Self {
        self.in_snapshot = Some(code.into());
        self
    }

    /// It takes the count of the one before it; that begins with this C code, which may use `instance`, `request` and `error`.
    pub fn in_restore(mut self, code: impl Into<String>) -> Self {
        self.in_restore = Some(code.into());
        self
    }

    /// It is compiled and linked with these arguments.
    pub fn built_with(mut self, arguments: &[&'static str]) -> Self {
        self.arguments = arguments.to_vec();
        self
    }

    /// Its check does not return before this file is there.
    pub fn hangs_in_its_check_until(self, file: &Path) -> Self {
        self.in_check(format!("while (access({file:?}, F_OK) != 0) {{ usleep(1000); }}"))
    }

    /// It has a check, which begins with this C code.
    pub fn in_check(mut self, code: impl Into<String>) -> Self {
        self.in_check = Some(code.into());
        self
    }

    /// Builds it; the library is in a folder under `scratch`, outside of what a host watches.
    pub fn build(&self, scratch: &Path) -> PathBuf {
        let dir = tempfile::Builder::new().prefix("source-").tempdir_in(scratch);
        let dir = dir.expect("a folder").keep();
        std::fs::write(dir.join("plugin.toml"), self.manifest()).expect("written");
        std::fs::write(dir.join("plugin.c"), self.source()).expect("written");
        xtask::plugins::build_c_with(&dir, &dir.join("out"), &self.arguments)
            .unwrap_or_else(|error| panic!("{error}"))
    }

    fn manifest(&self) -> String {
        let Answers {
            id,
            version,
            fields,
            declared,
            ..
        } = self;
        let required = self
            .required
            .map(|key| format!("[config]\nrequired = [{key:?}]\n"))
            .unwrap_or_default();
        format!(
            "[plugin]\nid = {id:?}\nversion = {version:?}\nkind = \"general\"\n{fields}\n\
             [[capability]]\nname = \"{id}.ask\"\n[[capability]]\nname = \"{id}.wait\"\n{required}{declared}"
        )
    }

    fn source(&self) -> String {
        let crash = self.crashes_without.as_ref().map_or(String::new(), |file| {
            format!("if (access({file:?}, F_OK) != 0) {{ volatile uintptr_t nowhere = 16; *(volatile int *)nowhere = 1; }}")
        });
        let thread = self.refused_with_thread.as_ref().map_or(String::new(), |file| {
            THREAD.replace("@FILE@", &format!("{file:?}"))
        });
        let check = self.in_check.as_ref();
        let check = check.map_or(String::new(), |code| CHECK.replace("@IN_CHECK@", code));
        let health = if check.is_empty() { "NULL" } else { "&health" };
        let configure = self.in_configure.as_ref();
        let configure = configure.map_or(String::new(), |code| CONFIGURE.replace("@IN_CONFIGURE@", code));
        let takes = if configure.is_empty() { "NULL" } else { "configure" };
        let entry = |code: &Option<String>, source: &str, placeholder| {
            let code = code.as_ref();
            code.map_or(String::new(), |code| source.replace(placeholder, code))
        };
        let snapshot = entry(&self.in_snapshot, SNAPSHOT, "@IN_SNAPSHOT@");
        let restore = entry(&self.in_restore, RESTORE, "@IN_RESTORE@");
        let gives = if snapshot.is_empty() { "NULL" } else { "snapshot" };
        let inherits = if restore.is_empty() { "NULL" } else { "restore" };
        let lifecycle = if thread.is_empty() { "&lifecycle" } else { "NULL" };
        SOURCE
            .replace("@THREAD@", &thread)
            .replace("@LIFECYCLE@", lifecycle)
            .replace("@CHECK@", &check)
            .replace("@CONFIGURE@", &configure)
            .replace("@TAKES@", takes)
            .replace("@SNAPSHOT@", &snapshot)
            .replace("@RESTORE@", &restore)
            .replace("@GIVES@", gives)
            .replace("@INHERITS@", inherits)
            .replace("@HEALTH@", health)
            .replace("@ID@", self.id)
            .replace("@ANSWER@", self.answer)
            .replace("@CRASH@", &crash)
            .replace("@CODE@", &self.code)
            .replace("@IN_INVOKE@", &self.in_invoke)
            .replace("@IN_CREATE@", &self.in_create)
            .replace("@IN_DESTROY@", &self.in_destroy)
    }
}

const THREAD: &str = r#"
#include <pthread.h>

static void *wait_for_file(void *unused) {
    while (access(@FILE@, F_OK) != 0) {
        usleep(1000);
    }
    return unused;
}

__attribute__((constructor)) static void on_load(void) {
    const ExtmanLifecycleVtable *unused = &lifecycle;
    pthread_t thread;
    (void)unused;
    if (pthread_create(&thread, NULL, wait_for_file, NULL) == 0) {
        pthread_detach(thread);
    }
}
"#;

const CHECK: &str = r#"
static ExtmanStatus check(ExtmanInstanceHandle instance, const ExtmanCheckRequest *request, ExtmanReport *report,
                          ExtmanTextBuffer *text) {
    (void)instance, (void)request, (void)report, (void)text;
    @IN_CHECK@
    return EXTMAN_STATUS_OK;
}

static const ExtmanHealthVtable health = {
    .struct_size = sizeof health,
    .check = check,
};
"#;

const CONFIGURE: &str = r#"
static ExtmanStatus configure(ExtmanInstanceHandle handle, const ExtmanConfigureRequest *request, ExtmanTextBuffer *error) {
    Instance *instance = handle;
    @IN_CONFIGURE@
    if (request->config.len > sizeof instance->config) {
        return extman_fail(error, EXTMAN_STATUS_RESOURCE_EXHAUSTED, "no room");
    }
    pthread_mutex_lock(&instance->lock);
    instance->len = request->config.len;
    memcpy(instance->config, request->config.data, request->config.len);
    pthread_mutex_unlock(&instance->lock);
    return EXTMAN_STATUS_OK;
}
"#;

const SNAPSHOT: &str = r#"
static ExtmanStatus snapshot(ExtmanInstanceHandle handle, const ExtmanStepRequest *request, ExtmanSnapshot *to,
                             ExtmanTextBuffer *error) {
    Instance *instance = handle;
    const ExtmanSnapshot said = {.struct_size = sizeof said, .format = 1};
    char state[32];
    (void)error;
    @IN_SNAPSHOT@
    snprintf(state, sizeof state, "%ld", __atomic_load_n(&instance->count, __ATOMIC_SEQ_CST));
    extman_copy_out(to, &said);
    return extman_status_from_host(extman_write(instance->host, request->call, extman_bytes_of_text(state)));
}
"#;

const RESTORE: &str = r#"
static ExtmanStatus restore(ExtmanInstanceHandle handle, const ExtmanRestoreRequest *request, ExtmanTextBuffer *error) {
    Instance *instance = handle;
    char state[32] = {0};
    @IN_RESTORE@
    if (request->format != 1 || request->state.len >= sizeof state) {
        return extman_fail(error, EXTMAN_STATUS_DATA_LOSS, "of another format");
    }
    memcpy(state, request->state.data, request->state.len);
    instance->count = atol(state);
    return EXTMAN_STATUS_OK;
}
"#;

const SOURCE: &str = r#"
#define _GNU_SOURCE
#include "extman_plugin.h"
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef struct {
    const ExtmanHostTable *host;
    ExtmanInstanceToken token;
    pthread_mutex_t lock;
    size_t len;
    char config[4096];
    long count;
} Instance;

@CODE@

static ExtmanStatus create(const ExtmanHostTable *host, const ExtmanCreateRequest *request, ExtmanInstanceHandle *handle,
                           ExtmanTextBuffer *error) {
    @CRASH@
    @IN_CREATE@
    Instance *made = calloc(1, sizeof *made);
    if (made == NULL || request->config.len > sizeof made->config) {
        free(made);
        return extman_fail(error, EXTMAN_STATUS_RESOURCE_EXHAUSTED, "no room");
    }
    made->host = host;
    made->token = request->instance;
    pthread_mutex_init(&made->lock, NULL);
    made->len = request->config.len;
    memcpy(made->config, request->config.data, request->config.len);
    *handle = made;
    return EXTMAN_STATUS_OK;
}

static ExtmanStatus destroy(ExtmanInstanceHandle handle, const ExtmanStepRequest *request, ExtmanTextBuffer *error) {
    (void)request;
    (void)error;
    @IN_DESTROY@
    free(handle);
    return EXTMAN_STATUS_OK;
}

static ExtmanStatus invoke(ExtmanInstanceHandle handle, const ExtmanRequest *request, ExtmanOutcome *outcome,
                           ExtmanTextBuffer *error) {
    Instance *instance = handle;
    const ExtmanHostTable *host = instance->host;
    (void)outcome;
    @IN_INVOKE@
    if (extman_equal(request->input, extman_bytes("panic"))) {
        return extman_fail(error, EXTMAN_STATUS_PANICKED, "a panic, as told");
    }
    if (extman_equal(request->capability, extman_bytes("@ID@.wait"))) {
        char path[1024] = {0};
        if (request->input.len >= sizeof path) {
            return extman_fail(error, EXTMAN_STATUS_INVALID_INPUT, "the path is too long");
        }
        memcpy(path, request->input.data, request->input.len);
        while (access(path, F_OK) != 0) {
            usleep(1000);
        }
    }
    char copy[sizeof instance->config];
    pthread_mutex_lock(&instance->lock);
    ExtmanBytes config = {.data = (const uint8_t *)copy, .len = instance->len};
    memcpy(copy, instance->config, instance->len);
    pthread_mutex_unlock(&instance->lock);
    ExtmanStatus status = extman_begin(host, request->call, extman_bytes("application/json"));
    if (status == EXTMAN_STATUS_OK) {
        status = extman_write(host, request->call, extman_bytes("{\"answer\": \"@ANSWER@\", \"config\": "));
    }
    if (status == EXTMAN_STATUS_OK) {
        status = extman_write(host, request->call, config);
    }
    if (status == EXTMAN_STATUS_OK) {
        status = extman_write(host, request->call, extman_bytes("}"));
    }
    return extman_status_from_host(status);
}

@CONFIGURE@
@SNAPSHOT@
@RESTORE@

static const ExtmanLifecycleVtable lifecycle = {
    .struct_size = sizeof lifecycle,
    .create = create,
    .configure = @TAKES@,
    .snapshot = @GIVES@,
    .restore = @INHERITS@,
    .destroy = destroy,
};

static const ExtmanCapabilityVtable capability = {
    .struct_size = sizeof capability,
    .invoke = invoke,
};

@THREAD@
@CHECK@
static const ExtmanPluginModule module = EXTMAN_PLUGIN_MODULE(@LIFECYCLE@, &capability, @HEALTH@);

const ExtmanPluginModule *extman_plugin_entry(void) { return &module; }
"#;
