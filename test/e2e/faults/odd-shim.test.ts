import assert from 'node:assert/strict'
import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { z } from 'zod'
import { type CliNode, startCliNode } from '../../support/cli.ts'
import {
  checkBooks,
  checkLife,
  events,
  eventually,
  gone,
  pidOf,
  submit,
  taskOf,
  taskReleased,
} from '../../support/faults.ts'
import { type Behaviour, makeOddShim, type OddShim } from '../../support/odd-shim.ts'
import { temporaryDirectory } from '../../support/trees.ts'

const own = temporaryDirectory()

/** Runtimes of the configuration, each with a shim of its own. */
const SHIMS = {
  never: makeOddShim(own.path, { faults: { Create: { does: 'never' } } }, 'never'),
  garbage: makeOddShim(own.path, { faults: { Create: { does: 'garbage' } } }, 'garbage'),
  die: makeOddShim(own.path, { faults: { Create: { does: 'die' } } }, 'die'),
  refuse: makeOddShim(own.path, { faults: { Create: { does: 'refuse' } } }, 'refuse'),
  odd: makeOddShim(own.path, {}, 'odd'),
} as const satisfies Record<string, OddShim>

/** Those that have little time for a call. */
const HURRIED = new Set(['never', 'odd'])

let at: CliNode
before(async () => {
  const runtimes = Object.entries(SHIMS).map(
    ([name, { path }]) =>
      `[runtime.${name}]\nshim = ${JSON.stringify(path)}\n${HURRIED.has(name) ? 'timeout = "3s"' : ''}`,
  )
  const stop = '[stop]\nkill = "500ms"\nkillCgroup = "300ms"\nkillShim = "5s"\ncleanUp = "5s"'
  at = await startCliNode({ config: [...runtimes, stop].join('\n') })
})
after(async () => {
  await at[Symbol.asyncDispose]()
  own[Symbol.dispose]()
})

/** @param runtime a name of the configuration, or the path of a shim */
async function run(id: string, runtime: string, script: string) {
  const payload = { image: at.image, runtime, options: { args: ['sh', '-c', script] } }
  return await submit(at.node, { type: 'container.run', subject: id, payload })
}

const endOf = (id: string) =>
  eventually(
    () => taskOf(at.node, id),
    ({ status }) => status === 'stopped',
  )

const released = (id: string) => taskReleased(at.node, id)

const EXITS: readonly (readonly [name: string, Behaviour])[] = [
  ...(['once', 'twice', 'before-start', 'unreported', 'invented', 'of-another'] as const).map(
    (exit) => [exit, { exit }] as const,
  ),
  ...(['never', 'garbage', 'refuse'] as const).map((does) => [`wait-${does}`, { faults: { Wait: { does } } }] as const),
]

test('however a shim tells of an exit, by Wait or by events, it is recorded once, with the code of the process', async () => {
  await Promise.all(
    EXITS.map(async ([name, behaviour]) => {
      const { path } = makeOddShim(own.path, behaviour, `exit-${name}`)
      const ran = await run(name, path, 'sleep 1; exit 7')
      assert.equal(ran.status, 200, `${name}: ${ran.text}`)
      await endOf(name)
      await released(name)
      await checkLife(at.node, name, 7)
    }),
  )
})

test('a shim that hangs up and lives is connected to anew, and its container goes on', async () => {
  await Promise.all(
    (['ttrpc', 'grpc'] as const).map(async (protocol) => {
      const { path } = makeOddShim(
        own.path,
        { protocol, faults: { Pause: { does: 'hang-up' } } },
        `hang-up-${protocol}`,
      )
      const ran = await run(protocol, path, 'sleep 2; exit 7')
      assert.equal(ran.status, 200, ran.text)
      const paused = await submit(at.node, { type: 'task.pause', subject: protocol })
      assert.equal(paused.status, 503, paused.text)
      await endOf(protocol)
      await released(protocol)
      await checkLife(at.node, protocol, 7)
    }),
  )
})

const CREATES = {
  never: [504, /did not answer Create within 3000 ms/],
  garbage: [500, /the answer to Create cannot be read/],
  die: [503, /is lost/],
  refuse: [500, /out of order/],
} as const

test('a shim that goes wrong in Create ends the command in time; nothing of it stays, and the name is free', async () => {
  const names = ['never', 'garbage', 'die', 'refuse'] as const
  await Promise.all(
    names.map(async (name) => {
      const id = `create-${name}`
      const [status, says] = CREATES[name]
      const ran = await run(id, name, 'exit 7')
      assert.equal(ran.status, status, ran.text)
      assert.match(ran.text, says)
      assert.equal((await at.node.http('GET', `/v1/containers/${id}`)).status, 404)
      assert.ok(!(await readdir(join(at.node.state, 'tasks/default'))).includes(id))
      const life = (await events(at.node, `task/${id}`)).map(({ type }) => type)
      assert.deepEqual(life, ['task.creating', 'task.create-failed'])
      SHIMS[name].behave({})
      assert.equal((await run(id, name, 'exit 7')).status, 200)
      assert.equal((await endOf(id)).exitCode, 7)
    }),
  )
})

test('a shim that answers late is waited for; one that does not end its task is ended', async () => {
  const late = { Create: { delayMs: 600 }, Start: { delayMs: 600 }, Delete: { delayMs: 600 } }
  SHIMS.odd.behave({ faults: late })
  assert.equal((await run('late', 'odd', 'exit 7')).status, 200)
  await endOf('late')
  await released('late')
  await checkLife(at.node, 'late', 7)
  SHIMS.odd.behave({ faults: { Delete: { does: 'never' } } })
  assert.equal((await run('clings', 'odd', 'exit 7')).status, 200)
  assert.equal((await endOf('clings')).exitCode, 7)
  await released('clings')
})

test('a shim that stops answering is told at once, by the doctor too, and a stop does without it', async () => {
  const deaf = ['State', 'Kill', 'Pause', 'Stats', 'Pids', 'Connect'].map((name) => [name, { does: 'never' } as const])
  SHIMS.odd.behave({})
  assert.equal((await run('deaf', 'odd', 'sleep 1000')).status, 200)
  SHIMS.odd.behave({ faults: Object.fromEntries(deaf) })
  const pid = await pidOf(at.node, 'deaf')
  const pause = () => submit(at.node, { type: 'task.pause', subject: 'deaf' })
  // What the daemon asks by itself is not answered either, and counts.
  await eventually(pause, ({ text }) => /has not answered \d calls in a row/.test(text))
  const begun = Date.now()
  assert.equal((await pause()).status, 504)
  assert.ok(Date.now() - begun < 2000)

  const doctor = await at.cli('task', 'doctor')
  assert.equal(doctor.exitCode, 65)
  assert.match(doctor.stdout, /^deaf +running +\d+ +no +hung +its shim hangs: .*purser stop deaf/m)
  const stopped = await at.cli('stop', '-t', '0', 'deaf')
  assert.equal(stopped.exitCode, 0, stopped.stderr)
  assert.match((await endOf('deaf')).reason ?? '', /^lost: /)
  await released('deaf')
  await gone(pid)
  const { items } = z
    .object({ items: z.array(z.unknown()) })
    .parse((await at.node.http('GET', '/v1/doctor/tasks')).json)
  assert.deepEqual(items, [])
  await checkBooks(at.node)
})
