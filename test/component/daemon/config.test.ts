import assert from 'node:assert/strict'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { type ConfigOverrides, loadConfig } from '../../../src/daemon/config.ts'
import { PurserError } from '../../../src/model/errors.ts'

/** A file, the key at fault, and what is said of it. */
const BAD: readonly (readonly [toml: string, key: string | undefined, says: RegExp])[] = [
  ['rot = "/x"', 'rot', /there is no key rot; known at the top are root, state, node, group, log, audit, redis, /],
  ['[log]\nlevle = "info"', 'log.levle', /there is no key log\.levle; known in \[log\] are level, /],
  [
    '[runtime.x]\nbin = "y"',
    'runtime.x.bin',
    /no key runtime\.x\.bin; known in \[runtime\.x\] are type, shim, binary, /,
  ],
  ['[runtime.x]\ntype = "runsc"', 'runtime.x.type', /type = "runsc": a type is io\.containerd\.NAME\.VERSION/],
  ['[runtime.x]\ntype = "a.b.c"\nshim = "y"', 'runtime.x.shim', /shim = "y": a runtime has a type or a shim, not both/],
  ['[runtime.x]\ntype = "a.b.c"\nbinary = "y"', 'runtime.x.binary', /only the runc shim calls another program/],
  ['[runtime.x.options]\nconfigPath = "/y"', 'runtime.x.options', /Unrecognized key: "configPath"/],
  ['[runtime.x]\ntype = "a.b.c"\noptions = { configPath = "y" }', 'runtime.x.options.configPath', /a path is absolute/],
  ['[runtime.x]\ntimeout = "soon"', 'runtime.x.timeout', /write a duration such as 30s/],
  ['[log]\nlevel = "loud"', 'log.level', /log\.level = "loud": .*"trace"\|"debug"/],
  ['root = "var"', 'root', /root = "var": a directory is an absolute path: begin it with \//],
  ['root = 1', 'root', /root = 1: .*expected string/],
  [`state = "/${'x'.repeat(90)}"`, 'state', /it has 90 bytes at most, or sockets in it could not be connected to/],
  ['node = "a b"', 'node', /node = "a b": a node name is letters, digits, dots and hyphens/],
  ['[workers]\npull = 0', 'workers.pull', /workers\.pull = 0: .*>=1/],
  ['[workers]\npull = "many"', 'workers.pull', /workers\.pull = "many": .*expected number/],
  ['[workers]\npull = 1.5', 'workers.pull', /workers\.pull = 1\.5: .*expected int/],
  ['workers = 3', 'workers', /workers = 3: .*expected object/],
  ['[registry]\nplainHttp = "a"', 'registry.plainHttp', /registry\.plainHttp = "a": .*expected array/],
  ['[redis]\nprefix = "a b"', 'redis.prefix', /redis\.prefix = "a b"/],
  [
    '[redis]\nurl = "http://x"',
    'redis.url',
    /redis\.url: a Redis URL is redis:\/\/HOST, rediss:\/\/HOST or unix:\/PATH/,
  ],
  ['[redis]\nurl = "unix:relative"', 'redis.url', /redis\.url: a Redis URL is/],
  ['[redis]\nurl = "redis://"', 'redis.url', /redis\.url: a Redis URL is/],
  ['[metrics]\nlisten = "9477"', 'metrics.listen', /metrics\.listen = "9477": an address to listen on is HOST:PORT/],
  ['[metrics]\nlisten = "localhost:70000"', 'metrics.listen', /a port is 65535 at most/],
  ['[metrics]\nlisten = "0.0.0.0:9477"', 'metrics.listen', /not a loopback address: .*say remote = true/],
  ['root = /x', undefined, /:1:8: Invalid TOML/],
  ['[log]\nlevel = "info"\n[log]', undefined, /:3:\d+: Invalid TOML/],
]

describe('the configuration', () => {
  let dir = ''
  before(async () => {
    dir = await mkdtemp(join(tmpdir(), 'pc-'))
  })
  after(() => rm(dir, { recursive: true }))

  const load = async (toml: string, overrides: ConfigOverrides = {}) => {
    await writeFile(`${dir}/purser.toml`, toml)
    return loadConfig(`${dir}/purser.toml`, overrides)
  }
  const refused = async (toml: string, overrides: ConfigOverrides = {}): Promise<PurserError> => {
    try {
      await load(toml, overrides)
    } catch (error) {
      assert.ok(error instanceof PurserError)
      return error
    }
    return assert.fail('it was taken')
  }

  for (const [toml, key, says] of BAD) {
    test(`${toml.replaceAll('\n', ' ').slice(0, 50)} is refused by file, key, value and remedy`, async () => {
      const error = await refused(toml)
      const line = `${error.message}; ${error.remedy}`
      assert.ok(line.startsWith(`${dir}/purser.toml`), line)
      assert.match(line, says)
      assert.doesNotMatch(line, /\n/)
      assert.equal(error.code, 'invalid_argument')
      assert.equal(error.field, key)
      assert.ok(error.remedy)
    })
  }

  for (const toml of [
    'endpoint = "ftp://canary@collector"',
    'headers = "canary"',
    'headers = { authorization = ["canary"] }',
    'headers = { authorization = "canary\\nanother: header" }',
    'headers = { "no name" = "canary" }',
  ]) {
    test(`of [tracing] ${toml} what may be secret is not shown`, async () => {
      const { message, field } = await refused(`[tracing]\n${toml}`)
      assert.doesNotMatch(message, /canary/)
      assert.match(String(field), /^tracing\.(?:endpoint|headers)/)
    })
  }

  test('headers of the collector are secrets', async () => {
    const { tracing } = await load('[tracing]\nheaders = { authorization = "Bearer canary" }')
    assert.equal(tracing.headers.authorization?.reveal(), 'Bearer canary')
    assert.doesNotMatch(JSON.stringify(tracing), /canary/)
    assert.equal(tracing.endpoint, undefined)
  })

  test('a password in a URL is not shown', async () => {
    const { message } = await refused('[redis]\nurl = "htp://user:canary@host"')
    assert.doesNotMatch(message, /canary/)
  })

  test('a Redis on a Unix socket is given as ioredis takes it: the path alone', async () => {
    assert.equal((await load('[redis]\nurl = "unix:/run/redis.sock"')).redis.url, '/run/redis.sock')
    assert.equal((await load('[redis]\nurl = "unix:///run/redis.sock"')).redis.url, '/run/redis.sock')
    assert.equal((await load('[redis]\nurl = "rediss://u:p@host:1/2"')).redis.url, 'rediss://u:p@host:1/2')
  })

  test('options of the command line win, and are checked as the file is', async () => {
    const config = await load('root = "/a"\nstate = "/b"\n[log]\nlevel = "warn"', { root: '/c', level: 'debug' })
    assert.deepEqual([config.root, config.state, config.log.level], ['/c', '/b', 'debug'])
    const error = await refused('', { state: 'run' })
    assert.match(error.message, /^--state = "run": a directory is an absolute path/)
    assert.throws(() => loadConfig(undefined, { root: 'x' }), /^PurserError: --root = "x"/)
  })

  test('without a file all is by default; one that is not there is named', () => {
    const config = loadConfig(undefined, {})
    assert.deepEqual([config.root, config.state, config.log.level], ['/var/lib/purser', '/run/purser', 'info'])
    assert.equal(config.redis.url, undefined)
    assert.throws(() => loadConfig('/nosuch.toml', {}), { code: 'not_found', remedy: 'name another with --config' })
  })

  test('the configuration that is shipped has every key, with its default', async () => {
    const { readFile } = await import('node:fs/promises')
    const shipped = await readFile(join(import.meta.dirname, '../../../packaging/purser.toml'), 'utf8')
    await load(shipped)
    const { remedy = '' } = await refused('nosuch = 1')
    const sections = (remedy.split(' are ')[1] ?? '')
      .split(', ')
      .filter((key) => /^(log|redis|workers|registry)$/.test(key))
    for (const section of sections) {
      const keys = ((await refused(`[${section}]\nnosuch = 1`)).remedy ?? '').split(' are ')[1]?.split(', ') ?? []
      for (const key of keys) {
        const shown = new RegExp(`^#? ?(?:${key} = |\\[${section}\\.${key}\\])`, 'm')
        assert.match(shipped, shown, `${section}.${key}`)
      }
    }
  })
})
