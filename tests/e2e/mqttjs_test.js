#!/usr/bin/env node
// MQTT.js over WebSocket, plain and secure, as browsers and Node use it.
'use strict';

const assert = require('node:assert');
const { once } = require('node:events');
const http = require('node:http');
const { certificates, main, patiently, startBroker, test } = require('./lib/e2e.js');
const mqtt = require('mqtt');
const WebSocket = require('ws');

const tls = certificates();
const LARGE = 512 * 1024;

// Collects a client's messages; take(n) resolves with the first n that nobody took yet.
class Client {
  constructor(url, options = {}) {
    this.client = mqtt.connect(url, { ca: tls.ca, reconnectPeriod: 0, ...options });
    this.messages = [];
    this.waiting = () => {};
    this.client.on('message', (topic, payload, packet) => {
      this.messages.push({ topic, payload, packet });
      this.waiting();
    });
    this.client.on('error', () => {}); // What matters is looked at where it is expected.
  }

  static async connected(url, options) {
    const made = new Client(url, options);
    [made.connack] = await patiently(once(made.client, 'connect'), `connecting to ${url}`);
    return made;
  }

  async take(count) {
    await patiently(new Promise((resolve) => {
      this.waiting = () => this.messages.length >= count && resolve();
      this.waiting();
    }), `${count} messages`);
    return this.messages.splice(0, count);
  }

  subscribe(topic, options) { return this.client.subscribeAsync(topic, options); }
  publish(topic, payload, options) { return this.client.publishAsync(topic, payload, options); }
  end() { return this.client.endAsync(); }
}

// A WebSocket without MQTT.js; resolves with {status} if the broker refuses the upgrade.
function socket(url, protocols = 'mqtt', options = {}) {
  return patiently(new Promise((resolve, reject) => {
    const made = new WebSocket(url, protocols, { ca: tls.ca, ...options });
    made.received = Buffer.alloc(0);
    made.progress = () => {};
    made.on('message', (data) => {
      made.received = Buffer.concat([made.received, data]);
      made.progress();
    });
    made.on('open', () => resolve(made));
    made.on('unexpected-response', (_, response) => {
      response.resume();
      resolve({ status: response.statusCode });
    });
    made.on('error', reject);
  }), `WebSocket ${url}`);
}

const receive = (made, count) => patiently(new Promise((resolve) => {
  made.progress = () => made.received.length >= count && resolve(made.received);
  made.progress();
}), `${count} bytes`);

const CONNECT = Buffer.from([0x10, 12, 0, 4, 0x4d, 0x51, 0x54, 0x54, 4, 2, 0, 0, 0, 0]);
const CONNACK = Buffer.from([0x20, 2, 0, 0]);
const PINGREQ = Buffer.from([0xc0, 0]);
const PINGRESP = Buffer.from([0xd0, 0]);

