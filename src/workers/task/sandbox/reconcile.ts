import { setTimeout as delay } from 'node:timers/promises'
import type { Logger } from 'pino'
import { sandbox } from '../../../commands/sandbox.ts'
import { type PresentSandbox, sandboxes as sandboxKind } from '../../../commands/sandbox-record.ts'
import { REBOOT } from '../../../commands/task.ts'
import type { EventLog } from '../../../log/event-log.ts'
import { mapLimited } from '../../../model/concurrency.ts'
import type { Networks } from '../../../network/networks.ts'
import type { Shims } from '../../../shim/shims.ts'
import type { TaskPaths } from '../paths.ts'
import { recordFact } from '../record-fact.ts'
import { type LiveSandboxes, liveSandbox } from './live-sandboxes.ts'
import { removeSandbox } from './make.ts'

export interface ReconcileSandboxesOptions {
  log: EventLog
  sandboxes: LiveSandboxes
  shims: Shims
  paths: TaskPaths
  networks: Networks
  logger: Logger
  /** Of the machine, since a daemon was last here. */
  boot: 'same' | 'another'
  /** Aborts when the daemon stops. */
  signal: AbortSignal
}

/** How long one shim may take to answer before it is left for later. */
const ADOPT_MS = 1000
const AGAIN_MS = 2000
const AT_ONCE = 64
/** Any runtime's shim is ended in the same way; of what the log does not know it is not known which one it was. */
const ANY_RUNTIME = 'runc'

/**
 * Connects to the shims of sandboxes that an earlier daemon has made, and records which of them have ended. One that is being
 * made, or removed, is its own command's affair. A shim that answers late is connected to when it does.
 */
export async function reconcileSandboxes(options: ReconcileSandboxesOptions): Promise<void> {
  const { log, logger, signal } = options
  await removeUnknown(options)
  await mapLimited([...log.documents.list(sandboxKind)], AT_ONCE, signal, async ({ namespace, id, state }) => {
    if (!isThere(state)) return
    if (await adopt(options, namespace, id, state)) return
    logger.warn({ namespace, sandbox: id }, 'the shim of a sandbox does not answer: it is tried again')
    void adoptLater(options, namespace, id)
  })
}

const isThere = (state: { status: string }): state is PresentSandbox =>
  ['created', 'starting', 'running', 'stopping'].includes(state.status)

/** @returns false when it is to be tried again */
async function adopt(
  options: ReconcileSandboxesOptions,
  namespace: string,
  id: string,
  state: PresentSandbox,
): Promise<boolean> {
  const { log, sandboxes, shims, paths, boot, logger, signal } = options
  const { runtime, sandboxer } = state.made
  const identity = { namespace, id, runtime, bundle: paths.sandbox(namespace, id) }
  try {
    const shim = await shims.adopt({ ...identity, signal: AbortSignal.any([signal, AbortSignal.timeout(ADOPT_MS)]) })
    if (shim) {
      const live = liveSandbox(identity, sandboxer, shim)
      sandboxes.adopt(live)
      if ('startedAt' in state) sandboxes.watchExit(live)
      return true
    }
  } catch (err) {
    logger.warn({ err, namespace, sandbox: id }, 'a sandbox could not be adopted')
    return false
  }
  // One that is being started or ended is told by the command that does it.
  const isDue = () => ['created', 'running'].includes(log.documents.get(sandboxKind, namespace, id).status)
  const reason = `lost: ${boot === 'another' ? REBOOT : 'no shim answered after the daemon started'}`
  const fact = sandbox.fact(id, 'sandbox.exited', { exitedAt: new Date().toISOString(), reason })
  await recordFact(log, fact, { namespace, by: 'sandboxes', isDue, logger, signal })
  return true
}

async function adoptLater(options: ReconcileSandboxesOptions, namespace: string, id: string): Promise<void> {
  const { log, sandboxes, signal } = options
  while (!signal.aborted) {
    await delay(AGAIN_MS, undefined, { signal, ref: false }).catch(() => {}) // The loop looks at the signal itself.
    const state = log.documents.get(sandboxKind, namespace, id)
    if (signal.aborted || !isThere(state) || sandboxes.get(namespace, id)) return
    if (await adopt(options, namespace, id, state)) return
  }
}

/** What runs on the host and is no sandbox in the log: nobody could ask for its end by any other way. */
async function removeUnknown(options: ReconcileSandboxesOptions): Promise<void> {
  const { log, paths, logger } = options
  for (const { namespace, id, bundle } of await paths.sandboxes()) {
    if (log.documents.get(sandboxKind, namespace, id).status !== 'absent') continue
    try {
      await removeSandbox(options, { namespace, id, bundle, runtime: ANY_RUNTIME })
      logger.warn({ namespace, sandbox: id }, 'a sandbox that the log does not know was removed')
    } catch (err) {
      logger.error({ err, namespace, sandbox: id }, 'a sandbox that the log does not know could not be removed')
    }
  }
}
