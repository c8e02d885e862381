import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { z } from 'zod'
import type { CliResult, TestNode } from './daemon.ts'

/** A verb that works on the books of a stopped daemon, with the directories that it has. */
export function offline(node: TestNode, ...args: string[]): Promise<CliResult> {
  const own = ['--config', `${node.dir}/purser.toml`, '--root', node.root, '--state', node.state]
  return node.cli('--format', 'json', ...args, ...own)
}

const range = z.strictObject({ first: z.number(), last: z.number() })
const report = z.object({
  archiveThrough: z.number(),
  head: z.number(),
  fromRedis: z.number(),
  lost: z.array(range),
  documents: z.number(),
  idempotencyKeys: z.number(),
  aside: z.string().optional(),
})

/** Restores the log of a stopped node. */
export async function restored(node: TestNode, ...args: string[]): Promise<z.output<typeof report>> {
  const { exitCode, stdout, stderr } = await offline(node, 'log', 'restore', ...args)
  if (exitCode !== 0) throw new Error(`log restore: ${exitCode} ${stdout}${stderr}`)
  return report.parse(JSON.parse(stdout))
}

/** As when the disk of Redis is lost; the daemon does not run. */
export const loseRedis = (node: TestNode): Promise<void> => rm(join(node.root, 'redis'), { recursive: true })
