import { execFileSync } from 'node:child_process'
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { availableParallelism, cpus, release, totalmem } from 'node:os'
import { join } from 'node:path'
import { round } from './statistics.ts'

const RESULTS = join(import.meta.dirname, '../results')

/** One line of the summary. */
export interface Measure {
  what: string
  unit: string
  purser: number
  containerd?: number
  /** Purser's share of containerd's. */
  ratio?: number
  /** What `ratio`, or `purser` where there is no ratio, must keep to; DESIGN.md section 10. */
  budget?: { atMost: number } | { atLeast: number }
}

export interface Result {
  title: string
  /** How it was measured, and what in the comparison is not alike. */
  method: string
  measures: readonly Measure[]
  /** Single values, in the order in which they were measured. */
  samples: Readonly<Record<string, readonly number[]>>
}

/** Writes a result with what it was measured on, and the summary of all results anew. */
export function writeResult(name: string, { title, method, measures, samples }: Result): void {
  mkdirSync(RESULTS, { recursive: true })
  const rounded = Object.entries(samples).map(([of, values]) => [of, values.map(round)])
  const result = {
    title,
    method,
    measures: measures.map((measure) => ({
      ...measure,
      ...(isWithin(measure) === undefined ? {} : { within: isWithin(measure) }),
    })),
    measuredAt: new Date().toISOString(),
    commit: said('git', ['rev-parse', '--short', 'HEAD']),
    machine: machine(),
    versions: versions(),
    samples: Object.fromEntries(rounded),
  }
  writeFileSync(join(RESULTS, `${name}.json`), `${JSON.stringify(result, null, 2)}\n`)
  for (const measure of measures) console.log(lineOf(measure))
  writeSummary()
}

type Stored = Result & {
  measuredAt: string
  commit: string
  machine: Record<string, unknown>
  versions: Record<string, string>
}

function writeSummary(): void {
  const names = readdirSync(RESULTS)
    .filter((name) => name.endsWith('.json'))
    .sort()
  const results = names.map((name): [string, Stored] => [name, JSON.parse(readFileSync(join(RESULTS, name), 'utf8'))])
  const lines = [
    '# Results',
    '',
    'Written by `scripts/bench`; how each was measured is in its file. Medians; a ratio is the median of the ratios of',
    "pairs that were measured one after the other, Purser's as a share of containerd's.",
    '',
    '| what | unit | Purser | containerd | ratio | budget | within | measured |',
    '|---|---|---|---|---|---|---|---|',
  ]
  for (const [name, { measures, measuredAt, commit }] of results) {
    const measured = `[${measuredAt.slice(0, 10)} ${commit}](${name})`
    for (const measure of measures) lines.push(`${lineOf(measure)} ${measured} |`)
  }
  const last = results
    .map(([, result]) => result)
    .sort((a, b) => (a.measuredAt < b.measuredAt ? -1 : 1))
    .at(-1)
  const facts = { ...last?.machine, ...last?.versions }
  lines.push(
    '',
    `The last one on: ${Object.entries(facts)
      .map(([key, value]) => `${key} ${value}`)
      .join(', ')}.`,
    '',
  )
  writeFileSync(join(RESULTS, 'README.md'), lines.join('\n'))
}

function lineOf(measure: Measure): string {
  const { what, unit, purser, containerd, ratio, budget } = measure
  const within = isWithin(measure)
  const limit = budget === undefined ? '' : 'atMost' in budget ? `≤ ${budget.atMost}` : `≥ ${budget.atLeast}`
  const cells = [
    what,
    unit,
    round(purser),
    containerd === undefined ? '' : round(containerd),
    ratio === undefined ? '' : round(ratio),
  ]
  return `| ${cells.join(' | ')} | ${limit} | ${within === undefined ? '' : within ? 'yes' : 'no'} |`
}

function isWithin({ purser, ratio, budget }: Measure): boolean | undefined {
  if (budget === undefined) return undefined
  const value = ratio ?? purser
  return 'atMost' in budget ? value <= budget.atMost : value >= budget.atLeast
}

const machine = () => ({
  cpu: cpus()[0]?.model ?? 'unknown',
  cpus: availableParallelism(),
  memoryGiB: Math.round(totalmem() / 2 ** 30),
  kernel: release(),
  os: /^PRETTY_NAME="(.*)"/m.exec(readFileSync('/etc/os-release', 'utf8'))?.[1] ?? 'unknown',
})

const versions = () => ({
  node: process.versions.node,
  containerd: said('containerd', ['--version']).split(' ')[2] ?? '',
  runc: said('runc', ['--version']).split('\n')[0]?.split(' ').at(-1) ?? '',
  redis: /v=(\S+)/.exec(said('redis-server', ['--version']))?.[1] ?? '',
})

const said = (program: string, args: readonly string[]): string =>
  execFileSync(program, args, { cwd: import.meta.dirname, encoding: 'utf8' }).trim()
