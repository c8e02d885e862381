import assert from 'node:assert/strict'
import { randomInt } from 'node:crypto'
import { mkdir, readFile } from 'node:fs/promises'
import type { TestContext } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { z } from 'zod'
import type { HttpResult, TestNode } from './daemon.ts'

/** How often a test with random instants repeats itself: its own number, times PURSER_ROUNDS. */
export const rounds = (count: number): number[] =>
  Array.from({ length: count * Number(process.env.PURSER_ROUNDS ?? 1) }, (_, round) => round)

/** A random instant, told with the test's result, so that what failed there can be tried there again. */
export function instant(t: TestContext, what: string, msMax: number): number {
  const ms = randomInt(msMax)
  t.diagnostic(`${what} after ${ms} ms`)
  return ms
}

const commandSchema = z.object({
  id: z.string(),
  type: z.string(),
  subject: z.string(),
  status: z.string(),
  attempts: z.number(),
  result: z.record(z.string(), z.unknown()).optional(),
  error: z.object({ code: z.string(), message: z.string() }).optional(),
})
export type CommandView = z.output<typeof commandSchema>

const eventSchema = z.object({
  position: z.number(),
  type: z.string(),
  subject: z.string(),
  time: z.string(),
  commandid: z.string(),
  traceparent: z.string().optional(),
  data: z.record(z.string(), z.unknown()),
})
export type EventView = z.output<typeof eventSchema>

export interface Request {
  type: string
  subject: string
  payload?: Record<string, unknown>
}

/** Asks for a command once, whatever breaks meanwhile: tries again with one idempotency key until a daemon has taken it. */
export async function submitSurely(node: TestNode, request: Request, signal: AbortSignal): Promise<string> {
  const headers = { 'idempotency-key': `${request.type}/${request.subject}` }
  while (true) {
    signal.throwIfAborted()
    const answer = await node.http('POST', '/v1/commands', request, headers).catch(() => undefined)
    if (answer?.status === 202) return commandSchema.parse(answer.json).id
    if (answer !== undefined && answer.status !== 503) throw new Error(`${request.type}: ${answer.text}`)
    await delay(20)
  }
}

export const submit = (node: TestNode, request: Request, prefer = 'wait=60'): Promise<HttpResult> =>
  node.http('POST', '/v1/commands', request, { prefer })

/** The command with its outcome; a test fails where it has none in time. */
export async function ended(node: TestNode, id: string): Promise<CommandView> {
  const answer = await node.http('GET', `/v1/commands/${id}`, undefined, { prefer: 'wait=60' })
  assert.equal(answer.status, 200, answer.text)
  const view = commandSchema.parse(answer.json)
  assert.ok(['succeeded', 'failed', 'cancelled'].includes(view.status), `it has not ended: ${answer.text}`)
  return view
}

export async function succeeded(node: TestNode, id: string): Promise<CommandView> {
  const view = await ended(node, id)
  assert.equal(view.status, 'succeeded', `${view.type} ${view.subject}: ${JSON.stringify(view.error)}`)
  return view
}

/** Commands that have not ended. */
export async function activeCommands(node: TestNode): Promise<unknown[]> {
  const answer = await node.http('GET', '/v1/commands?status=active&limit=1000')
  return z.object({ items: z.array(z.unknown()) }).parse(answer.json).items
}

/** All events of the node, or those about a subject. */
export async function events(node: TestNode, subject?: string): Promise<EventView[]> {
  const about = subject === undefined ? '' : `&subject=${encodeURIComponent(subject)}`
  const answer = await node.http('GET', `/v1/events?since=0${about}`, undefined, { accept: 'application/x-ndjson' })
  assert.equal(answer.status, 200, answer.text)
  const lines = answer.text.split('\n').filter((line) => line !== '')
  return lines.map((line) => eventSchema.parse(JSON.parse(line)))
}

