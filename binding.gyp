{
  "targets": [
    {
      "target_name": "millrace",
      "sources": ["native/shim.c", "native/watch.c"],
      "cflags": ["-O2", "-Wall", "-Wextra", "-Wno-unused-parameter", "-std=gnu11"]
    }
  ]
}
