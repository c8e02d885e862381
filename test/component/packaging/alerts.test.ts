import assert from 'node:assert/strict'
import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { text } from 'node:stream/consumers'
import { before, describe, test } from 'node:test'
import { ALERT_RULES, alertNames, RULE_FILES } from '../../support/rules.ts'
import { ALERTS, bad, CALM, type Case, constant, type Series } from './alert-cases.ts'

/** Parts of names of the series that alerts read, besides those that their cases are about. Others would only take time. */
const READS: Readonly<Record<string, readonly string[]>> = {
  PurserDiskUsed: ['disk_used'],
  PurserDiskFull: ['purser_disk'],
  PurserRedisMemory: ['purser_redis_memory'],
  PurserRegistryOutage: ['purser_image_pull'],
  PurserSealingBehind: ['purser_log_position', 'purser_log_sealed'],
  PurserQueueWait: ['purser_command_wait'],
  PurserQueueStuck: ['purser_command'],
  PurserAppendSlow: ['purser_log_append'],
}

/** Alerts look at what was recorded at the same time; promtool takes groups in any order otherwise. */
const GROUPS = ['purser-sli', 'purser-month', 'purser-latency', 'purser-objectives', 'purser-node']

/** Maintenance as the daemon tells of it while it is up. */
const MAINTENANCE: Series = {
  purser_maintenance: constant(1),
  purser_maintenance_end_timestamp_seconds: constant(1e12),
}

/** A node whose story is told, and whether the alert fires at its end. */
interface Told extends Omit<Case, 'because'> {
  instance: string
  /** Any alert, where it is left out. */
  alert?: string
  fires: boolean
}

const told: Told[] = [
  { instance: 'calm', at: '3h', step: 2, series: {}, fires: false },
  { instance: 'calm for long', at: '20h', step: 10, series: {}, fires: false },
  ...Object.entries(ALERTS).flatMap(([alert, { fires, silent, always }]) => [
    ...fires.map((each) => ({ ...each, alert, instance: `${alert}: ${each.because}`, fires: true })),
    ...silent.map((each) => ({ ...each, alert, instance: `${alert} not: ${each.because}`, fires: false })),
    ...(always ? [] : fires).map(({ series, ...each }) => ({
      ...each,
      series: { ...series, ...MAINTENANCE },
      alert,
      instance: `${alert} not in maintenance: ${each.because}`,
      fires: false,
    })),
  ]),
  ...afterMaintenance(),
]

/** What went wrong in a maintenance is not told after its end; what goes on after it, is. */
function afterMaintenance(): Told[] {
  const errors = (values: string): Series => ({
    purser_maintenance: '0x30 1x15 0x300',
    ...bad('container_start_success', values),
  })
  const within = errors('0x30 0+400x15 6000x300')
  // A daemon that does not come back by the end that was announced is told of.
  const down: Series = {
    up: '1x40 0x300',
    purser_maintenance: '1x40',
    purser_maintenance_end_timestamp_seconds: '5400x40',
  }
  return [
    { alert: 'PurserStartFailures', instance: 'within', at: '98m', step: 2, series: within, fires: false },
    { alert: 'PurserStartFailures', instance: 'within, later', at: '200m', step: 2, series: within, fires: false },
    { alert: 'PurserStartFailures', instance: 'on', at: '98m', step: 2, series: errors('0x30 0+400x300'), fires: true },
    { alert: 'PurserDown', instance: 'before the end', at: '85m', series: down, fires: false },
    { alert: 'PurserDown', instance: 'after the end', at: '95m', series: down, fires: true },
  ]
}

/** What series belong together by: the indicator, or the metric. */
const stem = (key: string): string => /sli="\w+"/.exec(key)?.[0] ?? key.split(/[{]/)[0] ?? key

function inputsOf({ instance, series, alert }: Told): { series: string; values: string }[] {
  const reads = alert === undefined ? [''] : [...Object.keys(series).map(stem), ...(READS[alert] ?? []), 'maintenance']
  const calm = Object.entries(CALM).filter(([key]) => reads.some((part) => key.includes(part)))
  return Object.entries({ ...Object.fromEntries(calm), ...series }).map(([key, values]) => {
    const [metric, labels = ''] = key.split(/[{}]/)
    return { series: `${metric}{job="purser",instance="${instance}"${labels === '' ? '' : `,${labels}`}}`, values }
  })
}

function expectationOf({ instance, alert, at, fires }: Told): object {
  const which = `instance="${instance}"${alert === undefined ? '' : `,alertname="${alert}"`}`
  return {
    expr: `count(ALERTS{alertstate="firing",${which}})`,
    eval_time: at,
    exp_samples: fires ? [{ labels: '{}', value: 1 }] : [],
  }
}

/**
 * All of them are nodes that one Prometheus watches, which is much faster than one Prometheus for each.
 *
 * @returns what promtool says of those that are not as expected
 */
async function evaluate(dir: string, step: number, nodes: readonly Told[]): Promise<string> {
  const file = join(dir, `${step}.yml`)
  const test = {
    interval: `${step}m`,
    input_series: nodes.flatMap(inputsOf),
    promql_expr_test: nodes.map(expectationOf),
  }
  // JSON is YAML.
  await writeFile(
    file,
    JSON.stringify({
      rule_files: RULE_FILES,
      evaluation_interval: `${step}m`,
      group_eval_order: GROUPS,
      tests: [test],
    }),
  )
  const child = spawn('promtool', ['test', 'rules', file])
  const [stdout, stderr] = await Promise.all([text(child.stdout), text(child.stderr), once(child, 'close')])
  return child.exitCode === 0 ? '' : `${stdout}${stderr}`
}

describe('alerts', () => {
  let said = ''
  before(async () => {
    const dir = await mkdtemp(join(tmpdir(), 'alerts-'))
    try {
      const steps = Map.groupBy(told, ({ step = 1 }) => step)
      said = (await Promise.all([...steps].map(([step, nodes]) => evaluate(dir, step, nodes)))).join('')
    } finally {
      await rm(dir, { recursive: true })
    }
  })

  test('each alert that ships is tested here', () => {
    assert.deepEqual(alertNames().sort(), Object.keys(ALERTS).sort())
  })

  test('the rules are ones that Prometheus takes, and so is the example of its configuration', () => {
    const config = join(dirname(ALERT_RULES), 'prometheus.yml')
    const { status, stderr, stdout } = spawnSync('promtool', ['check', 'config', config], { encoding: 'utf8' })
    assert.equal(status, 0, `${stdout}${stderr}`)
  })

  for (const { instance, fires } of told) {
    test(`${fires ? 'fires' : 'is silent'}: ${instance}`, () => {
      // As promtool quotes it.
      const quoted = `instance=\\"${instance}\\"`
      const complaint = said.split(/(?=^ +expr: )/m).find((each) => each.includes(quoted))
      assert.equal(complaint, undefined)
    })
  }

  test('promtool has nothing else to say', () => assert.equal(said, ''))
})
