import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { pushTinyImage } from '../../scripts/tiny-image.ts'
import { findSecret, textsOf } from '../support/canary.ts'
import { startCliNode } from '../support/cli.ts'
import { startNode } from '../support/daemon.ts'
import { startCollector } from '../support/otlp.ts'
import { startProxy } from '../support/proxy.ts'
import { startRegistry } from '../support/registry.ts'

const PASSWORD = 'canary-password-0c41'
const TOKEN = 'canary-token-5be2'
const HEADER = 'canary-header-77d3'
const VALUE = 'canary-value-9a64'
const FILED = 'canary-filed-18f5'
const EXECED = 'canary-execed-3e06'
const TYPED = 'canary-typed-d2b7'

const digest = (text: string): string => createHash('sha256').update(text).digest('hex')
/** Shows that the process has it without printing it. */
const hashOf = (name: string): string => `printf %s "$${name}" | sha256sum | head -c 64`

test('no byte of Redis, archive, SQLite, messages, metrics or errors has a secret that was handed in', async () => {
  await using registry = await startRegistry()
  await using proxy = await startProxy(registry.address)
  await using collector = await startCollector()
  const dir = await mkdtemp(join(tmpdir(), 'secrets-'))
  await using _ = { [Symbol.asyncDispose]: () => rm(dir, { recursive: true }) }
  const auth = Buffer.from(`ci:${PASSWORD}`).toString('base64')
  await writeFile(join(dir, 'config.json'), JSON.stringify({ auths: { [proxy.address]: { auth } } }))
  await writeFile(join(dir, 'variables'), `# of the database\nFILED=${FILED}\n`)
  await pushTinyImage({ registry: registry.address, repository: 'secrets', tag: 'latest' })
  proxy.lie((asked, _upstream, response) => {
    if (asked.path.startsWith('/token')) {
      if (asked.authorization !== `Basic ${auth}`) response.writeHead(401).end()
      else response.writeHead(200).end(JSON.stringify({ token: TOKEN }))
      return true
    }
    if (asked.authorization === `Bearer ${TOKEN}`) return false
    const challenge = `Bearer realm="http://${proxy.address}/token",service="test",scope="repository:secrets:pull"`
    response.writeHead(401, { 'www-authenticate': challenge }).end()
    return true
  })
  const config = [
    `[registry]\ndockerConfig = ${JSON.stringify(join(dir, 'config.json'))}`,
    `[tracing]\nendpoint = "${collector.endpoint}"\nheaders = { authorization = "Bearer ${HEADER}" }`,
    '[log]\nlevel = "trace"\n[audit]\nreads = true',
  ]
  await using node = await startNode({ config: config.join('\n'), env: { VALUE, EXECED } })
  let said = ''
  const cli = async (...args: string[]) => {
    const result = await node.cli(...args)
    said += result.stdout + result.stderr
    return result
  }
  const secret = ['--secret-env', 'VALUE', '--secret-env-file', join(dir, 'variables')]
  const image = `${proxy.address}/secrets:latest`
  const run = await cli('run', '-d', '--name', 'has', ...secret, image, 'sh', '-c', `${hashOf('VALUE')}; sleep 600`)
  assert.equal(run.exitCode, 0, run.stderr)
  const filed = await cli('exec', 'has', 'sh', '-c', hashOf('FILED'))
  assert.equal(filed.stdout, digest(FILED), filed.stderr)
  const execed = await cli('exec', '--secret-env', 'EXECED', 'has', 'sh', '-c', hashOf('EXECED'))
  assert.equal(execed.stdout, digest(EXECED), execed.stderr)
  assert.equal((await cli('logs', 'has')).stdout, digest(VALUE))

  const steps = `steps:\n- secrets: [FILED]\n  run: ${hashOf('VALUE')}; ${hashOf('FILED')}`
  await writeFile(join(dir, 'job.yaml'), `image: ${image}\nsecrets: [VALUE]\n${steps}\n`)
  const job = await cli('job', 'submit', '-f', join(dir, 'job.yaml'), ...secret.slice(2), '--follow')
  assert.equal(job.stdout, digest(VALUE) + digest(FILED), job.stderr)

  // What goes wrong says nothing of it either.
  assert.equal((await cli('run', ...secret, image, '/no/such/program')).exitCode, 127)
  assert.notEqual((await cli('run', '--secret-env', `VALUE=${TYPED}`, image, 'true')).exitCode, 0)
  const broken = await node.http('POST', '/v1/seal', `{"values":{"A":${TYPED}}}`)
  const odd = await node.http('POST', '/v1/seal', { values: { A: [TYPED] } })
  const long = await node.http('POST', '/v1/seal', { values: { A: TYPED.repeat(10_000) } })
  const plain = { image, steps: [{ run: 'true', secrets: { TOKEN: TYPED } }] }
  const unsealed = await node.http('POST', '/v1/jobs', plain)
  for (const { status, text } of [broken, odd, long, unsealed]) {
    assert.equal(status, 400)
    said += text
  }
  for (const args of [
    ['inspect', 'has'],
    ['history', 'has'],
    ['state', 'show'],
    ['audit'],
    ['events'],
    ['command', 'ls'],
  ])
    await cli('--format', 'json', ...args)
  await cli('rm', '-f', ...(await ids()))

  const texts = await textsOf(node, () => node.stop())
  texts.set('the command line', Buffer.from(said))
  texts.set(
    'spans',
    Buffer.from(JSON.stringify(collector.spans, (_, value) => (typeof value === 'bigint' ? '' : value))),
  )
  const has = (part: string) =>
    assert.ok(
      [...texts.keys()].some((where) => where.includes(part)),
      part,
    )
  const redis = process.env.REDIS_URL ? [] : ['/redis/appendonlydir/', '/redis/dump.rdb']
  for (const part of [...redis, '.zst, inflated', '/projections/audit/', '/observations']) has(part)
  assert.notDeepEqual(findSecret(texts, 'container.run'), [], 'what is there is found')
  for (const each of [PASSWORD, `ci:${PASSWORD}`, TOKEN, HEADER, VALUE, FILED, EXECED, TYPED])
    assert.deepEqual(findSecret(texts, each), [], each)

  async function ids(): Promise<string[]> {
    return JSON.parse((await node.cli('--format', 'json', 'ps', '-a')).stdout).map(({ id }: { id: string }) => id)
  }
})

