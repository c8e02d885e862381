import type { ContainerState } from '../../commands/container.ts'
import { errorCodeOf } from '../../model/errors.ts'
import { LoggedOutput } from '../../shim/output-hub.ts'
import type { TaskState as ShimTaskState } from '../../shim/shim.ts'
import type { Shims, TaskRequest } from '../../shim/shims.ts'
import { ProcessStdio, type StdioShape } from '../../shim/stdio.ts'
import type { ContainerLogs } from './container-logs.ts'
import type { LiveTask } from './live-task.ts'
import type { TaskPaths } from './paths.ts'

type Made = Exclude<ContainerState, { status: 'absent' }>

/**
 * Connects to a task that an earlier daemon created, with its streams.
 *
 * @returns undefined when there is no shim, or it knows no such task
 */
export async function reconnect(
  { shims, paths, logs }: { shims: Shims; paths: TaskPaths; logs: ContainerLogs },
  identity: TaskRequest,
  made: Made,
  signal: AbortSignal,
): Promise<{ live: LiveTask; state: ShimTaskState } | undefined> {
  const { namespace, id, bundle, runtime } = identity
  const shim = await shims.adopt({ ...identity, signal })
  if (!shim) return undefined
  let stdio: ProcessStdio | undefined
  try {
    const state = await shim.state({}, signal)
    stdio = ProcessStdio.attach(paths.stdio(namespace, id), shapeOf(made))
    const { log, passing, forwarder } = await logs.open(namespace, id, made)
    const output = new LoggedOutput(stdio.spool(), log, passing)
    const isApart = shims.isApart(runtime)
    const isGrouped = shims.isGrouped(identity)
    const held = { shim, isGrouped, log, forwarder, stdio, output, execs: new Map() }
    return { live: { namespace, id, bundle, runtime, isApart, ...held }, state }
  } catch (error) {
    stdio?.close()
    shim.disconnect()
    if (errorCodeOf(error) === 'not_found' || errorCodeOf(error) === 'unavailable') return undefined
    throw error
  }
}

const shapeOf = ({ options }: Made): StdioShape => ({
  stdin: options.stdin ? 'open' : 'none',
  output: options.tty ? 'terminal' : 'pipes',
})

/** Writes to the log of a task whose shim is gone what an earlier daemon had taken out of its pipes. */
export async function finishLog(
  { paths, logs }: { paths: TaskPaths; logs: ContainerLogs },
  namespace: string,
  id: string,
  made: Made,
): Promise<void> {
  const stdio = ProcessStdio.attach(paths.stdio(namespace, id), shapeOf(made))
  try {
    const { log, passing } = await logs.open(namespace, id, made)
    await new LoggedOutput(stdio.spool(), log, passing).detach()
  } finally {
    stdio.close()
  }
}
