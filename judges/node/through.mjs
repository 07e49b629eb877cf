// What the client suite takes for the client: Marque before the suite's server, and a real client before Marque.
// Usage: node through.mjs CLIENT.mjs URL, with the program in JUDGE_MARQUE; "-" there puts the client before the server.
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

const READY_MS_MAX = 10_000;
const CLIENT_MS_MAX = 20_000;
const END_MS_MAX = 2_000;
const [script, server] = process.argv.slice(2);
// The suite's server speaks one revision and holds every other question against its client: it is pinned, as an operator would.
const protocol = process.env.MCP_CONFORMANCE_PROTOCOL_VERSION;
const folder = mkdtempSync(join(tmpdir(), 'judge-'));
const marque = process.env.JUDGE_MARQUE === '-' ? undefined : await start();
const code = await client(marque?.url ?? server);
await marque?.end();
rmSync(folder, { recursive: true });
process.exit(code);

async function start() {
  const known = ['2025-11-25', '2026-07-28'].includes(protocol) ? { protocol } : {};
  const toolset = {
    apiVersion: 'marque.dev/v1alpha1',
    kind: 'Toolset',
    metadata: { name: 'suite' },
    spec: { access: 'Anonymous', naming: 'Passthrough', uris: 'Passthrough', servers: [{ name: 'suite', url: server, ...known }] }
  };
  writeFileSync(join(folder, 'toolset.yaml'), JSON.stringify(toolset));
  const where = ['--listen', `127.0.0.1:${await freePort()}`, '--state-dir', join(folder, 'state')];
  const given = ['up', join(folder, 'toolset.yaml'), '--admin', 'off', ...where];
  const child = spawn(process.env.JUDGE_MARQUE, given, { stdio: ['ignore', 'pipe', 'inherit'] });
  const ended = new Promise((resolve) => child.on('exit', resolve));
  const url = await ready(child, ended);
  const end = async () => {
    child.kill('SIGTERM');
    const insist = setTimeout(() => child.kill('SIGKILL'), END_MS_MAX);
    await ended;
    clearTimeout(insist);
  };
  return { url, end };
}

// The endpoint is named first; the server's line follows once it was asked what it has.
function ready(child, ended) {
  let url;
  return new Promise((resolve, reject) => {
    const enough = setTimeout(() => (url ? resolve(url) : reject(new Error('marque named no endpoint'))), READY_MS_MAX);
    ended.then(() => reject(new Error('marque ended')));
    createInterface({ input: child.stdout }).on('line', (line) => {
      url ??= line.match(/http:\/\/\S+\/mcp\S*/)?.[0];
      if (url && line.includes('suite/suite')) {
        clearTimeout(enough);
        resolve(url);
      }
    });
  });
}

function client(url) {
  const path = join(dirname(fileURLToPath(import.meta.url)), script);
  const child = spawn(process.execPath, [path, url], { stdio: ['ignore', 'inherit', 'inherit'] });
  setTimeout(() => child.kill('SIGKILL'), CLIENT_MS_MAX).unref();
  return new Promise((resolve) => child.on('exit', (status) => resolve(status ?? 1)));
}

function freePort() {
  const taken = createServer();
  return new Promise((resolve) => taken.listen(0, '127.0.0.1', () => resolve(taken.address().port))).then(
    (port) => new Promise((resolve) => taken.close(() => resolve(port)))
  );
}