test('a sealed value outlives a killed daemon, and a request that is made again is the same request', async () => {
  await using at = await startCliNode({ env: { VALUE } })
  const { node, image } = at
  const make = () =>
    at.cli(
      'create',
      '--name',
      'kept',
      '--idempotency-key',
      'k',
      '--secret-env',
      'VALUE',
      image,
      'sh',
      '-c',
      hashOf('VALUE'),
    )
  assert.equal((await make()).exitCode, 0)
  await node.kill9()
  await node.restart()
  const again = await make()
  assert.equal(again.exitCode, 0, again.stderr)
  assert.equal((await at.cli('start', 'kept')).exitCode, 0)
  assert.equal((await at.cli('wait', 'kept')).stdout.trim(), '0')
  assert.equal((await at.cli('logs', 'kept')).stdout, digest(VALUE))
  const { options } = JSON.parse((await at.cli('inspect', 'kept')).stdout)[0]
  assert.match(options.env[0], /^VALUE=sealed:v1:/)

  // With another key, as on another host, it does not open; what to do is said.
  await node.stop()
  const path = join(node.root, 'keys/seal.key')
  const key = await readFile(path)
  await writeFile(path, `${'0'.repeat(64)}\n`)
  await node.restart()
  const wrong = await at.cli('start', 'kept')
  assert.equal(wrong.exitCode, 65)
  assert.match(wrong.stderr, /sealed value of VALUE does not open.*--secret-env/s)
  await node.stop()
  await writeFile(path, key)
  await node.restart()
  assert.equal((await at.cli('start', 'kept')).exitCode, 0)
})

test('a secret variable is named, not written; one that is not there is no empty one', async () => {
  await using at = await startCliNode()
  const typed = await at.cli('run', '--secret-env', `KEY=${TYPED}`, at.image, 'true')
  assert.equal(typed.exitCode, 125)
  assert.match(typed.stderr, /"KEY": only the name is given here/)
  assert.ok(!typed.stderr.includes(TYPED))
  const absent = await at.cli('run', '--secret-env', 'NOT_THERE', at.image, 'true')
  assert.equal(absent.exitCode, 125)
  assert.match(absent.stderr, /there is no variable NOT_THERE/)
})
