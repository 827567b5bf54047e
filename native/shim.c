// The only C of Millrace: mechanism without policy. It gives TypeScript six things that JavaScript cannot do:
//
//   run        executes system calls that TypeScript wrote as records into shared memory (one crossing for a batch)
//   map/unmap  memory that the kernel shares, as an ArrayBuffer
//   addressOf  where an ArrayBuffer's bytes lie, so that records and submission entries can point at them
//   hook       calls a function before Node's event loop would sleep; that function does the sleeping itself
//   watch      calls a function when a descriptor becomes readable, from within libuv's own wait (watch.c)
//   drain/raise  what Node does after a callback: process.nextTick, promises, uncaught exceptions
//
// Every value is per Node environment, so the addon works in worker threads too: descriptors marked in `owned` are closed
// when their environment ends, because a terminated worker runs no more JavaScript that could.
#define _GNU_SOURCE
#include "shim.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

// One record: the system call's number, six arguments, the result (negative: -errno). 64 bytes, a cache line.
struct record {
  uint64_t number;
  uint64_t arguments[6];
  int64_t result;
};

enum { RECORDS = 1024, TURNS_MAX = 64, OWNED_BYTES = (1 << 20) / 8 };

struct mapping {
  void *address;
  size_t length;
};

static napi_value fail(napi_env env, const char *message) {
  napi_throw_error(env, NULL, message);
  return NULL;
}

napi_value number(napi_env env, double value) {
  napi_value result;
  napi_create_double(env, value, &result);
  return result;
}

struct state *state_of(napi_env env) {
  void *data = NULL;
  napi_get_instance_data(env, &data);
  return data;
}

// run(count): executes the first `count` records in order. Results stand in the records.
static napi_value run(napi_env env, napi_callback_info info) {
  napi_value argument;
  size_t count = 1;
  void *data;
  int32_t records = 0;
  napi_get_cb_info(env, info, &count, &argument, NULL, &data);
  napi_get_value_int32(env, argument, &records);
  struct state *state = data;
  if (records < 0 || records > RECORDS) return fail(env, "run: count outside the record table");
  for (int32_t i = 0; i < records; i++) {
    struct record *r = &state->records[i];
    long result = syscall((long)r->number, r->arguments[0], r->arguments[1], r->arguments[2], r->arguments[3],
                          r->arguments[4], r->arguments[5]);
    r->result = result == -1 ? -errno : result;
  }
  return NULL;
}

static void finalize_mapping(napi_env env, void *data, void *hint) {
  struct mapping *mapping = hint;
  if (mapping->address != NULL) munmap(mapping->address, mapping->length);
  free(mapping);
}

// map(length, protection, flags, descriptor, offset, address = 0): an ArrayBuffer, or the negative errno. Garbage collection
// unmaps.
static napi_value map(napi_env env, napi_callback_info info) {
  napi_value arguments[6], result;
  size_t count = 6;
  int64_t values[6] = {0, 0, 0, -1, 0, 0};
  napi_get_cb_info(env, info, &count, arguments, NULL, NULL);
  for (size_t i = 0; i < count && i < 6; i++) napi_get_value_int64(env, arguments[i], &values[i]);
  void *address = mmap((void *)values[5], (size_t)values[0], (int)values[1], (int)values[2], (int)values[3], (off_t)values[4]);
  if (address == MAP_FAILED) return number(env, -errno);
  struct mapping *mapping = malloc(sizeof *mapping);
  if (mapping == NULL) {
    munmap(address, (size_t)values[0]);
    return number(env, -ENOMEM);
  }
  mapping->address = address;
  mapping->length = (size_t)values[0];
  if (napi_create_external_arraybuffer(env, address, mapping->length, finalize_mapping, mapping, &result) != napi_ok) {
    munmap(address, mapping->length);
    free(mapping);
    return fail(env, "map: this runtime does not allow external array buffers");
  }
  return result;
}

// unmap(buffer): gives the memory of `map` back now; the ArrayBuffer is detached (its length becomes 0).
static napi_value unmap(napi_env env, napi_callback_info info) {
  napi_value argument;
  size_t count = 1, length = 0;
  void *address = NULL;
  napi_get_cb_info(env, info, &count, &argument, NULL, NULL);
  if (napi_get_arraybuffer_info(env, argument, &address, &length) != napi_ok) return fail(env, "unmap: not a mapping");
  // Detaching runs the finalizer of the backing store once no view is left; the pages themselves go at once. A fresh
  // reservation without access keeps the range from being handed out again before that finalizer unmaps it.
  if (length > 0) {
    mmap(address, length, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);
    napi_detach_arraybuffer(env, argument);
  }
  return NULL;
}