async function start() {
  const broker = await startBroker(`\
data_dir: {data}
tls:
  cert_file: ${tls.cert}
  key_file: ${tls.key}
listeners:
  - ws://127.0.0.1:0/mqtt
  - wss://127.0.0.1:0/mqtt
  - mqtt://127.0.0.1:0
  - mqtts://127.0.0.1:0
`);
  const [ws, wss, tcp, secure] = broker.urls;

  for (const [transport, url] of [['ws', ws], ['wss', wss], ['mqtt', tcp], ['mqtts', secure]]) {
    for (const protocolVersion of [4, 5]) {
      const label = `${transport}, protocol level ${protocolVersion}`;
      const topic = `${transport}/${protocolVersion}`;

      test(`${label}: QoS 0, 1 and 2 arrive once with their QoS`, async () => {
        const subscriber = await Client.connected(url, { protocolVersion });
        const publisher = await Client.connected(url, { protocolVersion });
        await subscriber.subscribe(`${topic}/#`, { qos: 2 });
        for (const qos of [0, 1, 2]) await publisher.publish(`${topic}/${qos}`, `hello ${qos}`, { qos });
        await publisher.publish(`${topic}/end`, '', { qos: 2 });
        const got = (await subscriber.take(4)).slice(0, 3);
        assert.deepStrictEqual(got.map(({ topic: name, payload, packet }) => [name, `${payload}`, packet.qos]).sort(),
          [0, 1, 2].map((qos) => [`${topic}/${qos}`, `hello ${qos}`, qos]));
        await subscriber.end();
        await publisher.end();
      });
    }
  }

  for (const [transport, url] of [['ws', ws], ['wss', wss]]) {
    for (const protocolVersion of [4, 5]) {
      const label = `${transport}, protocol level ${protocolVersion}`;
      const topic = `more/${transport}/${protocolVersion}`;

      test(`${label}: 512 KiB arrive unchanged, both ways, among small ones`, async () => {
        const client = await Client.connected(url, { protocolVersion });
        await client.subscribe(topic, { qos: 1 });
        const large = Buffer.alloc(LARGE, (transport + protocolVersion).repeat(7));
        for (let index = 0; index < large.length; index += 4093) large[index] = index % 251;
        const sent = [large, Buffer.from('small'), large.subarray(1), Buffer.alloc(0), large.subarray(0, 65536)];
        await Promise.all(sent.map((payload) => client.publish(topic, payload, { qos: 1 })));
        const got = await client.take(sent.length);
        sent.forEach((payload, index) => assert.ok(payload.equals(got[index].payload), `message ${index}`));
        await client.end();
      });

      test(`${label}: a connection that broke comes back with its session and loses nothing`, async () => {
        const identity = protocolVersion === 5 ? { properties: { sessionExpiryInterval: 1000 } } : {};
        const client = await Client.connected(url, {
          protocolVersion, clean: false, clientId: `back-${transport}-${protocolVersion}`, reconnectPeriod: 1,
          ...identity,
        });
        await client.subscribe(`${topic}/back`, { qos: 2 });
        const other = await Client.connected(url, { protocolVersion });
        const count = 30;
        for (let round = 0; round < 3; round += 1) {
          const closed = once(client.client, 'close');
          client.client.stream.destroy();
          const connected = once(client.client, 'connect');
          for (let index = 0; index < count / 3; index += 1) {
            await other.publish(`${topic}/back`, `${round * 10 + index}`, { qos: 1 });
          }
          await closed;
          const [connack] = await connected;
          assert.strictEqual(connack.sessionPresent, true);
        }
        // QoS 1 may come twice across a break; first copies are in order, none is missing.
        const firsts = new Set();
        while (firsts.size < count) firsts.add(Number((await client.take(1))[0].payload));
        assert.deepStrictEqual([...firsts], [...Array(count).keys()]);
        await client.end();
        await other.end();
      });
    }

    test(`${transport}: properties of 5.0 arrive as they were sent`, async () => {
      const client = await Client.connected(url, { protocolVersion: 5 });
      await client.subscribe(`properties/${transport}`, { qos: 1, properties: { subscriptionIdentifier: 77 } });
      const properties = {
        contentType: 'application/json', responseTopic: 'answers', correlationData: Buffer.from([0, 255]),
        payloadFormatIndicator: true, messageExpiryInterval: 1000, userProperties: { a: ['1', '2'], b: 'ü' },
      };
      await client.publish(`properties/${transport}`, '{}', { qos: 1, properties });
      const got = (await client.take(1))[0].packet.properties;
      assert.strictEqual(got.subscriptionIdentifier, 77);
      assert.ok(got.messageExpiryInterval > 900);
      for (const name of ['contentType', 'responseTopic', 'correlationData', 'payloadFormatIndicator']) {
        assert.deepStrictEqual(got[name], properties[name], name);
      }
      assert.deepStrictEqual({ ...got.userProperties }, properties.userProperties);
      await client.end();
    });

    test(`${transport}: a will is published when the connection breaks`, async () => {
      const watcher = await Client.connected(url);
      await watcher.subscribe(`will/${transport}`, { qos: 1 });
      const victim = await Client.connected(url, { will: { topic: `will/${transport}`, payload: 'gone', qos: 1 } });
      victim.client.stream.destroy();
      assert.strictEqual(`${(await watcher.take(1))[0].payload}`, 'gone');
      await watcher.end();
    });

    test(`${transport}: packets may be cut and joined in any way over frames`, async () => {
      const single = await socket(url);
      for (const byte of CONNECT) single.send(Buffer.from([byte])); // A frame for each byte.
      assert.deepStrictEqual(await receive(single, 4), CONNACK);
      single.close();

      const joined = await socket(url);
      joined.send(Buffer.concat([CONNECT, PINGREQ, PINGREQ.subarray(0, 1)])); // Ends within a packet.
      joined.send(PINGREQ.subarray(1));
      assert.deepStrictEqual(await receive(joined, 8), Buffer.concat([CONNACK, PINGRESP, PINGRESP]));

      joined.send(PINGREQ.subarray(0, 1), { fin: false }); // A message in three fragments, a ping among them.
      joined.ping('are you there');
      joined.send(PINGREQ.subarray(1), { fin: false });
      joined.send(PINGREQ, { fin: true });
      const [pong] = await patiently(once(joined, 'pong'), 'pong');
      assert.strictEqual(`${pong}`, 'are you there');
      await receive(joined, 12);
      const closed = once(joined, 'close');
      joined.close(1000);
      assert.strictEqual((await patiently(closed, 'close'))[0], 1000);
    });

    test(`${transport}: another path is not found, /mqtt with a query is`, async () => {
      const origin = url.slice(0, url.lastIndexOf('/'));
      for (const path of ['/', '/mqtt2', '/mqtt/', '/mqt', '/MQTT']) {
        assert.strictEqual((await socket(origin + path)).status, 404, path);
      }
      (await socket(`${url}?token=1`)).close();
      const refused = new Client(`${origin}/elsewhere`);
      await patiently(once(refused.client, 'close'), 'refusal');
      assert.strictEqual(refused.client.connected, false);
      refused.client.end(true);
    });

    test(`${transport}: without the subprotocol mqtt the upgrade is refused`, async () => {
      for (const protocols of [[], ['amqp'], ['MQTT2']]) {
        assert.strictEqual((await socket(url, protocols)).status, 400, `${protocols}`);
      }
      for (const protocols of [['mqtt'], ['mqttv3.1'], ['other', 'mqtt']]) {
        const made = await socket(url, protocols);
        assert.ok(protocols.includes(made.protocol) && made.protocol.startsWith('mqtt'), `${protocols}`);
        made.close();
      }
    });

    test(`${transport}: text frames end the connection`, async () => {
      const made = await socket(url);
      const closed = once(made, 'close');
      made.send('CONNECT');
      assert.strictEqual((await patiently(closed, 'close'))[0], 1003);
    });
  }

  test('ws: a plain HTTP request is answered and closed', async () => {
    const status = await patiently(new Promise((resolve, reject) => {
      http.get(ws.replace('ws:', 'http:'), (response) => {
        response.resume();
        response.on('end', () => resolve(response.statusCode));
      }).on('error', reject);
    }), 'answer');
    assert.ok(status === 426 || status === 400, `status ${status}`);
  });

  test('wss: a client that does not know the authority refuses the certificate', async () => {
    await assert.rejects(socket(wss, 'mqtt', { ca: undefined }), /self-signed|unable to verify|UNABLE|local issuer/);
    const client = await Client.connected(wss);
    await client.end();
  });

  test('ws and tcp clients reach each other, retained messages too', async () => {
    const browser = await Client.connected(ws, { protocolVersion: 5 });
    const device = await Client.connected(tcp, { protocolVersion: 4 });
    await device.publish('bridge/state', 'on', { qos: 1, retain: true });
    await browser.subscribe('bridge/#', { qos: 1 });
    const [retained] = await browser.take(1);
    assert.deepStrictEqual([`${retained.payload}`, retained.packet.retain], ['on', true]);
    await device.subscribe('to/device', { qos: 2 });
    await browser.publish('to/device', 'do', { qos: 2 });
    assert.strictEqual(`${(await device.take(1))[0].payload}`, 'do');
    await browser.end();
    await device.end();
  });

  test('at SIGTERM clients of 5.0 over WebSocket are told 0x8B', async () => {
    const client = await Client.connected(wss, { protocolVersion: 5 });
    const told = once(client.client, 'disconnect');
    const ended = new Promise((resolve) => {
      broker.process.removeAllListeners('exit');
      broker.process.on('exit', resolve);
    });
    broker.process.kill('SIGTERM');
    assert.strictEqual((await patiently(told, 'DISCONNECT'))[0].reasonCode, 0x8b);
    assert.strictEqual(await patiently(ended, 'end'), 0);
  });

  await main(() => broker.process.kill('SIGKILL'));
}

start().catch((error) => {
  console.log(`not ok - ${error.stack}`);
  process.exit(1);
});
