// What the two files of the shim share: the state of one Node environment, and how both report.
#ifndef MILLRACE_SHIM_H
#define MILLRACE_SHIM_H

#define NAPI_VERSION 9
#include <node_api.h>
#include <stdint.h>
#include <uv.h>

struct state {
  napi_env env;
  struct record *records;
  uv_loop_t *loop;
  uv_prepare_t prepare;
  uv_idle_t idle;
  int handles_open;
  int hooked;
  int32_t *shared;  // [0]: how long the loop may sleep, in milliseconds; -1 without end
  napi_ref callback;
  napi_ref resource;
  napi_async_context context;
  napi_async_cleanup_hook_handle cleanup;
  uint32_t *owned;  // one bit a descriptor, set and cleared by TypeScript
  struct watched *watches;  // watch.c
};

// Nothing of this is for others in the process to call, or to take the place of.
#pragma GCC visibility push(hidden)

// A number as a JavaScript value.
napi_value number(napi_env env, double value);
struct state *state_of(napi_env env);
// An exception that a callback threw becomes 'uncaughtException'.
void raise_pending(napi_env env);
// A libuv handle of this environment has closed; with the last one the state goes.
void release_handle(struct state *state);

// watch.c
napi_value watch(napi_env env, napi_callback_info info);
napi_value unwatch(napi_env env, napi_callback_info info);
napi_value keep_watching(napi_env env, napi_callback_info info);
void end_watches(struct state *state);

#pragma GCC visibility pop
#endif
