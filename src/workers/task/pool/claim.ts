import { container } from '../../../commands/container.ts'
import { image } from '../../../commands/image.ts'
import { type Claim, type PoolState, pool } from '../../../commands/pool.ts'
import { POOL_LABEL, poolMember } from '../../../commands/pool-member.ts'
import { task } from '../../../commands/task.ts'
import { isFrozen, thaw } from '../../../host/freezer.ts'
import { errorCodeOf, PurserError } from '../../../model/errors.ts'
import type { Job, Outcome } from '../../../queue/handler.ts'
import { defineTaskHandler, type TaskEffects } from '../effects.ts'
import type { LiveTask } from '../live-task.ts'
import { tellClaim, wasWritten, writeClaim } from './claim-files.ts'
import { whenReady } from './ready.ts'

type ClaimJob = Job<PoolState, Claim, TaskEffects>
type Start = 'warm' | 'cold'

/** Ready tasks that turn out not to be, before another way is taken. */
const STALE_MAX = 8

/**
 * Hands out a ready task: reserves it in the log, gives it what the claim brings, thaws it. None is handed out twice: the
 * reservation names the claim, and the claim after a restart goes on with the one it has.
 */
export const claimFromPool = defineTaskHandler(pool, 'pool.claim', async (job) => {
  const { id: name, namespace, effects } = job
  const begunAt = performance.now()
  const waited = () => Math.round((performance.now() - begunAt) * 1000) / 1000
  const own = job.attempt > 1 ? reservedFor(job) : undefined
  if (own !== undefined && !isFrozen(effects.paths.cgroup(namespace, own))) return claimed(job, own, 'warm', waited())
  // Still frozen, its process has seen nothing, but may have been told: another one is as good.
  if (own !== undefined)
    await job.append(poolMember.fact(own, 'pool-member.retiring', { reason: 'the daemon went down in a claim' }))
  job.decide()
  for (let stale = 0; stale < STALE_MAX; stale++) {
    const id = await takeReady(job)
    if (id === undefined) break
    if (
      !(await job.appendIf(
        job.view.version(poolMember, namespace, id),
        poolMember.fact(id, 'pool-member.claiming', {}),
      ))
    ) {
      effects.poolMembers.putBack(namespace, id) // It has just ended, or is being retired.
      continue
    }
    try {
      return handOver(job, id, waited())
    } catch (error) {
      const code = errorCodeOf(error)
      if (code !== 'unavailable' && code !== 'failed_precondition') throw error
      job.logger.warn({ err: error, id, pool: name }, 'a ready task could not be handed out')
      await job.append(poolMember.fact(id, 'pool-member.retiring', { reason: 'it could not be thawed' }))
    }
  }
  if (job.payload.whenEmpty === 'refuse') {
    throw new PurserError('resource_exhausted', `pool ${name} has no ready task`, {
      remedy: `purser pool scale ${name} with a larger size, or claim with whenEmpty cold or wait`,
    })
  }
  return await coldStart(job, waited)
})

/** The task that this claim has already, from before a restart. */
function reservedFor({ view, namespace, command }: ClaimJob): string | undefined {
  for (const { id, state } of view.list(poolMember, namespace))
    if (state.status === 'claiming' && state.claim === command.id) return id
  return undefined
}

async function takeReady(job: ClaimJob): Promise<string | undefined> {
  const { id: name, namespace, state, view, effects, payload } = job
  const current = state.status === 'absent' ? undefined : view.get(image, namespace, state.template.image)
  const isCurrent = (id: string): boolean => {
    const member = view.get(poolMember, namespace, id)
    return current?.status !== 'present' || (member.status === 'ready' && member.manifest === current.manifest.digest)
  }
  const take = () => effects.poolMembers.takeReady(namespace, name, isCurrent)
  let taken = take()
  while (taken === undefined && payload.whenEmpty === 'wait') {
    await job.until(
      () => effects.poolMembers.of(namespace, name).ready.size > 0 || job.state.status !== 'present',
      job.signal,
    )
    job.decide() // It may have been drained meanwhile.
    taken = take()
  }
  return taken
}

function handOver(job: ClaimJob, id: string, waitedMs: number): Outcome {
  const { namespace, effects } = job
  give(job, effects.tasks.require(namespace, id))
  if (thaw(effects.paths.cgroup(namespace, id))) return claimed(job, id, 'warm', waitedMs)
  throw new PurserError('failed_precondition', `the cgroup of container ${id} is gone`, { remedy: 'claim again' })
}

function claimed(
  { id: name, namespace, payload, command, view }: ClaimJob,
  id: string,
  start: Start,
  waitedMs: number,
): Outcome {
  const { labels } = payload
  const { status } = view.get(task, namespace, id)
  return {
    facts: [
      poolMember.fact(id, 'pool-member.claimed', { pool: name, start, claimedBy: command.actor, waitedMs }),
      ...(status === 'paused' ? [task.fact(id, 'task.resumed', {})] : []),
      ...(Object.keys(labels).length === 0 ? [] : [container.fact(id, 'container.labelled', { labels })]),
    ],
    result: { id, start, waitedMs },
  }
}

function give({ namespace, command, payload: claim, effects }: ClaimJob, { bundle, stdio }: LiveTask): void {
  const variables = Object.entries(claim.env).map(([name, value]) => `${name}=${value}`)
  writeClaim(bundle, command.id, {
    ...claim,
    env: Object.fromEntries(effects.sealing.openVariables(variables, namespace).map(splitVariable)),
  })
  tellClaim(bundle, command.id)
  if (claim.payload !== undefined && stdio.io.stdin !== '') stdio.openStdin().write(claim.payload)
}

function splitVariable(text: string): [name: string, value: string] {
  const at = text.indexOf('=')
  return [text.slice(0, at), text.slice(at + 1)]
}

async function coldStart(job: ClaimJob, waited: () => number): Promise<Outcome> {
  const { id: name, namespace, state, command } = job
  if (state.status === 'absent')
    throw new PurserError('not_found', `pool ${name} is not in namespace ${namespace}`, { remedy: 'purser pool ls' })
  const id = `${name}-${command.id.slice(-12)}`
  await using undo = job.undoStack()
  undo.defer(async () => {
    const request = { type: 'container.remove', subject: id, payload: { running: 'kill' } }
    await job.step('undo', request, AbortSignal.timeout(30_000)).catch(() => {}) // It was never made.
  })
  const labels = { ...state.template.labels, [POOL_LABEL]: name }
  await job.step('run', { type: 'container.run', subject: id, payload: { ...state.template, labels } })
  const { bundle } = job.effects.tasks.require(namespace, id)
  if (!wasWritten(bundle, command.id)) {
    await whenReady(job, { pool: name, id }, { after: async ({ live }) => give(job, live) })
  }
  undo.move()
  return claimed(job, id, 'cold', waited())
}
