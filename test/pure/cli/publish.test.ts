import assert from 'node:assert/strict'
import { test } from 'node:test'
import { publishedPorts } from '../../../src/cli/options/publish.ts'
import { shownPorts } from '../../../src/cli/terminal/ports.ts'
import { publishedPort } from '../../../src/oci/spec/published-port.ts'

const tcp = (containerPort: number, more: object = {}) => ({ containerPort, protocol: 'tcp', ...more })

test('-p takes what docker takes', () => {
  const cases: Record<string, object[]> = {
    '8080:80': [tcp(80, { hostPort: 8080 })],
    '80': [tcp(80)],
    '80-81': [tcp(80), tcp(81)],
    '8000-8001:80-81': [tcp(80, { hostPort: 8000 }), tcp(81, { hostPort: 8001 })],
    '8000-8010:80': [tcp(80, { hostPort: 8000, hostPortMax: 8010 })],
    '127.0.0.1::80': [tcp(80, { hostIp: '127.0.0.1' })],
    '127.0.0.1:8000-8001:80-81/UDP': [80, 81].map((port) => ({
      ...tcp(port, { hostIp: '127.0.0.1', hostPort: port + 7920 }),
      protocol: 'udp',
    })),
    '[::1]:8080:80/sctp': [{ ...tcp(80, { hostIp: '::1', hostPort: 8080 }), protocol: 'sctp' }],
  }
  for (const [text, ports] of Object.entries(cases)) {
    assert.deepEqual(publishedPorts(text), ports, text)
    for (const port of ports) publishedPort.parse(port)
  }
  for (const text of [
    '',
    '80:',
    '0:80',
    '80:0',
    '80:65536',
    '81-80',
    '999.1.1.1:80:80',
    '::1:80:80',
    '80/icmp',
    'a:80',
  ])
    assert.throws(() => publishedPorts(text), { code: 'invalid_argument', message: /publishes no port/ }, text)
  assert.throws(() => publishedPorts('8000-8005:80-82'), /publishes 3 ports of the container as 6 of the host/)
})

test('ports that follow each other are shown as a range', () => {
  const ports = ['8001:81', '8000:80', '8003:82', '127.0.0.1:8002:82', '8001:81/udp'].flatMap(publishedPorts)
  assert.equal(
    shownPorts(ports.map((port) => ({ hostPort: 0, ...port }))),
    '0.0.0.0:8000-8001->80-81/tcp, 0.0.0.0:8001->81/udp, 0.0.0.0:8003->82/tcp, 127.0.0.1:8002->82/tcp',
  )
})
