// What the JavaScript scripts share: a broker process, certificates, cases. See e2e.py for the rules.
'use strict';

const { execFileSync, spawn } = require('node:child_process');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');

const PATIENCE_MS = 60000 * Number(process.env.MQTTD_TEST_SLOWDOWN || 1); // Only a failure ever waits that long.
const scratch = process.env.TEST_TMPDIR || fs.mkdtempSync(path.join(os.tmpdir(), 'mqttd-e2e-'));
const binary = process.env.MQTTD_BIN || 'build/release/bin/mqttd';

const cases = [];
const test = (name, run) => cases.push({ name, run });

function patiently(promise, what) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${what}: takes too long`)), PATIENCE_MS);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

// Runs the cases in order and ends the process; `clean` is called at the end.
async function main(clean) {
  let failed = 0;
  let number = 0;
  for (const { name, run } of cases) {
    number += 1;
    try {
      await patiently(run(), name);
      console.log(`ok ${number} - ${name}`);
    } catch (error) {
      failed += 1;
      console.log(`not ok ${number} - ${name}`);
      console.log(String(error.stack || error).replace(/^/gm, '#   '));
    }
  }
  console.log(`1..${number}`);
  clean();
  process.exit(failed || !number ? 1 : 0);
}

function certificates() {
  const directory = fs.mkdtempSync(path.join(scratch, 'tls-'));
  const file = (name) => path.join(directory, name);
  const key = (name) => ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-keyout', file(name)];
  const openssl = (...args) => execFileSync('openssl', args, { stdio: 'pipe' });
  openssl('req', '-x509', ...key('ca.key'), '-days', '2', '-subj', '/CN=test authority', '-out', file('ca.crt'));
  openssl('req', ...key('server.key'), '-subj', '/CN=localhost', '-out', file('server.csr'));
  fs.writeFileSync(file('ext'), 'subjectAltName=DNS:localhost,IP:127.0.0.1\n');
  openssl('x509', '-req', '-in', file('server.csr'), '-CA', file('ca.crt'), '-CAkey', file('ca.key'), '-days', '2',
    '-CAcreateserial', '-extfile', file('ext'), '-out', file('server.crt'));
  return { ca: fs.readFileSync(file('ca.crt')), cert: file('server.crt'), key: file('server.key') };
}

// {process, urls, log()}: a broker that is ready, with `config` as its file; {data} in it is its directory.
function startBroker(config) {
  const directory = fs.mkdtempSync(path.join(scratch, 'broker-'));
  const file = path.join(directory, 'mqttd.yaml');
  fs.writeFileSync(file, config.replace('{data}', path.join(directory, 'data')));
  const child = spawn(binary, ['--config', file, '--http', '127.0.0.1:0', '--admin', 'off'], { stdio: ['ignore', 'pipe', 'pipe'] });
  process.on('exit', () => child.kill('SIGKILL'));
  let log = '';
  let out = '';
  child.stderr.on('data', (data) => { log += data; });
  return patiently(new Promise((resolve, reject) => {
    child.on('error', reject);
    child.on('exit', (code) => reject(new Error(`mqttd ended with ${code}: ${log}`)));
    child.stdout.on('data', (data) => {
      out += data;
      const ready = /^mqttd ready .*listen=(\S+)/m.exec(out);
      if (ready && out.endsWith('\n')) resolve({ process: child, urls: ready[1].split(','), log: () => log });
    });
  }), 'start of mqttd');
}

module.exports = { certificates, main, patiently, startBroker, test };
