import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { type TaskState, task } from '../../commands/task.ts'
import { CGROUP_ROOT } from '../../host/cgroups.ts'
import { isFrozen } from '../../host/freezer.ts'
import { pidsOf } from '../../host/kill-cgroup.ts'
import { listMounts } from '../../host/mounts.ts'
import { type Survivor, survivorsOf } from '../../host/survivors.ts'
import type { View } from '../../model/aggregate.ts'
import { mapLimited } from '../../model/concurrency.ts'
import { errorCodeOf, toPurserError } from '../../model/errors.ts'
import type { Shims } from '../../shim/shims.ts'
import type { TaskPaths } from './paths.ts'
import type { Tasks } from './tasks.ts'

/** How one task is: what log, shim and host say of it, and what to do where they do not agree. */
export interface TaskDiagnosis {
  namespace: string
  id: string
  runtime: string
  /** As the log has it. */
  status: string
  verdict: 'healthy' | 'slow' | 'unconnected' | 'hung' | 'stuck' | 'held' | 'inconsistent' | 'lost'
  findings: string[]
  remedy?: string
  shim: {
    pids: number[]
    /** As ps(1) has it: T is stopped, D hangs in the kernel. */
    processState?: string
    connected: boolean
    /** Milliseconds; absent when it does not answer. */
    answeredMs?: number
    says?: string
  }
  process: { pid?: number; state?: string }
  cgroup: { exists: boolean; processes: number; frozen: boolean }
  mounts: number
  fifos: 'present' | 'missing'
}

export interface DoctorOptions {
  view: View
  tasks: Tasks
  shims: Shims
  paths: TaskPaths
}

const ANSWER_MS = 2000
const SLOW_MS = 500
const AT_ONCE = 64

type Named = { namespace: string; id: string; state: Exclude<TaskState, { status: 'absent' }> }
type Told = { findings: string[]; verdict?: TaskDiagnosis['verdict']; remedy?: string }

/** Compares, for each task, the log with its shim and the host. Changes nothing. */
export class TaskDoctor {
  readonly #options: DoctorOptions

  constructor(options: DoctorOptions) {
    this.#options = options
  }

  /** @param namespace all of them without one */
  async diagnose(namespace: string | undefined, signal: AbortSignal): Promise<TaskDiagnosis[]> {
    const { view, shims, paths } = this.#options
    const named: Named[] = []
    for (const { namespace: of, id, state } of view.list(task)) {
      if (namespace !== undefined && namespace !== of) continue
      if (state.status === 'absent' || (state.status === 'stopped' && state.host === 'released')) continue
      named.push({ namespace: of, id, state })
    }
    const identities = named.map(({ namespace, id }) => ({ namespace, id, bundle: paths.bundle(namespace, id) }))
    const running = await shims.running(identities)
    const targets = listMounts().map(({ target }) => target)
    return await mapLimited(named, AT_ONCE, signal, (each) =>
      this.#diagnose(each, running.get(`${each.namespace}/${each.id}`) ?? [], targets),
    )
  }

  async #diagnose(named: Named, pids: number[], targets: readonly string[]): Promise<TaskDiagnosis> {
    const { tasks, paths } = this.#options
    const { namespace, id, state } = named
    const bundle = paths.bundle(namespace, id)
    const cgroup = paths.cgroup(namespace, id)
    const [shimProcess] = survivorsOf(pids)
    const answer = await this.#ask(named, bundle)
    const pid = 'pid' in state ? state.pid : undefined
    const members = pidsOf(cgroup)
    const [process] = pid === undefined ? [] : survivorsOf([pid])
    const found = {
      isConnected: tasks.get(namespace, id) !== undefined,
      shimProcess,
      answer,
      pid,
      process,
      members,
      isFrozen: isFrozen(cgroup),
      hasCgroup: ['freezer', 'pids', '.', 'unified'].some((hierarchy) =>
        existsSync(join(CGROUP_ROOT, hierarchy, cgroup)),
      ),
      hasFifos: existsSync(join(paths.stdio(namespace, id), 'stdout')),
    }
    const told = judge(named, found)
    return {
      namespace,
      id,
      runtime: state.runtime,
      status: state.status,
      verdict: told.verdict ?? (told.findings.length === 0 ? 'healthy' : 'inconsistent'),
      findings: told.findings,
      ...(told.remedy === undefined ? {} : { remedy: told.remedy }),
      shim: {
        pids,
        connected: found.isConnected,
        ...(shimProcess === undefined ? {} : { processState: shimProcess.state }),
        ...('answeredMs' in answer ? { answeredMs: answer.answeredMs, says: answer.says } : {}),
      },
      process: { ...(pid === undefined ? {} : { pid }), ...(process === undefined ? {} : { state: process.state }) },
      cgroup: { exists: found.hasCgroup, processes: members.length, frozen: found.isFrozen },
      mounts: targets.filter((target) => target.startsWith(`${bundle}/`)).length,
      fifos: found.hasFifos ? 'present' : 'missing',
    }
  }

  async #ask({ namespace, id, state }: Named, bundle: string): Promise<Answer> {
    try {
      const told = await this.#options.shims.ask({ namespace, id, bundle, runtime: state.runtime }, ANSWER_MS)
      if (told === undefined) return { silent: 'nothing listens at its socket' }
      return { answeredMs: told.answeredMs, says: told.state.status, pid: told.state.pid }
    } catch (thrown) {
      const { message } = toPurserError(thrown)
      return errorCodeOf(thrown) === 'deadline_exceeded' ? { hangs: message } : { silent: message }
    }
  }
}

