import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { createInterface } from 'node:readline'
import { setTimeout as delay } from 'node:timers/promises'
import { z } from 'zod'
import { RULE_FILES } from './rules.ts'

const sampleSchema = z.object({
  metric: z.record(z.string(), z.string()),
  /** Unix time in seconds, and the value as Prometheus writes it: `+Inf`, `NaN`. */
  value: z.tuple([z.number(), z.string()]),
})
const answerSchema = z.object({
  status: z.enum(['success', 'error']),
  error: z.string().optional(),
  data: z.unknown().optional(),
})

export interface Sample {
  labels: Readonly<Record<string, string>>
  value: number
}

/** Debian's Prometheus, which scrapes a daemon and evaluates the rules that ship, every second. */
export interface TestPrometheus extends AsyncDisposable {
  /** What its API answers below /api/v1/. @throws Error with what is wrong with a query */
  get(path: string, query?: Readonly<Record<string, string>>): Promise<unknown>
  /** The series that a query has now. */
  query(expr: string): Promise<Sample[]>
  /** The value of the only series that a query has. */
  value(expr: string): Promise<number>
  /** Waits until a query has a series. */
  sees(expr: string): Promise<void>
}

const SEES_MS_MAX = 60_000

/** @param target `host:port` of /metrics */
export async function startPrometheus(target: string): Promise<TestPrometheus> {
  const dir = await mkdtemp(join(tmpdir(), 'prometheus-'))
  for (const file of RULE_FILES) {
    // What has an interval of its own would be evaluated once in the time of a test.
    const rules = (await readFile(file, 'utf8')).replaceAll(/^ +interval: \w+$/gm, '')
    await writeFile(join(dir, basename(file)), rules)
  }
  await writeFile(
    join(dir, 'prometheus.yml'),
    JSON.stringify({
      global: { scrape_interval: '1s', evaluation_interval: '1s' },
      rule_files: ['*.rules.yml'],
      scrape_configs: [{ job_name: 'purser', static_configs: [{ targets: [target] }] }],
    }),
  )
  const child = spawn(
    'prometheus',
    [
      `--config.file=${dir}/prometheus.yml`,
      `--storage.tsdb.path=${dir}/data`,
      '--web.listen-address=127.0.0.1:0',
      '--enable-feature=exemplar-storage',
    ],
    { stdio: ['ignore', 'ignore', 'pipe'] },
  )
  const exited = once(child, 'exit')
  const stop = async () => {
    child.kill('SIGKILL')
    await exited
    await rm(dir, { recursive: true, force: true, maxRetries: 5 })
  }
  try {
    const address = await Promise.race([
      listeningAddress(createInterface({ input: child.stderr })),
      exited.then(() => Promise.reject(new Error('prometheus did not start'))),
    ])
    return { ...apiAt(`http://${address}/api/v1`), [Symbol.asyncDispose]: stop }
  } catch (error) {
    await stop()
    throw error
  }
}

async function listeningAddress(lines: NodeJS.EventEmitter): Promise<string> {
  return await new Promise((resolve) => {
    // It goes on being read, so that Prometheus never waits for us.
    let address = ''
    lines.on('line', (line: string) => {
      address = /msg="Listening on" address=(\S+)/.exec(line)?.[1] ?? address
      if (line.includes('Server is ready')) resolve(address)
    })
  })
}

function apiAt(base: string): Omit<TestPrometheus, typeof Symbol.asyncDispose> {
  const get: TestPrometheus['get'] = async (path, query = {}) => {
    const response = await fetch(`${base}/${path}?${new URLSearchParams(query)}`, {
      signal: AbortSignal.timeout(30_000),
    })
    const { status, error, data } = answerSchema.parse(await response.json())
    if (status === 'error') throw new Error(`${query.query ?? path}: ${error}`)
    return data
  }
  const query: TestPrometheus['query'] = async (expr) => {
    const { result } = z.object({ result: z.array(sampleSchema) }).parse(await get('query', { query: expr }))
    return result.map(({ metric, value }) => ({ labels: metric, value: numberOf(value[1]) }))
  }
  return {
    get,
    query,
    async value(expr) {
      const [sample, ...others] = await query(expr)
      if (sample === undefined || others.length > 0) throw new Error(`${expr}: ${others.length + 1} series, or none`)
      return sample.value
    },
    async sees(expr) {
      const deadline = Date.now() + SEES_MS_MAX
      while ((await query(expr)).length === 0) {
        if (Date.now() > deadline) throw new Error(`Prometheus does not see ${expr}`)
        await delay(200)
      }
    },
  }
}

const numberOf = (text: string): number => Number(text.replace('Inf', 'Infinity'))
