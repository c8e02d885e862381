import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { LAUNCHER } from '../../support/cli.ts'
import { startNode } from '../../support/daemon.ts'
import { startTestRedis } from '../../support/redis.ts'

test('a daemon uses the Redis behind a unix: URL', { skip: process.env.REDIS_URL && 'another is given' }, async () => {
  await using redis = await startTestRedis({ fsync: 'always' })
  await using node = await startNode({ config: `[redis]\nurl = "unix://${redis.socketPath}"\n` })
  assert.equal((await node.cli('namespace', 'create', 'kept')).stdout, 'kept\n')
  await node.restart()
  assert.match((await node.cli('namespace', 'ls')).stdout, /^kept /m)
})

test('a daemon that cannot start says why on one line', async () => {
  const dir = await mkdtemp(join(tmpdir(), 'pd-'))
  await using _ = { [Symbol.asyncDispose]: () => rm(dir, { recursive: true }) }
  const start = async (toml: string, ...args: string[]) => {
    await writeFile(`${dir}/c.toml`, toml)
    const words = ['daemon', '--config', `${dir}/c.toml`, '--root', `${dir}/root`, '--state', `${dir}/run`, ...args]
    const { status, stderr } = spawnSync(LAUNCHER, words, { encoding: 'utf8', timeout: 30_000 })
    return { status, last: stderr.trimEnd().split('\n').at(-1) }
  }
  const unknown = await start('[log]\nlevle = "x"')
  assert.equal(unknown.status, 64)
  assert.match(unknown.last ?? '', /^purser: \S+c\.toml: there is no key log\.levle; known in/)
  const away = await start(`[redis]\nurl = "unix:${dir}/nosuch.sock"`)
  assert.equal(away.status, 69)
  assert.equal(away.last, `purser: Redis does not answer at ${dir}/nosuch.sock; start it, or leave redis.url out`)
  const relative = await start('', '--root', 'here')
  assert.equal(relative.status, 64)
  assert.match(
    relative.last ?? '',
    /^purser: --root = "here": a directory is an absolute path: begin it with \/; see purser daemon --help$/,
  )
})
