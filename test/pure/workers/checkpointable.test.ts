import assert from 'node:assert/strict'
import { test } from 'node:test'
import { checkpointRequest } from '../../../src/commands/checkpoints.ts'
import { container } from '../../../src/commands/container.ts'
import { POOL_LABEL } from '../../../src/commands/pool-member.ts'
import { containerOptions } from '../../../src/oci/spec/container-options.ts'
import { requireCheckpointable } from '../../../src/workers/task/checkpoint/checkpointable.ts'

const digest = `sha256:${'0'.repeat(64)}`
const record = container.commands['container.create'].parse({
  image: 'docker.io/library/alpine:3.20',
  manifest: digest,
  config: digest,
  snapshotter: 'overlayfs',
  snapshotKey: 'c1',
  runtime: 'runc',
  options: {},
  labels: {},
  onExit: 'keep',
})
const made = { status: 'present', createdAt: '2026-01-02T03:04:05.678Z', origin: 'o', ...record } as const
const kept = {
  createdAt: made.createdAt,
  mode: { tcp: 'refuse', unixSockets: 'refuse', fileLocks: 'refuse' },
  runtime: 'runc',
  criu: '4.2',
  architecture: 'amd64',
  sizeBytes: 1,
  files: 'leave',
} as const
const withOptions = (options: object) => ({ options: containerOptions.parse(options) })

const CASES: readonly (readonly [why: string, more: object, request: object, refusal: RegExp | undefined])[] = [
  ['as it is', {}, {}, undefined],
  ['left running', {}, { processes: 'go-on' }, undefined],
  ['with its files', {}, { files: 'keep' }, undefined],
  ['left running with --rm', { onExit: 'remove' }, { processes: 'go-on' }, undefined],
  ['in a network, with connections', withOptions({ network: 'web' }), { tcp: 'keep' }, undefined],
  ['under a name that is taken', { checkpoints: { one: kept } }, {}, /has a checkpoint one/],
  ['with a terminal', withOptions({ tty: true }), {}, /has a terminal/],
  ['with a user namespace', withOptions({ userns: 'auto' }), {}, /has a user namespace/],
  ['in a sandbox', { sandbox: 's1' }, {}, /shares namespaces with its sandbox/],
  ['of a pool', { labels: { [POOL_LABEL]: 'p' } }, {}, /is of pool p/],
  ['with --rm', { onExit: 'remove' }, {}, /is removed when it stops/],
  ['left running with its files', {}, { processes: 'go-on', files: 'keep' }, /would not be those of the moment/],
  ['in no network, with connections', withOptions({ network: 'none' }), { tcp: 'keep' }, /is in no network/],
]

for (const [why, more, request, refusal] of CASES) {
  test(`a container ${why} is ${refusal === undefined ? 'checkpointed' : 'refused, with what is in the way'}`, () => {
    const asked = checkpointRequest.parse({ name: 'one', ...request })
    const decide = () => requireCheckpointable('c1', { ...made, ...more }, asked)
    if (refusal === undefined) decide()
    else assert.throws(decide, refusal)
  })
}