// addressOf(view): the address of an ArrayBuffer's or a view's first byte, exact below 2^53.
static napi_value address_of(napi_env env, napi_callback_info info) {
  napi_value argument;
  size_t count = 1;
  void *address = NULL;
  bool is_typed = false, is_buffer = false;
  napi_get_cb_info(env, info, &count, &argument, NULL, NULL);
  napi_is_typedarray(env, argument, &is_typed);
  napi_is_arraybuffer(env, argument, &is_buffer);
  if (is_typed) {
    napi_get_typedarray_info(env, argument, NULL, NULL, &address, NULL, NULL);
  } else if (is_buffer) {
    napi_get_arraybuffer_info(env, argument, &address, NULL);
  } else if (napi_get_dataview_info(env, argument, NULL, &address, NULL, NULL) != napi_ok) {
    return fail(env, "addressOf: not an ArrayBuffer or a view of one");
  }
  return number(env, (double)(uintptr_t)address);
}

void raise_pending(napi_env env) {
  bool pending = false;
  napi_is_exception_pending(env, &pending);
  if (!pending) return;
  napi_value error;
  if (napi_get_and_clear_last_exception(env, &error) == napi_ok) napi_fatal_exception(env, error);
}

static void on_idle(uv_idle_t *handle) {}

// libuv calls this before it would sleep in its own epoll. The hooked function sleeps in its place, and libuv's descriptor
// is among the things it waits for; so the idle handle keeps libuv's own wait at zero while the hook is on.
static void on_prepare(uv_prepare_t *handle) {
  struct state *state = handle->data;
  napi_env env = state->env;
  uv_idle_stop(&state->idle);
  for (int turn = 0; turn < TURNS_MAX && state->hooked; turn++) {
    uv_update_time(state->loop);
    // Watchers that libuv has not registered in its epoll yet would not end the sleep.
    int unregistered = state->loop->watcher_queue.next != &state->loop->watcher_queue;
    int timeout = unregistered ? 0 : uv_backend_timeout(state->loop);
    state->shared[0] = timeout;
    napi_handle_scope scope;
    napi_value callback, receiver, result;
    bool again = false;
    napi_open_handle_scope(env, &scope);
    napi_get_reference_value(env, state->callback, &callback);
    napi_get_undefined(env, &receiver);
    if (napi_call_function(env, receiver, callback, 0, NULL, &result) == napi_ok) {
      napi_get_value_bool(env, result, &again);
    } else {
      raise_pending(env);
    }
    napi_close_handle_scope(env, scope);
    if (!again || timeout == 0) break;
  }
  uv_update_time(state->loop);
  if (state->hooked) uv_idle_start(&state->idle, on_idle);
}

// hook(callback): from now on `callback` runs before the loop would sleep. It reads shared()[0] and returns whether to run
// again at once. hook(null) ends it.
static napi_value hook(napi_env env, napi_callback_info info) {
  napi_value argument;
  size_t count = 1;
  napi_valuetype type;
  struct state *state = state_of(env);
  napi_get_cb_info(env, info, &count, &argument, NULL, NULL);
  napi_typeof(env, argument, &type);
  if (state->callback != NULL) napi_delete_reference(env, state->callback);
  state->callback = NULL;
  if (type != napi_function) {
    state->hooked = 0;
    uv_prepare_stop(&state->prepare);
    uv_idle_stop(&state->idle);
    return NULL;
  }
  napi_create_reference(env, argument, 1, &state->callback);
  state->hooked = 1;
  uv_prepare_start(&state->prepare, on_prepare);
  uv_idle_start(&state->idle, on_idle);
  return NULL;
}

// keepAlive(on): whether the hook keeps the process running.
static napi_value keep_alive(napi_env env, napi_callback_info info) {
  napi_value argument;
  size_t count = 1;
  bool on = false;
  struct state *state = state_of(env);
  napi_get_cb_info(env, info, &count, &argument, NULL, NULL);
  napi_get_value_bool(env, argument, &on);
  if (on) {
    uv_ref((uv_handle_t *)&state->prepare);
  } else {
    uv_unref((uv_handle_t *)&state->prepare);
  }
  return NULL;
}

// backend(): the descriptor of libuv's own epoll.
static napi_value backend(napi_env env, napi_callback_info info) {
  return number(env, uv_backend_fd(state_of(env)->loop));
}

