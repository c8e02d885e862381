import assert from 'node:assert/strict'
import { test } from 'node:test'
import { applyCdi } from '../../../src/oci/cdi/apply.ts'
import { parseCdiName } from '../../../src/oci/cdi/name.ts'
import { cdiSpec } from '../../../src/oci/cdi/spec.ts'
import { buildSpec } from '../../../src/oci/spec/build-spec.ts'
import { containerOptions } from '../../../src/oci/spec/container-options.ts'

const usual = buildSpec({
  image: { Cmd: ['true'], User: '1000:1001', Env: ['A=image'] },
  options: containerOptions.parse({ mounts: [{ type: 'bind', source: '/b', target: '/lib/x' }] }),
  id: 'c1',
  cgroupsPath: '/default/c1',
  arch: 'amd64',
  cgroupVersion: 1,
})

test('what a device brings goes before what is there, and belongs to the user', () => {
  const node = { path: '/dev/x', type: 'c', major: 10, minor: 7, permissions: 'rw' } as const
  const spec = applyCdi(usual, [
    {
      env: ['A=device', 'B=1'],
      devices: [node],
      mounts: [
        { hostPath: '/h/x', containerPath: '/lib/x', options: ['ro'] },
        { hostPath: 'tmpfs', containerPath: '/t', type: 'tmpfs' },
      ],
      hooks: [{ hookName: 'poststop', path: '/bin/true', timeout: 3 }],
      additionalGids: [44, 1001],
    },
  ])
  assert.deepEqual(spec.process.env.slice(-2), ['A=device', 'B=1'])
  assert.deepEqual(spec.process.user.additionalGids, [1001, 44])
  assert.deepEqual(spec.linux.devices, [{ path: '/dev/x', type: 'c', major: 10, minor: 7, uid: 1000, gid: 1001 }])
  assert.deepEqual(spec.linux.resources.devices.at(-1), { allow: true, type: 'c', major: 10, minor: 7, access: 'rw' })
  const mounted = spec.mounts.filter(({ destination }) => destination === '/lib/x')
  assert.deepEqual(mounted, [{ destination: '/lib/x', type: 'bind', source: '/h/x', options: ['bind', 'ro'] }])
  assert.deepEqual(spec.hooks, { poststop: [{ path: '/bin/true', timeout: 3 }] })
  assert.deepEqual(applyCdi(usual, []), usual)
})

test('names and files are taken as the specification has them, and nothing else', () => {
  assert.deepEqual(parseCdiName('nvidia.com/gpu=0'), { kind: 'nvidia.com/gpu', name: '0' })
  assert.deepEqual(parseCdiName('a-b.com/net_x=eth0:1'), { kind: 'a-b.com/net_x', name: 'eth0:1' })
  for (const text of ['/dev/fuse', 'vendor/class', 'vendor/class=', '1v/c=x', 'v/c=-x', 'v/c=x y', 'v=c/x'])
    assert.equal(parseCdiName(text), undefined, text)
  const spec = { cdiVersion: '1.0.0', kind: 'v.com/c', devices: [{ name: '0', containerEdits: {} }] }
  assert.ok(cdiSpec.safeParse(spec).success)
  for (const wrong of [
    { cdiVersion: '0.2.0' },
    { kind: 'v.com' },
    { devices: [] },
    { devices: [...spec.devices, ...spec.devices] },
    { containerEdits: { intelRdt: {} } },
    { containerEdits: { env: ['X'] } },
  ]) {
    assert.equal(cdiSpec.safeParse({ ...spec, ...wrong }).success, false, JSON.stringify(wrong))
  }
})
