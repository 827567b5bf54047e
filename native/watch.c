// Part of the shim (shim.c): descriptors that libuv watches beside its own, each with a function that is called while the
// descriptor is readable. Level-triggered, as libuv's own.
#include "shim.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>

// In a list, so that those still open when the environment ends are closed with it.
struct watched {
  uv_poll_t poll;
  struct state *state;
  napi_ref callback;
  struct watched *previous, *next;
};

static void on_watch_closed(uv_handle_t *handle) {
  struct watched *watched = handle->data;
  struct state *state = watched->state;
  free(watched);
  release_handle(state);
}

static void end_watch(struct watched *watched) {
  struct state *state = watched->state;
  if (watched->previous != NULL) watched->previous->next = watched->next;
  if (watched->next != NULL) watched->next->previous = watched->previous;
  if (state->watches == watched) state->watches = watched->next;
  napi_delete_reference(state->env, watched->callback);
  uv_close((uv_handle_t *)&watched->poll, on_watch_closed);
}

static void on_readable(uv_poll_t *handle, int status, int events) {
  struct watched *watched = handle->data;
  struct state *state = watched->state;
  napi_env env = state->env;
  napi_handle_scope scope;
  napi_value callback, resource;
  napi_open_handle_scope(env, &scope);
  napi_get_reference_value(env, watched->callback, &callback);
  napi_get_reference_value(env, state->resource, &resource);
  if (napi_make_callback(env, state->context, resource, callback, 0, NULL, NULL) != napi_ok) raise_pending(env);
  napi_close_handle_scope(env, scope);
}

// watch(descriptor, callback): from now on `callback` runs whenever the descriptor is readable and as long as it stays so. Gives
// what `unwatch` takes, or the negative errno (-EPERM for files, which are always readable).
napi_value watch(napi_env env, napi_callback_info info) {
  napi_value arguments[2], result;
  size_t count = 2;
  int32_t descriptor = -1;
  struct state *state = state_of(env);
  napi_get_cb_info(env, info, &count, arguments, NULL, NULL);
  napi_get_value_int32(env, arguments[0], &descriptor);
  struct watched *watched = calloc(1, sizeof *watched);
  if (watched == NULL) return number(env, -ENOMEM);
  int error = uv_poll_init(state->loop, &watched->poll, descriptor);
  if (error != 0) {
    free(watched);
    return number(env, error);
  }
  watched->poll.data = watched;
  watched->state = state;
  watched->next = state->watches;
  if (state->watches != NULL) state->watches->previous = watched;
  state->watches = watched;
  state->handles_open++;
  napi_create_reference(env, arguments[1], 1, &watched->callback);
  uv_poll_start(&watched->poll, UV_READABLE, on_readable);
  napi_create_external(env, watched, NULL, NULL, &result);
  return result;
}

static struct watched *watched_of(napi_env env, napi_callback_info info, bool *on) {
  napi_value arguments[2];
  size_t count = 2;
  void *watched = NULL;
  napi_get_cb_info(env, info, &count, arguments, NULL, NULL);
  napi_get_value_external(env, arguments[0], &watched);
  if (on != NULL) napi_get_value_bool(env, arguments[1], on);
  return watched;
}

// unwatch(watch): once, and before the descriptor is closed.
napi_value unwatch(napi_env env, napi_callback_info info) {
  struct watched *watched = watched_of(env, info, NULL);
  if (watched != NULL) end_watch(watched);
  return NULL;
}

// keepWatching(watch, on): whether the watch keeps the process running.
napi_value keep_watching(napi_env env, napi_callback_info info) {
  bool on = false;
  struct watched *watched = watched_of(env, info, &on);
  if (watched == NULL) return NULL;
  if (on) {
    uv_ref((uv_handle_t *)&watched->poll);
  } else {
    uv_unref((uv_handle_t *)&watched->poll);
  }
  return NULL;
}

void end_watches(struct state *state) {
  while (state->watches != NULL) end_watch(state->watches);
}
