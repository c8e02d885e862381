import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { jobRequest } from '../../../src/commands/job-request.ts'
import { jobSpec } from '../../../src/commands/job-spec.ts'
import { type Happening, Past } from '../../support/commands.ts'
import { ROOT } from '../../support/sources.ts'

const spec = jobSpec.parse({
  steps: [
    { name: 'a', image: 'alpine' },
    { name: 'b', image: 'alpine' },
  ],
  retries: 1,
})
const submitted: Happening = { type: 'job.submitted', data: { spec, submittedBy: 'unix:uid=0' } }
const started = (attempt: number): Happening => ({ type: 'job.started', data: { attempt } })
const failure = { step: 0, exitCode: 1, error: { code: 'failed_precondition', message: 'step 1 (a) exited with 1' } }
const attemptFailed: Happening = { type: 'job.attempt-failed', data: { attempt: 1, failure } }
const stepStarted = (step: number): Happening => ({
  type: 'job.step-started',
  data: { attempt: 1, step, container: `c1-1-${step + 1}` },
})
const stepEnded = (step: number, outcome = 'succeeded'): Happening => ({
  type: 'job.step-ended',
  data: { attempt: 1, step, outcome, exitCode: 0, timings: { ranMs: 3 } },
})

test('a job is submitted once, and its id is free again when it is forgotten', () => {
  const past = new Past()
  assert.deepEqual(past.ask('job.submit', spec), ['job.submitted'])
  past.happens(submitted)
  assert.equal(past.ask('job.submit', spec), 'already_exists')
  assert.deepEqual(past.ask('job.submit', spec, 'c1', 'elsewhere'), ['job.submitted'])
  past.happens({ type: 'job.cancelled', data: { reason: 'r' } }).happens({ type: 'job.removing' })
  assert.equal(past.ask('job.submit', spec), 'already_exists', 'until it is gone')
  past.happens({ type: 'job.removed' })
  assert.deepEqual(past.ask('job.submit', spec), ['job.submitted'])
})

test('a job that waits is cancelled at once, one that runs is asked to end, one that has ended is not', () => {
  const past = new Past(submitted)
  assert.deepEqual(past.ask('job.cancel'), ['job.cancelled'])
  past.happens(started(1))
  assert.deepEqual(past.ask('job.cancel'), ['job.cancel-requested'])
  past.happens({ type: 'job.cancel-requested', data: { reason: 'enough' } })
  assert.deepEqual(past.ask('job.cancel'), [], 'it has been asked')
  past.happens({ type: 'job.cancelled', data: { reason: 'enough' } })
  assert.equal(past.ask('job.cancel'), 'failed_precondition')
  assert.equal(past.ask('job.cancel', {}, 'nosuch'), 'not_found')
})

test('a job is removed when it has ended, and not before', () => {
  const past = new Past(submitted)
  assert.equal(past.ask('job.remove'), 'failed_precondition')
  assert.equal(past.happens(started(1)).ask('job.remove'), 'failed_precondition')
  assert.deepEqual(past.happens({ type: 'job.failed', data: { failure } }).ask('job.remove'), ['job.removing'])
})

test('an attempt that failed puts the job back into the line; one that was asked to end meanwhile is cancelled', () => {
  const past = new Past(submitted, started(1), attemptFailed)
  assert.equal(past.state('job').status, 'queued')
  assert.equal(past.happens(started(2)).state('job').status, 'running')
  past.happens({ type: 'job.cancel-requested', data: { reason: 'enough' } }).happens(attemptFailed)
  const state = past.state('job')
  assert.deepEqual([state.status, state.reason], ['cancelled', 'enough'])
})

test('what ended stays as it ended, whatever comes late', () => {
  for (const end of ['job.succeeded', 'job.cancelled', 'job.failed']) {
    const past = new Past(submitted, started(1), stepStarted(0))
    const data = end === 'job.failed' ? { failure } : end === 'job.cancelled' ? { reason: 'r' } : {}
    past.happens({ type: end, data })
    const before = past.state('job')
    for (const late of [started(2), stepStarted(1), stepEnded(0), attemptFailed]) past.happens(late)
    assert.deepEqual(past.state('job'), before, end)
  }
})

test('a step ends once, and steps begin in their order', () => {
  const past = new Past(
    submitted,
    started(1),
    stepStarted(1),
    stepStarted(0),
    stepStarted(0),
    stepEnded(0),
    stepEnded(0, 'failed'),
  )
  const [attempt] = past.state('job').attempts as { steps: { status: string }[] }[]
  assert.deepEqual(
    attempt?.steps.map(({ status }) => status),
    ['succeeded'],
  )
})