/** Reads until it holds; a test fails where it does not in time. */
export async function eventually<T>(read: () => Promise<T>, holds: (found: T) => boolean, msMax = 20_000): Promise<T> {
  const deadline = Date.now() + msMax
  while (true) {
    const found = await read()
    if (holds(found)) return found
    assert.ok(Date.now() < deadline, `still so after ${msMax} ms: ${JSON.stringify(found)}`)
    await delay(20)
  }
}

const taskSchema = z.object({
  runtime: z.string().optional(),
  status: z.string(),
  pid: z.number().optional(),
  exitCode: z.number().optional(),
  exitedAt: z.string().optional(),
  reason: z.string().optional(),
})

export async function taskOf(node: TestNode, id: string): Promise<z.output<typeof taskSchema>> {
  const answer = await node.http('GET', `/v1/tasks/${id}`)
  assert.equal(answer.status, 200, answer.text)
  return taskSchema.parse(answer.json)
}

/** Pid of a running task, as the host counts. */
export async function pidOf(node: TestNode, id: string): Promise<number> {
  const { pid, status } = await taskOf(node, id)
  assert.ok(pid !== undefined && status === 'running', `${id} is ${status}`)
  return pid
}

/** Returns when a process has been collected by its parent, as a shim does when it notes the time of an exit. */
export async function collected(pid: number): Promise<void> {
  await eventually(
    () => readFile(`/proc/${pid}/stat`, 'utf8').catch(() => 'gone'),
    (found) => found === 'gone',
  )
}

/** Returns when a process runs no more. */
export async function gone(pid: number): Promise<void> {
  const state = async () =>
    (await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => 'gone')).replace(/^.*\) (.).*$/s, '$1')
  await eventually(state, (found) => found === 'gone' || found === 'Z')
}

/** Everything that must hold of a node's books, whatever happened to it. */
export async function checkBooks(node: TestNode): Promise<void> {
  await eventually(
    () => activeCommands(node),
    (active) => active.length === 0,
  )
  const check = await node.cli('state', 'rebuild', '--check')
  assert.equal(check.exitCode, 0, check.stdout + check.stderr)
  const outcomes = new Map<string, string[]>()
  for (const event of await events(node)) {
    if (!/^command\.(succeeded|failed|cancelled)$/.test(event.type)) continue
    outcomes.set(event.subject, [...(outcomes.get(event.subject) ?? []), event.type])
  }
  for (const [subject, types] of outcomes) assert.equal(types.length, 1, `${subject} ended as ${types.join(', ')}`)
}

/** A directory that containers of a test write to, so that what has run is known from outside. */
export async function tallyOf(node: TestNode) {
  const dir = `${node.dir}/tally`
  await mkdir(dir, { recursive: true })
  return {
    dir,
    /** Options of a container that writes a line when it runs, and then runs a script. */
    options: (id: string, script: string) => ({
      args: ['sh', '-c', `echo ran >>/tally/${id}; ${script}`],
      mounts: [{ type: 'bind', source: dir, target: '/tally' }],
    }),
    /** How often it has run. */
    count: async (id: string): Promise<number> =>
      (await readFile(`${dir}/${id}`, 'utf8').catch(() => '')).split('\n').length - 1,
  }
}

/** Reads until nothing of an ended task is on the host any more. */
export async function taskReleased(node: TestNode, id: string): Promise<void> {
  await eventually(
    () => events(node, `task/${id}`),
    (life) => life.at(-1)?.type === 'task.released',
  )
}

/** The task's life as the log has it: every step once, in order, and the exit code. */
export async function checkLife(node: TestNode, id: string, exitCode: number): Promise<void> {
  const life = (await events(node, `task/${id}`)).filter(
    ({ type }) => !/^task\.(released|stopping|killing|killed)$/.test(type),
  )
  assert.deepEqual(
    life.map(({ type }) => type),
    ['task.creating', 'task.created', 'task.started', 'task.exited'],
    `the life of ${id}`,
  )
  assert.equal(life.at(-1)?.data.exitCode, exitCode, `exit code of ${id}: ${JSON.stringify(life.at(-1)?.data)}`)
}
