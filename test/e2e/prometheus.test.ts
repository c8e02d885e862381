import assert from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { z } from 'zod'
import { dashboardFiles, GRAFANA } from '../../scripts/generate-dashboards.ts'
import { pushTinyImage } from '../../scripts/tiny-image.ts'
import { startNode, type TestNode } from '../support/daemon.ts'
import { eventually, submit } from '../support/faults.ts'
import { type Sample, startPrometheus, type TestPrometheus } from '../support/prometheus.ts'
import { startRegistry } from '../support/registry.ts'

const TRACE = 'ab'.repeat(16)

const reportSchema = z.object({
  items: z.array(
    z.object({
      name: z.string(),
      unit: z.string(),
      target: z.number(),
      actual: z.number().nullable(),
      events: z.object({ total: z.number(), bad: z.number() }).optional(),
      budgetLeft: z.number().nullable(),
      burn: z.record(z.string(), z.number().nullable()).optional(),
    }),
  ),
})
type Item = z.output<typeof reportSchema>['items'][number]

/** A target of a panel, with what Grafana would put in for its variables. */
const panelSchema = z.object({
  id: z.number(),
  title: z.string(),
  gridPos: z.object({ x: z.number(), y: z.number(), w: z.number(), h: z.number() }),
  targets: z
    .array(z.object({ expr: z.string(), datasource: z.object({ uid: z.literal('$' + '{datasource}') }) }))
    .optional(),
})
const dashboardSchema = z.object({
  uid: z.string(),
  title: z.string(),
  templating: z.object({ list: z.array(z.object({ name: z.string(), type: z.string(), query: z.unknown() })) }),
  panels: z.array(panelSchema),
})

const filledIn = (expr: string): string =>
  expr.replaceAll('$__rate_interval', '5m').replaceAll('$__range', '5m').replaceAll('$instance', '.+')