test('only the attempt that is made is prepared, collected and cleaned', () => {
  const past = new Past(submitted)
  assert.equal(past.ask('job.prepare', { attempt: 1 }), 'failed_precondition')
  past.happens(started(1))
  for (const type of ['job.prepare', 'job.collect', 'job.clean']) {
    assert.deepEqual(past.ask(type, { attempt: 1 }), [], type)
    assert.equal(past.ask(type, { attempt: 2 }), 'failed_precondition', type)
  }
})

test('a job file is read as people write it', () => {
  const parsed = jobRequest.parse({
    image: 'alpine:3.20',
    env: { LEVEL: 3, CI: false, NAME: 'x=y' },
    secrets: { TOKEN: 'sealed:v1:AAAA' },
    user: 'nobody',
    limits: { memory: '64m', cpus: 1.5, pids: 10 },
    timeout: '1h30m',
    grace: '0s',
    artifacts: ['dist', { path: 'report.xml', optional: true }],
    concurrency: { group: 'deploy' },
    steps: [
      { run: 'make\nmake test' },
      {
        name: 'own',
        image: 'busybox',
        args: ['true'],
        env: { LEVEL: '4' },
        user: 'root',
        limits: { memory: '128m' },
        timeout: '10s',
      },
    ],
  })
  const env = ['LEVEL=3', 'CI=false', 'NAME=x=y', 'TOKEN=sealed:v1:AAAA']
  assert.deepEqual(jobSpec.parse(parsed), {
    steps: [
      {
        name: 'step 1',
        image: 'docker.io/library/alpine:3.20',
        entrypoint: ['/bin/sh', '-e', '-c', 'make\nmake test'],
        env,
        user: 'nobody',
        resources: { memoryBytes: 67_108_864, cpus: 1.5, pidsLimit: 10 },
        continueOnError: false,
      },
      {
        name: 'own',
        image: 'docker.io/library/busybox:latest',
        args: ['true'],
        env: [...env, 'LEVEL=4'],
        user: 'root',
        resources: { memoryBytes: 134_217_728 },
        timeoutMs: 10_000,
        continueOnError: false,
      },
    ],
    workspace: '/workspace',
    mounts: [],
    pull: 'missing',
    snapshotter: 'overlayfs',
    timeoutMs: 5_400_000,
    graceMs: 0,
    retries: 0,
    priority: 100,
    concurrency: { group: 'deploy', max: 1, cancelInProgress: false },
    artifacts: [
      { path: 'dist', optional: false },
      { path: 'report.xml', optional: true },
    ],
    labels: {},
  })
})

test('a job whose parts do not go together is refused', () => {
  const job = { image: 'alpine', steps: [{ run: 'true' }] }
  const bind = { type: 'bind', source: '/srv', target: '/workspace/' }
  assert.equal(jobRequest.safeParse(job).success, true)
  assert.equal(jobSpec.safeParse(jobRequest.parse({ ...job, mounts: [bind] })).success, false, 'over the workspace')
  for (const wrong of [
    { retries: 11 },
    { timeout: '8d' },
    { timeout: '0s' },
    { artifacts: ['/etc/passwd'] },
    { artifacts: ['a/../b'] },
    { artifacts: ['a\nb'] },
    { env: { 'A=B': 'c' } },
    { env: { A: null } },
    { secrets: { TOKEN: 'plain' } },
    { secrets: ['TOKEN'] },
    { limits: { memory: '1m' } },
    { concurrency: { group: 'g', max: 0 } },
    { steps: Array.from({ length: 101 }, () => ({ run: 'true' })) },
  ])
    assert.equal(jobRequest.safeParse({ ...job, ...wrong }).success, false, JSON.stringify(wrong))
})

test('the documentation has every field of the file', () => {
  const page = readFileSync(join(ROOT, 'docs/jobs.md'), 'utf8')
  const rows = [...page.matchAll(/^\| (`\w+`(?:, `\w+`)*) \|/gm)].map(([, names = '']) =>
    names.replaceAll('`', '').split(', '),
  )
  const second = rows.findLastIndex(([first]) => first === 'name')
  const { shape } = jobRequest.in
  assert.deepEqual(rows.slice(0, second).flat().sort(), Object.keys(shape).sort())
  assert.deepEqual(rows.slice(second).flat().sort(), Object.keys(shape.steps.element.shape).sort())
})
