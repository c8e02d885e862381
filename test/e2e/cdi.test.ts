import assert from 'node:assert/strict'
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { type CliNode, startCliNode } from '../support/cli.ts'
import { temporaryDirectory } from '../support/trees.ts'

describe('devices that vendors describe', () => {
  const work = temporaryDirectory()
  const [usual, own] = [join(work.path, 'usual'), join(work.path, 'own')]
  let at: CliNode
  before(async () => {
    for (const dir of [usual, own]) mkdirSync(dir)
    writeFileSync(join(work.path, 'library'), 'of the host\n')
    at = await startCliNode({ config: `[cdi]\nspecDirs = ["${usual}", "${own}"]\n` })
  })
  after(async () => {
    await at[Symbol.asyncDispose]()
    work[Symbol.dispose]()
  })

  const spec = (name: string, value: string) => ({
    cdiVersion: '0.6.0',
    kind: 'vendor.com/burner',
    annotations: { 'vendor.com/note': 'ours' },
    containerEdits: { env: ['BURNER=kind'] },
    devices: [
      {
        name,
        containerEdits: {
          env: [`BURNER_${name.toUpperCase()}=${value}`],
          deviceNodes: [{ path: '/dev/burner', hostPath: '/dev/fuse', permissions: 'rw' }],
          mounts: [{ hostPath: join(work.path, 'library'), containerPath: '/lib/burner', options: ['ro', 'rprivate'] }],
          hooks: [{ hookName: 'createRuntime', path: '/bin/sh', args: ['sh', '-c', `cat > ${work.path}/state`] }],
        },
      },
    ],
  })

  for (const runtime of ['runc', 'crun']) {
    test(`${runtime}: variables, nodes, mounts and hooks of a device are the container's`, async () => {
      writeFileSync(join(usual, 'burner.json'), JSON.stringify(spec('hot', 'usual')))
      // YAML, with an octal number as Go reads it; this directory counts more.
      const devices = 'devices:\n- name: hot\n  containerEdits:\n    env: [BURNER_HOT=own]\n    deviceNodes:\n'
      const node = '    - {path: /dev/heater, type: c, major: 1, minor: 3, fileMode: 0640, uid: 7}\n'
      writeFileSync(join(own, 'burner.yaml'), `cdiVersion: 0.5.0\nkind: vendor.com/burner\n${devices}${node}`)
      const script = 'echo $BURNER $BURNER_HOT; stat -c "%t:%T %a %u" /dev/heater; cat /lib/burner 2>/dev/null'
      const run = [
        'run',
        '--rm',
        '--runtime',
        runtime,
        '--device',
        'vendor.com/burner=hot',
        at.image,
        'sh',
        '-c',
        script,
      ]
      assert.equal((await at.cli(...run)).stdout, 'own\n1:3 640 7\n')

      rmSync(join(own, 'burner.yaml'))
      const { stdout, stderr } = await at.cli(...run.slice(0, -1), script.replace('heater', 'burner'))
      assert.equal(stdout, 'kind usual\na:e5 600 0\nof the host\n', stderr)
      const state = JSON.parse(readFileSync(join(work.path, 'state'), 'utf8'))
      assert.ok(state.bundle.startsWith(at.node.state))
    })
  }

  test('what cannot be resolved is refused with where it was looked for', async () => {
    const refuses = async (device: string, why: RegExp) => {
      const { exitCode, stderr } = await at.cli('run', '--rm', '--device', device, at.image, 'true')
      assert.equal(exitCode, 125)
      assert.match(stderr, why)
    }
    await refuses(
      'vendor.com/burner=cold',
      /=cold is in no CDI specification of .*usual.*known are vendor\.com\/burner=hot/,
    )
    writeFileSync(join(usual, 'again.json'), JSON.stringify(spec('hot', 'again')))
    await refuses('vendor.com/burner=hot', /is described by both .*again\.json.*burner\.json|burner\.json.*again\.json/)
    writeFileSync(join(usual, 'again.json'), JSON.stringify({ ...spec('x', 'y'), cdiVersion: '9.0.0' }))
    await refuses('vendor.com/burner=x', /again\.json: .*version "9\.0\.0" is none of/)
    const missing = spec('lost', '')
    for (const { containerEdits } of missing.devices)
      containerEdits.deviceNodes = [{ path: '/dev/n', hostPath: '/dev/nope', permissions: 'r' }]
    writeFileSync(join(usual, 'again.json'), JSON.stringify(missing))
    await refuses('vendor.com/burner=lost', /needs \/dev\/nope, which is no device on this host/)
    await refuses('vendor.com/burner', /is no device; write PATH/)
  })
})
