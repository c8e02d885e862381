import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { execa } from 'execa'
import { Redis } from 'ioredis'
import type { TestNode } from './daemon.ts'

/** What the API says of everything that it knows. */
const PATHS = [
  '/v1/events?since=0',
  '/v1/commands?limit=1000',
  '/v1/containers?limit=1000',
  '/v1/jobs?limit=1000',
  '/v1/audit?limit=1000',
  '/v1/state',
  '/v1/sli',
  '/v1/info',
  '/metrics',
]

/**
 * Everything that a node keeps and says: answers of its API, its messages, and, after it has been stopped, each of its files
 * (Redis's, the archive, SQLite's, the logs of containers), those that are compressed as they are and inflated.
 *
 * @param stop stops the daemon, so that all is on the disk
 */
export async function textsOf(node: TestNode, stop: () => Promise<unknown>): Promise<Map<string, Buffer>> {
  const texts = new Map<string, Buffer>()
  for (const path of PATHS) texts.set(path, Buffer.from((await node.http('GET', path)).text))
  await node.http('POST', '/v1/log/seal')
  const redis = process.env.REDIS_URL === undefined ? new Redis(join(node.state, 'redis/redis.sock')) : undefined
  redis?.on('error', () => {})
  await redis?.config('SET', 'rdbcompression', 'no')
  await redis?.save()
  redis?.disconnect()
  await stop()
  texts.set('messages of the daemon', Buffer.from(await node.logs()))
  for (const dir of [node.root, node.state]) {
    for (const entry of await readdir(dir, { recursive: true, withFileTypes: true })) {
      const path = join(entry.parentPath, entry.name)
      if (!entry.isFile()) continue
      texts.set(path, await readFile(path))
      if (!path.endsWith('.zst')) continue
      const { stdout } = await execa('zstdcat', [path], { encoding: 'buffer' })
      texts.set(`${path}, inflated`, Buffer.from(stdout))
    }
  }
  return texts
}

/** Where a secret is found, in any of the forms that it is sent in. */
export function findSecret(texts: ReadonlyMap<string, Buffer>, secret: string): string[] {
  const bytes = Buffer.from(secret)
  const forms = [
    secret,
    bytes.toString('base64').replace(/=+$/, ''),
    bytes.toString('base64url'),
    bytes.toString('hex'),
  ]
  return [...texts].flatMap(([where, text]) => (forms.some((form) => text.includes(form)) ? [where] : []))
}
