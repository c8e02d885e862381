import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { writeFileSync } from 'node:fs'
import { readFile } from 'node:fs/promises'

/** The process that supervises a container: the parent of its first process. */
export async function shimOf(pid: number): Promise<number> {
  const status = await readFile(`/proc/${pid}/status`, 'utf8')
  const parent = Number(/^PPid:\s+(\d+)/m.exec(status)?.[1])
  assert.match(await readFile(`/proc/${parent}/cmdline`, 'utf8'), /shim/)
  return parent
}

const TRIES = 50

/** A process that sleeps and has this pid, which nobody else has; another one where the kernel does not give it. */
export async function processWithPid(pid: number): Promise<AsyncDisposable & { pid: number }> {
  let child: ChildProcess | undefined
  for (let attempt = 0; attempt < TRIES && child?.pid !== pid; attempt++) {
    await end(child)
    writeFileSync('/proc/sys/kernel/ns_last_pid', String(pid - 1))
    child = spawn('sleep', ['1000'], { stdio: 'ignore' })
  }
  return { pid: child?.pid ?? 0, [Symbol.asyncDispose]: () => end(child) }
}

async function end(child: ChildProcess | undefined): Promise<void> {
  if (child === undefined) return
  const ended = once(child, 'exit')
  child.kill('SIGKILL')
  await ended
}
