// StatsD for `bgtop export --statsd 127.0.0.1:8125`: npx statsd config.js
{
  port: 8125,
  address: "127.0.0.1",
  graphiteHost: "127.0.0.1",
  graphitePort: 2003,
  // Not less than the finest retention in storage-schemas.conf, or points are lost.
  flushInterval: 10000,
  backends: ["./backends/graphite"],
  // What does not happen is told as 0, so that diffSeries() has both sides at every point.
  deleteGauges: false,
  deleteCounters: false,
  graphite: { legacyNamespace: true }
}
