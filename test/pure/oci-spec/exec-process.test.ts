import assert from 'node:assert/strict'
import { test } from 'node:test'
import { buildSpec } from '../../../src/oci/spec/build-spec.ts'
import { containerOptions, execOptions } from '../../../src/oci/spec/container-options.ts'
import { buildExecProcess } from '../../../src/oci/spec/exec-process.ts'

const users = { passwd: 'root:x:0:0::/root:\napp:x:1000:1001::/srv/app:', group: 'video:x:44:app' }

const specOf = (options: object = {}) =>
  buildSpec({
    image: { Cmd: ['serve'], WorkingDir: '/w', Env: ['A=1', 'B=1'] },
    options: containerOptions.parse(options),
    id: 'c1',
    cgroupsPath: '/default/c1',
    arch: 'amd64',
    cgroupVersion: 1,
    ...users,
  })

const exec = ({ groupAdd, ...request }: { groupAdd?: string[]; [option: string]: unknown }, options: object = {}) => {
  const { stdin: _, ...asked } = execOptions.parse({ args: ['ls'], ...request })
  return buildExecProcess(specOf(options), { ...asked, groupAdd }, users)
}

test('an exec is like the container, but for its arguments', () => {
  assert.deepEqual(exec({}), { ...specOf().process, args: ['ls'] })
})

test('it has a terminal only if it asks for one', () => {
  assert.equal(exec({}, { tty: true }).terminal, undefined)
  const process = exec({ tty: true })
  assert.equal(process.terminal, true)
  assert.ok(process.env.includes('TERM=xterm'))
  assert.ok(exec({ tty: true }, { env: ['TERM=vt100'] }).env.includes('TERM=vt100'))
})

test('its variables and directory go over those of the container', () => {
  const { env, cwd } = exec({ env: ['B=2', 'C=3'], workingDir: '/x' })
  assert.ok(['A=1', 'B=2', 'C=3'].every((variable) => env.includes(variable)))
  assert.ok(!env.includes('B=1'))
  assert.equal(cwd, '/x')
})

test('another user has its own groups, home and no capabilities', () => {
  const process = exec({ user: 'app' })
  assert.deepEqual(process.user, { uid: 1000, gid: 1001, additionalGids: [1001, 44] })
  assert.ok(process.env.includes('HOME=/srv/app'))
  assert.equal(process.capabilities.effective, undefined)
})

test('another user has the groups that the container was given, too', () => {
  assert.deepEqual(exec({ user: 'app', groupAdd: ['video', '7'] }).user.additionalGids, [1001, 44, 7])
})

test('root in the container of another user has the capabilities of root', () => {
  const { capabilities, env } = exec({ user: 'root' }, { user: 'app' })
  assert.deepEqual(capabilities.effective, capabilities.bounding)
  assert.ok(env.includes('HOME=/root'))
})

test('a HOME that was chosen stays', () => {
  assert.ok(exec({ user: 'app' }, { env: ['HOME=/mine'] }).env.includes('HOME=/mine'))
  assert.ok(exec({ user: 'app', env: ['HOME=/now'] }).env.includes('HOME=/now'))
})

test('nothing to run is refused', () => {
  assert.throws(() => exec({ args: [''] }), { code: 'invalid_argument' })
})
