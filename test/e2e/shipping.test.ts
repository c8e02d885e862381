import assert from 'node:assert/strict'
import { once } from 'node:events'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join, matchesGlob } from 'node:path'
import { describe, test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { startCliNode } from '../support/cli.ts'

const FLUENT_BIT = join(import.meta.dirname, '../../packaging/fluent-bit')

interface Section {
  name: string
  /** Keys in small letters: fluent-bit does not tell them apart. */
  entries: ReadonlyMap<string, string>
}

/** @see fluent-bit, "Configuration file", classic mode: sections, and below each a key and a value a line, indented alike */
function sectionsOf(file: string): Section[] {
  const sections: { name: string; entries: Map<string, string> }[] = []
  for (const line of readFileSync(join(FLUENT_BIT, file), 'utf8').split('\n')) {
    if (/^\s*(#|$)/.test(line)) continue
    const [, name] = /^\[(\w+)\]$/.exec(line) ?? []
    if (name !== undefined) {
      sections.push({ name, entries: new Map() })
      continue
    }
    const [, key, value] = /^ {4}(\S+)\s+(\S.*)$/.exec(line) ?? []
    const entries = sections.at(-1)?.entries
    assert.ok(key !== undefined && value !== undefined && entries && !entries.has(key), `${file}: ${line}`)
    entries.set(key.toLowerCase(), value)
  }
  return sections
}

const parsers = new Map(sectionsOf('purser-parsers.conf').map(({ entries }) => [entries.get('name') ?? '', entries]))
const sections = sectionsOf('fluent-bit.conf')
const inputs = new Map(sections.map(({ entries }) => [entries.get('tag') ?? '', entries]))

/** strptime's pattern, as far as it is used here. */
const timePattern = (format: string): RegExp =>
  new RegExp(
    `^${format
      .replace('%Y', '\\d{4}')
      .replace('%L', '\\d{1,9}')
      .replace('%z', '(?:Z|[+-]\\d{2}:?\\d{2})')
      .replaceAll(/%[mdHMS]/g, '\\d{2}')}$`,
  )
const timeOf = (parser: string): RegExp => timePattern(parsers.get(parser)?.get('time_format') ?? '')
const regexOf = (parser: string): RegExp => new RegExp(parsers.get(parser)?.get('regex') ?? 'none')

// Debian has no fluent-bit: what it reads is checked against what it would be given.
describe('the configuration for fluent-bit', () => {
  test('names parsers that it has, and sends what it reads', () => {
    for (const { name, entries } of sections) {
      const parser = entries.get('parser')
      if (parser !== undefined) assert.ok(parsers.has(parser), `[${name}] ${parser}`)
      if (name === 'FILTER') assert.ok(inputs.has(entries.get('match') ?? ''))
      if (name === 'INPUT') assert.ok(matchesGlob(entries.get('tag') ?? '', 'purser.*'))
    }
    const file = sections.find(({ name }) => name === 'SERVICE')?.entries.get('parsers_file')
    assert.ok(readdirSync(FLUENT_BIT).includes(file ?? ''))
  })

  test('finds the logs of containers, and reads every line of them', async () => {
    await using at = await startCliNode()
    const { node, image } = at
    const script = 'echo one; echo two >&2; printf "  three "; sleep 0.1; echo "and more"; printf partial'
    assert.equal((await node.cli('-n', 'team', 'pull', '-q', image)).exitCode, 0)
    assert.equal((await node.cli('-n', 'team', 'run', '--name', 'web.1', image, 'sh', '-c', script)).exitCode, 0)
    const path = `${node.root}/containers/team/web.1/log`
    const usual = path.replace(node.root, '/var/lib/purser')
    assert.ok(matchesGlob(usual, inputs.get('purser.containers')?.get('path') ?? ''))
    const place = regexOf('purser_log_path').exec(usual)?.groups
    assert.deepEqual({ ...place }, { namespace: 'team', container: 'web.1' })

    const lines = readFileSync(path, 'utf8').trimEnd().split('\n')
    const read = lines.map((line) => regexOf('purser_cri').exec(line)?.groups ?? assert.fail(line))
    for (const { time = '' } of read) assert.match(time, timeOf('purser_cri'))
    assert.deepEqual(new Set(read.map(({ stream }) => stream)), new Set(['stdout', 'stderr']))
    // As the parser `cri` puts them together: what is partial goes on in the next of its stream.
    const text = read
      .filter(({ stream }) => stream === 'stdout')
      .map(({ tag, log }) => (tag === 'P' ? log : `${log}\n`))
    assert.equal(text.join(''), 'one\n  three and more\npartial')
  })

  test('is given every event once, whatever is killed in between', async () => {
    await using at = await startCliNode()
    const { node } = at
    const { path = '' } =
      /--append (?<path>\S+)/.exec(readFileSync(join(FLUENT_BIT, 'purser-events.service'), 'utf8'))?.groups ?? {}
    assert.equal(path, inputs.get('purser.events')?.get('path'))

    const file = `${node.dir}/events.ndjson`
    const eventsIn = () => {
      const whole = (existsSync(file) ? readFileSync(file, 'utf8') : '').split('\n').slice(0, -1)
      return whole.map((line): { position: number; time: string } => JSON.parse(line))
    }
    const all = async () => {
      const { stdout } = await node.cli('events', '--format', 'ndjson')
      return stdout
        .trimEnd()
        .split('\n')
        .map((line): unknown => JSON.parse(line))
    }
    for (const killed of ['shipper', 'daemon', 'shipper']) {
      const shipper = node.spawnCli('events', '--follow', '--append', file)
      const exited = once(shipper, 'exit')
      assert.equal((await node.cli('namespace', 'create', `n${shipper.pid}`)).exitCode, 0)
      if (killed === 'daemon') {
        const { length } = await all()
        while (eventsIn().length < length) await delay(20)
        await node.kill9()
        await node.restart()
        assert.equal((await node.cli('namespace', 'create', `m${shipper.pid}`)).exitCode, 0)
        while (eventsIn().length <= length) await delay(20)
      }
      shipper.kill('SIGKILL')
      await exited
    }
    assert.equal((await node.cli('events', '--append', file)).exitCode, 0)
    assert.deepEqual(eventsIn(), await all())
    for (const { time } of eventsIn()) assert.match(time, timeOf('purser_event'))
  })
})