// drain(): runs what process.nextTick and promises have queued, as Node does after each of its own callbacks.
static napi_value drain(napi_env env, napi_callback_info info) {
  struct state *state;
  napi_value resource;
  napi_callback_scope scope;
  napi_get_cb_info(env, info, NULL, NULL, NULL, (void **)&state);
  napi_get_reference_value(env, state->resource, &resource);
  napi_open_callback_scope(env, resource, state->context, &scope);
  napi_close_callback_scope(env, scope);
  return NULL;
}

// raise(error): what an exception thrown by a callback does: 'uncaughtException', or the end of the process.
static napi_value raise_error(napi_env env, napi_callback_info info) {
  napi_value argument;
  size_t count = 1;
  napi_get_cb_info(env, info, &count, &argument, NULL, NULL);
  napi_fatal_exception(env, argument);
  return NULL;
}

static void close_owned(struct state *state) {
  for (size_t word = 0; word < OWNED_BYTES / sizeof(uint32_t); word++) {
    for (uint32_t bits = state->owned[word]; bits != 0; bits &= bits - 1) close((int)(word * 32 + (size_t)__builtin_ctz(bits)));
  }
}

void release_handle(struct state *state) {
  if (--state->handles_open > 0) return;
  napi_async_cleanup_hook_handle hook = state->cleanup;
  munmap(state->records, RECORDS * sizeof(struct record));
  munmap(state->owned, OWNED_BYTES);
  free(state->shared);
  free(state);
  napi_remove_async_cleanup_hook(hook);
}

static void on_closed(uv_handle_t *handle) {
  release_handle(handle->data);
}

// The environment ends (process exit or worker termination): the memory goes once libuv has let go of the handles.
static void cleanup(napi_async_cleanup_hook_handle handle, void *data) {
  struct state *state = data;
  state->hooked = 0;
  end_watches(state);
  close_owned(state);
  uv_close((uv_handle_t *)&state->prepare, on_closed);
  uv_close((uv_handle_t *)&state->idle, on_closed);
}

static void ignore_finalizer(napi_env env, void *data, void *hint) {}

static void define(napi_env env, napi_value exports, const char *name, napi_callback callback, void *data) {
  napi_value function;
  napi_create_function(env, name, NAPI_AUTO_LENGTH, callback, data, &function);
  napi_set_named_property(env, exports, name, function);
}

NAPI_MODULE_INIT() {
  struct state *state = calloc(1, sizeof *state);
  if (state == NULL) return fail(env, "millrace: out of memory");
  state->env = env;
  state->shared = calloc(16, sizeof *state->shared);
  state->records = mmap(NULL, RECORDS * sizeof(struct record), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  state->owned = mmap(NULL, OWNED_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (state->records == MAP_FAILED || state->owned == MAP_FAILED || state->shared == NULL ||
      napi_get_uv_event_loop(env, &state->loop) != napi_ok) {
    return fail(env, "millrace: the event loop or memory for it is not available");
  }
  napi_set_instance_data(env, state, NULL, NULL);
  uv_prepare_init(state->loop, &state->prepare);
  uv_idle_init(state->loop, &state->idle);
  state->prepare.data = state->idle.data = state;
  state->handles_open = 2;
  uv_unref((uv_handle_t *)&state->prepare);
  uv_unref((uv_handle_t *)&state->idle);
  napi_add_async_cleanup_hook(env, cleanup, state, &state->cleanup);

  napi_value name, resource, records, shared, owned;
  napi_create_string_utf8(env, "millrace", NAPI_AUTO_LENGTH, &name);
  napi_create_object(env, &resource);
  napi_create_reference(env, resource, 1, &state->resource);
  napi_async_init(env, resource, name, &state->context);
  napi_create_external_arraybuffer(env, state->records, RECORDS * sizeof(struct record), ignore_finalizer, NULL, &records);
  napi_create_external_arraybuffer(env, state->shared, 64, ignore_finalizer, NULL, &shared);
  napi_create_external_arraybuffer(env, state->owned, OWNED_BYTES, ignore_finalizer, NULL, &owned);
  napi_set_named_property(env, exports, "records", records);
  napi_set_named_property(env, exports, "owned", owned);
  napi_set_named_property(env, exports, "shared", shared);
  define(env, exports, "run", run, state);
  define(env, exports, "map", map, state);
  define(env, exports, "unmap", unmap, state);
  define(env, exports, "addressOf", address_of, state);
  define(env, exports, "hook", hook, state);
  define(env, exports, "keepAlive", keep_alive, state);
  define(env, exports, "backend", backend, state);
  define(env, exports, "watch", watch, state);
  define(env, exports, "unwatch", unwatch, state);
  define(env, exports, "keepWatching", keep_watching, state);
  define(env, exports, "drain", drain, state);
  define(env, exports, "raise", raise_error, state);
  return exports;
}