describe('a Prometheus that scrapes a daemon', { timeout: 170_000 }, () => {
  const stack = new AsyncDisposableStack()
  let node: TestNode
  let prometheus: TestPrometheus
  after(() => stack.disposeAsync())

  before(async () => {
    const registry = stack.use(await startRegistry())
    const image = await pushTinyImage({ registry: registry.address, repository: 'metrics', tag: 'latest' })
    node = stack.use(await startNode({ config: '[metrics]\nlisten = "127.0.0.1:0"\n' }))
    const [, target = ''] = /"address":"([^"]+)".*"serving metrics"/.exec(await node.logs()) ?? []
    prometheus = stack.use(await startPrometheus(target))
    // What it sees before anything happens is what it counts from.
    await prometheus.sees('purser_sli_events_total{sli="container_start_success"} == 0')
    await prometheus.sees('purser_snapshot_bytes')

    assert.equal((await node.cli('pull', '-q', image)).exitCode, 0)
    const run = (...args: string[]) => node.cli('run', '--rm', ...args)
    for (const status of [0, 0, 0, 0, 3, 3, 3])
      assert.equal((await run(image, 'sh', '-c', `exit ${status}`)).exitCode, status)
    // More than it may have.
    assert.equal((await run('-m', '16m', image, 'sh', '-c', 'x=$(yes | head -c 60000000)')).exitCode, 137)
    assert.notEqual((await node.cli('run', '--name', 'bad', image, '/no/such/program')).exitCode, 0)
    for (let each = 0; each < 4; each++) assert.equal((await node.cli('pull', '-q', image)).exitCode, 0)
    assert.equal((await node.cli('pull', '-q', '127.0.0.1:1/away:latest')).exitCode, 69)
    const traced = { traceparent: `00-${TRACE}-${'cd'.repeat(8)}-01`, prefer: 'wait=60' }
    const payload = { image, options: { args: ['true'] } }
    const answer = await node.http(
      'POST',
      '/v1/commands',
      { type: 'container.run', subject: 'traced', payload },
      traced,
    )
    assert.equal(answer.status, 200, answer.text)
    // Of a bucket only the last one is told: it is scraped before something else starts.
    await prometheus.sees(`timestamp(purser_log_position) > ${Date.now() / 1000 + 1}`)
    assert.equal((await submit(node, { type: 'gc.collect', subject: 'node', payload: {} })).status, 200)
    await claimSome(node, image)
    for (const [of, status] of [
      [image, 'succeeded'],
      ['127.0.0.1:1/away', 'failed'],
    ]) {
      const job = await node.http('POST', '/v1/jobs', { image: of, steps: [{ run: 'true' }] }, { prefer: 'wait=60' })
      assert.equal((job.json as { status: string }).status, status, job.text)
    }

    const end = Date.now() / 1000
    await prometheus.sees(`timestamp(purser_log_position) > ${end + 1}`)
    await prometheus.sees(`timestamp(purser:sli_budget_left:ratio30d{sli="crashes"}) > ${end + 2}`)
  })

  test('evaluates the rules that ship: none fails, and there is every metric that they name', async () => {
    const rule = z.object({ name: z.string(), query: z.string(), health: z.string(), lastError: z.string().optional() })
    const schema = z.object({ groups: z.array(z.object({ rules: z.array(rule) })) })
    const rules = schema.parse(await prometheus.get('rules')).groups.flatMap((group) => group.rules)
    assert.ok(rules.length > 50)
    for (const { name, health, lastError } of rules)
      assert.deepEqual([name, health, lastError], [name, 'ok', undefined])
    const there = new Set(z.array(z.string()).parse(await prometheus.get('label/__name__/values')))
    const recorded = new Set(rules.map(({ name }) => name))
    const named = rules.flatMap(({ query }) => query.match(/\b(?:purser|nodejs|process)[a-z0-9_:]*/g) ?? [])
    const missing = named.filter((name) => name !== 'purser' && !there.has(name) && !recorded.has(name))
    assert.deepEqual([...new Set(missing)], [])
  })

  test('tells what went wrong, in words', async () => {
    const alert = z.object({ labels: z.record(z.string(), z.string()), annotations: z.record(z.string(), z.string()) })
    const { alerts } = z.object({ alerts: z.array(alert) }).parse(await prometheus.get('alerts'))
    const oom = alerts.find(({ labels }) => labels.alertname === 'PurserOomKills')
    assert.match(oom?.annotations.description ?? '', /^[\d.]+ processes were ended for it in the last hour\.$/)
    assert.ok(alerts.some(({ labels }) => labels.alertname === 'PurserCrashRate'))
    for (const { annotations } of alerts) assert.doesNotMatch(JSON.stringify(annotations), /error expanding|%!/)
  })

  for (const [name, json] of dashboardFiles()) {
    const dashboard = dashboardSchema.parse(JSON.parse(json))
    test(`answers every query of the dashboard ${dashboard.title}`, async () => {
      assert.equal(readFileSync(join(GRAFANA, name), 'utf8'), json, 'npm run dashboards')
      for (const { title, targets = [] } of dashboard.panels)
        for (const { expr } of targets) {
          const series = await prometheus.query(filledIn(expr))
          assert.ok(series.length > 0, `${title}: ${expr}`)
        }
      assert.ok((await prometheus.query('group by (instance) (purser_build_info)')).length === 1, 'the variable')
    })
    test(`takes ${name} for one dashboard with panels that do not cover each other`, () => {
      const cells = dashboard.panels.flatMap(({ gridPos: { x, y, w, h } }) =>
        Array.from({ length: w * h }, (_, index) => `${x + (index % w)},${y + Math.floor(index / w)}`),
      )
      assert.equal(new Set(cells).size, cells.length)
      assert.equal(new Set(dashboard.panels.map(({ id }) => id)).size, dashboard.panels.length)
      assert.ok(dashboard.templating.list.some((each) => each.type === 'datasource' && each.name === 'datasource'))
    })
  }

  test('has no dashboard that nobody generates', () => {
    assert.deepEqual(readdirSync(GRAFANA).sort(), [...dashboardFiles().keys()].sort())
  })

  test('has bounded labels: none names a container, an image or a registry', async () => {
    const series = await prometheus.get('series', { 'match[]': '{job="purser",alertname=""}' })
    const values = z
      .array(z.record(z.string(), z.string()))
      .parse(series)
      .flatMap(({ instance: _, ...labels }) => Object.values(labels))
    assert.ok(values.includes('container.run'))
    assert.deepEqual(
      values.filter((value) => /traced|metrics:latest|127\.0\.0\.1|sha256/.test(value)),
      [],
    )
  })

  test('has the traces of what it counted, as exemplars', async () => {
    const now = Date.now() / 1000
    const found = await prometheus.get('query_exemplars', {
      query: 'purser_container_start_duration_seconds_bucket',
      start: String(now - 300),
      end: String(now),
    })
    assert.match(JSON.stringify(found), new RegExp(`"trace_id":"${TRACE}"`))
  })

  test('computes what purser sli says', async () => {
    const bySli = async (expr: string) => {
      const series = await prometheus.query(expr)
      return new Map(series.map(({ labels, value }: Sample) => [labels.sli ?? '', value]))
    }
    const total = await bySli('purser_sli_events_total')
    const bad = await bySli('purser_sli_bad_events_total')
    const left = await bySli('purser:sli_budget_left:ratio30d')
    const burn = new Map(
      await Promise.all(
        ['5m', '30m', '1h', '6h', '3d'].map(
          async (window) => [window, await bySli(`purser:sli_burn:rate${window}`)] as const,
        ),
      ),
    )
    const pulls = 'purser_image_pull_duration_seconds_bucket{cache="cached"}'
    const requests =
      'sum by (le) (purser_api_request_duration_seconds_bucket{waits="false",route!~"GET /(metrics|healthz|readyz)"})'
    const quantiles = new Map([
      ['cached_pull_latency', await prometheus.value(`histogram_quantile(0.95, ${pulls})`)],
      [
        'warm_claim_latency',
        await prometheus.value('histogram_quantile(0.95, purser_pool_claim_duration_seconds_bucket{start="warm"})'),
      ],
      ['job_wait', await prometheus.value('histogram_quantile(0.95, purser_job_wait_duration_seconds_bucket)')],
      ['api_latency', await prometheus.value(`histogram_quantile(0.95, ${requests})`)],
    ])
    const disk = await prometheus.value('purser_disk_used_ratio')

    const { stdout } = await node.cli('sli', '--format', 'json', '--window', '30d')
    const { items } = reportSchema.parse(JSON.parse(stdout))
    assert.equal(items.length, 14)
    for (const item of items) {
      const { name, unit, actual, events, budgetLeft } = item
      const same = (ours: number | null | undefined, theirs: number | undefined, what: string) =>
        assert.ok(isClose(ours, theirs), `${name} ${what}: purser sli ${ours}, Prometheus ${theirs}`)
      if (name === 'disk_used') assert.ok(Math.abs((actual ?? 0) - disk) < 0.05, `${actual} ${disk}`)
      else if (events === undefined) same((actual ?? 0) * 30 * 24, bad.get(name), 'events')
      else {
        assert.ok(events.total > 0, name)
        same(events.total, total.get(name), 'events')
        same(events.bad, bad.get(name), 'bad events')
        const share = (bad.get(name) ?? 0) / (total.get(name) ?? 0)
        same(actual, unit === 'seconds' ? quantiles.get(name) : 1 - share, 'actual')
        same(budgetLeft, left.get(name), 'budget')
        for (const [window, rates] of burn) same(burnOf(item, window), rates.get(name), `burn ${window}`)
      }
    }
    const crashes = items.find(({ name }) => name === 'crashes')
    assert.deepEqual(crashes?.events, { total: 10 + CLAIMS, bad: 4 })
    assert.deepEqual(items.find(({ name }) => name === 'job_success')?.events, { total: 2, bad: 1 })
    assert.ok((items.find(({ name }) => name === 'oom_kills')?.actual ?? 0) > 0)
  })
})

const CLAIMS = 3

/** Claims that find a task ready, as the pool has one at the beginning, and claims that do not. */
async function claimSome(node: TestNode, image: string): Promise<void> {
  const args = ['--image', image, '--size', '1', '--tasks-max', '1', '--', 'sleep', '1000']
  assert.equal((await node.cli('pool', 'create', 'p', ...args)).exitCode, 0)
  await eventually(
    async () => (await node.cli('pool', 'ls', '--format', 'json')).stdout,
    (text) => /"ready": 1,/.test(text),
  )
  for (let claim = 0; claim < CLAIMS; claim++) assert.equal((await node.cli('pool', 'claim', 'p')).exitCode, 0)
  assert.equal((await node.cli('pool', 'rm', '-f', 'p')).exitCode, 0)
}

/** null is without end: there is no budget. */
const burnOf = ({ burn }: Item, window: string): number | undefined => {
  const rate = burn?.[window]
  return rate === null ? Number.POSITIVE_INFINITY : rate
}

const isClose = (ours: number | null | undefined, theirs: number | undefined): boolean =>
  ours === theirs || Math.abs((ours ?? Number.NaN) - (theirs ?? Number.NaN)) < 1e-6 * Math.max(1, Math.abs(ours ?? 0))
