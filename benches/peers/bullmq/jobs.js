// The figures of `caseworker bench work` on BullMQ and a Redis of its own: jobs taken and completed by eight
// worker connections, one job at a time and 32 at a time each, and from adding a job to a waiting worker.
//
//     npm install && node jobs.js [--jobs 20000] [--runs 3] [--fsync always|everysec|no]
//
// It needs redis-server on the path. Each figure is its median and its least and most over the runs.
const { spawn } = require('node:child_process');
const { mkdtempSync, rmSync } = require('node:fs');
const { connect, createServer } = require('node:net');
const { tmpdir } = require('node:os');
const { join } = require('node:path');
const { parseArgs } = require('node:util');
const { Queue, Worker } = require('bullmq');

const { values } = parseArgs({
  options: {
    jobs: { type: 'string', default: '20000' },
    runs: { type: 'string', default: '3' },
    fsync: { type: 'string', default: 'always' },
  },
});
const JOBS = Number(values.jobs);
const RUNS = Number(values.runs);
const CONNECTIONS = 8;
const HEARD = 500;

function freePort() {
  return new Promise((resolve) => {
    const server = createServer().listen(0, '127.0.0.1', () => {
      const { port } = server.address();
      server.close(() => resolve(port));
    });
  });
}

async function reachable(port) {
  for (;;) {
    const is = await new Promise((resolve) => {
      const socket = connect(port, '127.0.0.1', () => resolve(true));
      socket.on('error', () => resolve(false)).on('close', () => resolve(false));
      socket.on('connect', () => socket.end());
    });
    if (is) return;
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

// Runs something against a Redis that holds nothing, and ends it.
async function withRedis(measure) {
  const dir = mkdtempSync(join(tmpdir(), 'bullmq-jobs-'));
  const port = await freePort();
  const append = values.fsync === 'no' ? ['no'] : ['yes', '--appendfsync', values.fsync];
  const redis = spawn(
    'redis-server',
    ['--bind', '127.0.0.1', '--port', String(port), '--dir', dir, '--appendonly', ...append],
    { stdio: 'ignore' },
  );
  redis.on('error', (error) => {
    console.error(`redis-server: ${error.message}`);
    process.exit(1);
  });
  await reachable(port);
  const connection = { host: '127.0.0.1', port, maxRetriesPerRequest: null };
  const queue = new Queue('bench', { connection });
  try {
    await queue.waitUntilReady();
    return await measure(queue, connection);
  } finally {
    await queue.close();
    const over = new Promise((resolve) => redis.on('exit', resolve));
    redis.kill('SIGKILL');
    await over;
    rmSync(dir, { recursive: true, force: true });
  }
}

// Jobs a second: all wait when the first worker begins; a worker's output is its input.
function drained(concurrency) {
  return withRedis(async (queue, connection) => {
    for (let first = 0; first < JOBS; first += 1000) {
      const some = Array.from({ length: Math.min(1000, JOBS - first) }, (_, n) => ({
        name: 'score',
        data: { number: first + n },
      }));
      await queue.addBulk(some);
    }
    let done = 0;
    const begun = performance.now();
    const workers = [];
    await new Promise((resolve) => {
      for (let number = 0; number < CONNECTIONS; number += 1) {
        const worker = new Worker('bench', async (job) => job.data, { connection, concurrency });
        worker.on('completed', () => {
          done += 1;
          if (done === JOBS) resolve();
        });
        workers.push(worker);
      }
    });
    const took = (performance.now() - begun) / 1000;
    await Promise.all(workers.map((worker) => worker.close()));
    return JOBS / took;
  });
}

// Milliseconds from adding a job to a worker that waits for it, one after the other.
function heard() {
  return withRedis(async (queue, connection) => {
    let told;
    const worker = new Worker('bench', async () => told(performance.now()), { connection });
    await worker.waitUntilReady();
    const all = [];
    for (let number = 0; number < HEARD; number += 1) {
      const began = performance.now();
      const at = new Promise((resolve) => {
        told = resolve;
      });
      await queue.add('score', { number });
      all.push((await at) - began);
    }
    await worker.close();
    return all.sort((a, b) => a - b);
  });
}

function show(name, unit, all) {
  const sorted = [...all].sort((a, b) => a - b);
  const at = (part) => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))];
  const figure = (n) => (n >= 100 ? Math.round(n).toString() : n.toFixed(2));
  const spread = `(${figure(sorted[0])}…${figure(sorted.at(-1))})`;
  console.log(`${name}: ${figure(at(0.5))} ${unit} ${spread}`);
}

async function main() {
  console.log(`BullMQ, appendfsync ${values.fsync}, ${JOBS} jobs, ${RUNS} runs`);
  for (const [concurrency, name] of [
    [1, 'jobs taken and completed, one at a time'],
    [32, 'jobs taken and completed, 32 at a time'],
  ]) {
    const rates = [];
    for (let run = 0; run < RUNS; run += 1) rates.push(await drained(concurrency));
    show(name, 'jobs/s', rates);
  }
  const all = await heard();
  const at = (part) => all[Math.floor(all.length * part)].toFixed(2);
  console.log(`a new job to a waiting worker: p50 ${at(0.5)} ms, p99 ${at(0.99)} ms`);
}

main();
