import { type ChildProcess, spawn } from 'node:child_process'
import { appendFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { timestampNow } from '@bufbuild/protobuf/wkt'
import { PurserError } from '../../src/model/errors.ts'

/** What the requests of the sandbox service hold between them. */
export interface SandboxCall {
  sandboxId: string
  bundlePath: string
  netnsPath: string
  annotations: Record<string, string>
}

interface Kept {
  bundle: string
  child?: ChildProcess
  exit?: { exitStatus: number; exitedAt: ReturnType<typeof timestampNow> }
  ended: PromiseWithResolvers<void>
}

/** Where it writes down what it was asked to do, a line for each call. */
export const CALLS = 'odd-calls'

/**
 * The sandbox that a shim keeps: a process of the host that only sleeps.
 *
 * @param isTimeless whether it tells of an end at once, without a time
 * @param endShim called when the shim is to end
 */
export function sandboxHandlers(isTimeless: () => boolean, endShim: () => void) {
  let kept: Kept | undefined
  const known = ({ sandboxId }: SandboxCall): Kept => {
    if (kept) return kept
    throw new PurserError('not_found', `sandbox ${sandboxId} not found`)
  }
  const note = (bundle: string, ...words: string[]) => appendFileSync(join(bundle, CALLS), `${words.join(' ')}\n`)
  return {
    CreateSandbox({ bundlePath, netnsPath, annotations }: SandboxCall) {
      kept = { bundle: bundlePath, ended: Promise.withResolvers<void>() }
      note(bundlePath, 'create', netnsPath, JSON.stringify(annotations))
      return {}
    },
    StartSandbox(call: SandboxCall) {
      const own = known(call)
      note(own.bundle, 'start')
      const child = spawn('/bin/sleep', ['100000'], { cwd: own.bundle, stdio: 'ignore', detached: true })
      own.child = child
      writeFileSync(join(own.bundle, 'odd.pid'), String(child.pid)) // For a shim that finds it when this one is gone.
      child.on('exit', (code, signal) => {
        own.exit = { exitStatus: code ?? (signal === 'SIGTERM' ? 143 : 137), exitedAt: timestampNow() }
        own.ended.resolve()
      })
      return { pid: child.pid ?? 0, createdAt: timestampNow() }
    },
    Platform: () => ({ platform: { os: 'linux', architecture: 'amd64' } }),
    StopSandbox(call: SandboxCall) {
      known(call).child?.kill('SIGTERM')
      if (isTimeless()) endShim()
      return {}
    },
    async WaitSandbox(call: SandboxCall) {
      const own = known(call)
      if (isTimeless()) return { exitStatus: 0 }
      await own.ended.promise
      return { ...own.exit }
    },
    SandboxStatus(call: SandboxCall) {
      const { child, exit } = known(call)
      if (isTimeless()) return {}
      const state = child && !exit ? 'SANDBOX_READY' : 'SANDBOX_NOTREADY'
      return { sandboxId: call.sandboxId, pid: exit ? 0 : (child?.pid ?? 0), state, info: { odd: 'yes' }, ...exit }
    },
    PingSandbox: () => ({}),
    ShutdownSandbox() {
      kept?.child?.kill('SIGKILL')
      endShim()
      return {}
    },
    SandboxMetrics: () => ({}),
  }
}
