{
  "targets": [
    {
      "target_name": "millrace",
      "sources": ["native/shim.c"],
      "cflags": ["-O2", "-Wall", "-Wextra", "-Wno-unused-parameter", "-std=gnu11"]
    }
  ]
}
