import assert from 'node:assert/strict'
import { test } from 'node:test'
import { z } from 'zod'
import { containerOptions, execOptions } from '../../../src/oci/spec/container-options.ts'

const refuses = (options: unknown, message: RegExp) => {
  const result = containerOptions.safeParse(options)
  assert.equal(result.success, false, JSON.stringify(options))
  assert.match(z.prettifyError(result.error ?? assert.fail()), message)
}

test('nothing asked is a container with the defaults', () => {
  assert.deepEqual(containerOptions.parse({}), {
    env: [],
    tty: false,
    stdin: false,
    mounts: [],
    resources: {},
    readOnlyRoot: false,
  })
})

test('every field is taken', () => {
  const all = {
    args: ['-c', ''],
    entrypoint: ['sh'],
    env: ['A=1', 'B='],
    workingDir: '/w',
    user: 'app:1000',
    tty: true,
    stdin: true,
    hostname: 'web-1.example',
    mounts: [
      { type: 'bind', source: '/srv', target: '/srv/', options: ['ro', 'rslave'] },
      { type: 'tmpfs', target: '/cache', options: ['size=64m', 'mode=1777'] },
    ],
    network: 'blue',
    moreNetworks: ['red'],
    ip: '10.89.0.7',
    mac: '02:00:00:00:00:07',
    ports: [{ hostIp: '127.0.0.1', hostPort: 8080, containerPort: 80, protocol: 'tcp' }],
    dns: ['10.1.1.1'],
    dnsSearch: ['lan'],
    extraHosts: [
      { name: 'db', address: '10.1.1.9' },
      { name: 'out', address: 'host-gateway' },
    ],
    resources: { memoryBytes: 64 << 20, cpus: 1.5, cpuShares: 512, pidsLimit: 100 },
    stopSignal: 'SIGRTMIN+3',
    readOnlyRoot: true,
  }
  assert.deepEqual(containerOptions.parse(all), all)
})

test('each refusal says what is allowed', () => {
  refuses({ priviliged: true }, /priviliged/)
  refuses({ env: ['KEY'] }, /KEY=VALUE/)
  refuses({ env: ['=x'] }, /KEY=VALUE/)
  refuses({ args: ['a\0b'] }, /NUL/)
  refuses({ args: ['x'.repeat(131_072)] }, /131071 bytes/)
  refuses({ workingDir: 'tmp' }, /absolute/)
  refuses({ user: 'a:b:c' }, /user:group/)
  refuses({ hostname: '-x' }, /hostname/)
  refuses({ hostname: 'a_b' }, /hostname/)
  refuses({ network: 'container:' }, /none, host, container:ID/)
  refuses({ network: 'no such' }, /none, host, container:ID/)
  refuses({ moreNetworks: ['host'] }, /host is no name for a network/)
  refuses({ mac: '01:00:00:00:00:00' }, /first octet even/)
  refuses({ ip: '10.89.0' }, /IP address/)
  refuses({ ports: [{ hostPort: 0, containerPort: 80 }] }, /hostPort is 1 at least/)
  refuses({ stopSignal: 'SIGNOPE' }, /SIGTERM/)
  refuses({ resources: { memoryBytes: 1024 } }, /6 MiB/)
  refuses({ resources: { memoryBytes: 1e7 + 0.5 } }, /int/)
  refuses({ resources: { cpus: 0 } }, /0\.01/)
  refuses({ resources: { pidsLimit: 0 } }, /1 at least/)
})

test('mounts that would escape their place or their meaning are refused', () => {
  const bind = { type: 'bind', source: '/srv', target: '/srv' }
  refuses({ mounts: [{ ...bind, type: 'volume' }] }, /type/)
  refuses({ mounts: [{ ...bind, source: 'srv' }] }, /absolute/)
  for (const target of ['srv', '/', '/a/../b', '/a//b', '/a/.', '//'])
    refuses({ mounts: [{ ...bind, target }] }, /target|absolute/)
  refuses({ mounts: [{ ...bind, options: ['suid,dev'] }] }, /suid,dev/)
  refuses({ mounts: [{ type: 'tmpfs', target: '/t', options: ['size=big'] }] }, /size=big/)
  refuses({ mounts: [{ type: 'tmpfs', target: '/t', source: '/x' }] }, /source/)
  refuses({ mounts: [bind, { ...bind, target: '/srv/' }] }, /same target/)
})

test('an exec names a program', () => {
  assert.equal(execOptions.safeParse({ args: [] }).success, false)
  assert.deepEqual(execOptions.parse({ args: ['ls'] }), { args: ['ls'], env: [], tty: false, stdin: false })
})

test('JSON Schema can be made of it, with a description of every field', () => {
  for (const schema of [containerOptions, execOptions]) {
    const { properties = {} } = z.toJSONSchema(schema, { io: 'input' })
    for (const [name, field] of Object.entries(properties)) {
      assert.ok(typeof field === 'object' && field.description, name)
    }
  }
})
