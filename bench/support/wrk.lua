-- Prints wrk's summary as one line of JSON. No request or response function is defined, so wrk stays on its fast path.
function done(summary, latency, requests)
  local errors = summary.errors
  io.write(string.format(
    'summary {"requests":%d,"bytes":%d,"durationUs":%d,"p50Us":%d,"p99Us":%d,"connect":%d,"read":%d,"write":%d,"status":%d,"timeout":%d}\n',
    summary.requests, summary.bytes, summary.duration, latency:percentile(50), latency:percentile(99),
    errors.connect, errors.read, errors.write, errors.status, errors.timeout))
end
