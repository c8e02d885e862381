import type { Command } from 'commander'
import type { PurserClient } from '../client/index.ts'
import { PurserError, toPurserError } from '../model/errors.ts'
import { attach } from './attach.ts'
import { type ContainerFlags, containerPayload, submitOptions, withContainerOptions } from './container-options.ts'
import { contextOf } from './context.ts'
import { showProgress } from './progress.ts'

const FORWARDED = ['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGQUIT'] as const

export function define(program: Command): void {
  withContainerOptions(program.command('run').argument('<image>').argument('[args...]'))
    .option('-d, --detach', 'print the id and leave it running')
    .description('pull an image if needed and run a container from it')
    .passThroughOptions()
    .action(async (image: string, args: string[], flags: ContainerFlags, command: Command) => {
      const { client } = contextOf(command)
      process.exitCode = await run(client, image, args, flags).catch(dockerExit)
    })
}

async function run(client: PurserClient, image: string, args: string[], flags: ContainerFlags): Promise<number> {
  const payload = containerPayload(image, args, flags)
  const accepted = await client.submit('container.run', { ...submitOptions(flags), payload, waitSeconds: 0 })
  const id = accepted.subject
  const settled = new AbortController()
  // What the container prints is its own: progress goes to stderr, and only to a terminal.
  if (process.stderr.isTTY) void showProgress(client, accepted.id, settled.signal, process.stderr).catch(() => {})
  let isRunning = false
  const forward = (signal: NodeJS.Signals) => {
    if (isRunning) client.submit('task.kill', { subject: id, payload: { signal }, waitSeconds: 5 }).catch(() => {})
    else client.cancel(accepted.id).catch(() => {})
  }
  if (!flags.detach) for (const signal of FORWARDED) process.on(signal, forward)
  const started = ended(client, accepted.id).then(() => {
    isRunning = true
    settled.abort()
  })
  if (flags.detach) {
    await started
    process.stdout.write(`${id}\n`)
    return 0
  }
  const interactive = flags.interactive ?? false
  const path = `/v1/containers/${id}/attach?wait=true&replay=true${interactive ? '&stdin=true' : ''}`
  const attached = attach(client, { path, interactive, tty: flags.tty ?? false })
  attached.catch(() => {}) // Looked at below, after what the command says.
  try {
    await started
    return await attached
  } finally {
    for (const signal of FORWARDED) process.off(signal, forward)
  }
}

/** Waits for a command's end, however long it takes. @throws PurserError what it failed with */
async function ended(client: PurserClient, id: string): Promise<void> {
  for (;;) {
    const command = await client.command(id, 60)
    if ('error' in command && command.error) throw PurserError.fromBody(command.error)
    if (command.status === 'succeeded') return
  }
}

/** docker's: 127 when the program is not there, 126 when it may not be executed, 125 for all else that is not the container's. */
export function dockerExit(thrown: unknown): number {
  const error = toPurserError(thrown)
  process.stderr.write(`purser: ${error.message}${error.remedy === undefined ? '' : `; ${error.remedy}`}\n`)
  if (error.field !== 'process.args') return 125
  return error.code === 'permission_denied' ? 126 : 127
}