type Answer = { answeredMs: number; says: string; pid: number } | { silent: string } | { hangs: string }

interface Found {
  isConnected: boolean
  shimProcess: Survivor | undefined
  answer: Answer
  pid: number | undefined
  process: Survivor | undefined
  members: readonly number[]
  isFrozen: boolean
  hasCgroup: boolean
  hasFifos: boolean
}

function judge({ id, state }: Named, found: Found): Told {
  if (state.stuck !== undefined) {
    const who = state.stuck.processes.map(({ pid, state: letter }) => `process ${pid} in state ${letter}`).join(', ')
    return {
      verdict: 'stuck',
      findings: [`since ${state.stuck.since} nothing ends it: ${who || state.stuck.mounts.join(', ')}`],
      remedy: `purser inspect ${id} shows what holds it`,
    }
  }
  if (state.status === 'stopped') {
    return {
      verdict: 'held',
      findings: ['it has ended, and what it held is not given back yet'],
      remedy: `purser rm ${id} tries it again`,
    }
  }
  if (state.status === 'creating') return { findings: [] }
  const { answer, shimProcess } = found
  if ('hangs' in answer)
    return { verdict: 'hung', findings: [`its shim hangs: ${answer.hangs}`], ...hungRemedy(id, shimProcess) }
  if ('silent' in answer) {
    return {
      verdict: 'lost',
      findings: [`its shim cannot be asked: ${answer.silent}`, ...(shimProcess ? [] : ['no shim of it runs'])],
      remedy: 'the daemon records it as lost when it learns of it; if it does not, restart the daemon',
    }
  }
  const findings = disagreements(state, found, answer)
  const { networkFault: fault } = state
  if (fault && findings.length === 0) {
    const remedy = `purser restart ${id} makes it anew`
    return {
      findings: [`since ${fault.since} its network ${fault.network} is not as it was made: ${fault.error}`],
      remedy,
    }
  }
  if (findings.length > 0) return { findings, remedy: `purser history ${id} tells what was done to it last` }
  if (!found.isConnected) {
    const remedy = 'the daemon tries again by itself; its own log says what is in the way'
    return { verdict: 'unconnected', findings: ['the daemon is not connected to its shim'], remedy }
  }
  if (answer.answeredMs > SLOW_MS) {
    const findings = [`its shim took ${answer.answeredMs} ms to answer`]
    return { verdict: 'slow', findings, remedy: 'look at the load of the machine' }
  }
  return { findings: [] }
}

function hungRemedy(id: string, shim: Survivor | undefined): { remedy: string } {
  if (shim?.state === 'T') return { remedy: `its shim was stopped by a signal: kill -CONT ${shim.pid}` }
  if (shim?.state === 'D')
    return {
      remedy: `its shim waits in the kernel${shim.waitsIn === undefined ? '' : ` (${shim.waitsIn})`}: see to the disk`,
    }
  return { remedy: `purser stop ${id} ends it, by its cgroup and its shim where nothing else helps` }
}

function disagreements(
  state: Exclude<TaskState, { status: 'absent' | 'creating' | 'stopped' }>,
  { pid, process, members, hasCgroup, isFrozen, hasFifos }: Found,
  answer: { says: string; pid: number },
): string[] {
  const findings: string[] = []
  if (answer.says === 'stopped') return ['its shim says that it has ended, and the log does not']
  if (answer.pid !== pid) findings.push(`the log has process ${pid}, its shim ${answer.pid}`)
  if (process === undefined) findings.push(`process ${pid} does not run`)
  else if (hasCgroup && pid !== undefined && !members.includes(pid))
    findings.push(`process ${pid} is another one now: it is not in the cgroup of the container`)
  if (isFrozen !== (state.status === 'paused') && hasCgroup)
    findings.push(
      isFrozen ? 'it is frozen, and the log says that it runs' : 'the log says that it is paused, and it is not frozen',
    )
  if (!hasFifos) findings.push('the FIFOs of its streams are gone: what it writes is lost')
  return findings
}
