// Prints where it listens, then whatever arrives, one JSON value in a line. Ends with its standard input.
const {
  MockOtlpServer, normalizeLogs, normalizeMetrics, normalizeTrace,
} = require('@elastic/mockotlpserver');

const print = (value) => process.stdout.write(
  JSON.stringify(value, (_, each) => (typeof each === 'bigint' ? String(each) : each)) + '\n');

const server = new MockOtlpServer({
  logLevel: 'warn',
  services: ['http', 'grpc'],
  httpHostname: '127.0.0.1',
  httpPort: 0,
  grpcHostname: '127.0.0.1',
  grpcPort: 0,
  onTrace: (trace) => print({traces: normalizeTrace(trace)}),
  onMetrics: (metrics) => print({metrics: normalizeMetrics(metrics)}),
  onLogs: (logs) => print({logs: normalizeLogs(logs)}),
});

server.start().then(() => print({http: server.httpUrl, grpc: server.grpcUrl}));
process.stdin.on('end', () => process.exit(0)).resume();
